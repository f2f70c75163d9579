-- Coarser statistics for long ranges: 10 minutes, 1 hour, 1 day, each row made from windows (store/rollup.py).
--
-- Not a materialized view that adds up: a corrected window would be counted twice. A bucket is computed anew as a
-- whole when one of its windows changed, and the row that saw most readings stands. Sorted like the windows, with
-- the width first: a chart reads one width of one sensor, a plant overview one width of all.
CREATE TABLE IF NOT EXISTS fieldstream.rollups_data
(
    width_s UInt32 CODEC(T64, ZSTD(1)),
    device_id LowCardinality(String),
    metric LowCardinality(String),
    bucket_start DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    asset_id LowCardinality(String),
    unit LowCardinality(Nullable(String)),
    windows Int64 CODEC(T64, ZSTD(1)),
    count Int64 CODEC(T64, ZSTD(1)),
    mean Float64 CODEC(ZSTD(1)),
    stddev Float64 CODEC(ZSTD(1)),
    min Float64 CODEC(Delta, ZSTD(1)),
    max Float64 CODEC(Delta, ZSTD(1)),
    first Float64 CODEC(Delta, ZSTD(1)),
    last Float64 CODEC(Delta, ZSTD(1)),
    first_ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    last_ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    -- Readings are only ever added to windows, so their number tells the newer state.
    version UInt64 DEFAULT toUInt64(count) CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY (width_s, toYear(bucket_start))
ORDER BY (width_s, device_id, metric, bucket_start);

CREATE OR REPLACE VIEW fieldstream.rollups AS
SELECT * EXCEPT (version) FROM fieldstream.rollups_data FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Ten-minute buckets of which a window was stored.
CREATE TABLE IF NOT EXISTS fieldstream.rollup_touches
(
    touched_at DateTime64(3, 'UTC'),
    device_id LowCardinality(String),
    metric LowCardinality(String),
    window_start DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY touched_at
TTL toDateTime(touched_at) + INTERVAL 3 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS fieldstream.rollup_touches_feed TO fieldstream.rollup_touches AS
SELECT DISTINCT now64(3, 'UTC') AS touched_at, device_id, metric,
    toDateTime64(toStartOfInterval(window_start, INTERVAL 10 MINUTE, 'UTC'), 3, 'UTC') AS window_start
FROM fieldstream.windows_data;

-- Windows stored before this migration; run twice it only makes work twice.
INSERT INTO fieldstream.rollup_touches
SELECT DISTINCT now64(3, 'UTC') AS touched_at, device_id, metric,
    toDateTime64(toStartOfInterval(w.window_start, INTERVAL 10 MINUTE, 'UTC'), 3, 'UTC') AS window_start
FROM fieldstream.windows_data AS w;
