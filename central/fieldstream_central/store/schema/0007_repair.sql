-- Windows that a reading reached late: older than 9 minutes when stored, or as far behind the pipeline's watermark.
-- Flink corrects a window itself until 10 minutes after its end; the minute between covers clocks and transit.
CREATE TABLE IF NOT EXISTS fieldstream.late_touches
(
    touched_at DateTime64(3, 'UTC'),
    device_id LowCardinality(String),
    metric LowCardinality(String),
    window_start DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY touched_at
TTL toDateTime(touched_at) + INTERVAL 30 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS fieldstream.late_touches_feed TO fieldstream.late_touches AS
SELECT DISTINCT now64(3, 'UTC') AS touched_at, device_id, metric,
    toDateTime64(toStartOfInterval(ts, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC') AS window_start
FROM fieldstream.readings_data
WHERE ts < now64(3, 'UTC') - INTERVAL 9 MINUTE OR lateness_ms > 540000;

-- How far repair has worked through late_touches.
CREATE TABLE IF NOT EXISTS fieldstream.repair_progress
(
    job LowCardinality(String),
    done_until DateTime64(3, 'UTC'),
    at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
ORDER BY job;
