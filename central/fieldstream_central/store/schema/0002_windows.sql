-- Statistics per sensor and 10 s window; the row that saw more readings is the truer one, whoever wrote it.
--
-- Sorted and partitioned as the readings, for the same questions. `window_end` is not in the key: the contract
-- names (device_id, metric, window_start), and a sensor has one width of window.
CREATE TABLE IF NOT EXISTS fieldstream.windows_data
(
    device_id LowCardinality(String),
    metric LowCardinality(String),
    window_start DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    window_end DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    site LowCardinality(String),
    area LowCardinality(String),
    asset_id LowCardinality(String),
    asset_type LowCardinality(String),
    unit LowCardinality(Nullable(String)),
    count Int64 CODEC(T64, ZSTD(1)),
    mean Float64 CODEC(Delta, ZSTD(1)),
    stddev Float64 CODEC(ZSTD(1)),
    min Float64 CODEC(Delta, ZSTD(1)),
    max Float64 CODEC(Delta, ZSTD(1)),
    first Float64 CODEC(Delta, ZSTD(1)),
    last Float64 CODEC(Delta, ZSTD(1)),
    first_ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    last_ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    low_low Nullable(Float64) CODEC(ZSTD(1)),
    low Nullable(Float64) CODEC(ZSTD(1)),
    high Nullable(Float64) CODEC(ZSTD(1)),
    high_high Nullable(Float64) CODEC(ZSTD(1)),
    revision Int64 CODEC(T64, ZSTD(1)),
    -- Who wrote this revision: 'stream' or 'repair'.
    origin LowCardinality(String) DEFAULT 'stream',
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    version UInt64 DEFAULT toUInt64(revision) CODEC(T64, ZSTD(1)),
    INDEX stored_at_range stored_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(window_start)
ORDER BY (device_id, metric, window_start)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE OR REPLACE VIEW fieldstream.windows AS
SELECT * EXCEPT (version)
FROM fieldstream.windows_data FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
