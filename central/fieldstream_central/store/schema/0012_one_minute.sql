-- The level of one minute: every bucket of ten minutes that has windows is worked through once more.
INSERT INTO fieldstream.rollup_touches
SELECT DISTINCT now64(3, 'UTC') AS touched_at, device_id, metric,
    toDateTime64(toStartOfInterval(w.window_start, INTERVAL 10 MINUTE, 'UTC'), 3, 'UTC') AS window_start
FROM fieldstream.windows_data AS w;
