-- Every step of every episode, and beside it the latest step of each: the alarm list reads the small one.
-- Not partitioned: a year of them is small, and an episode must never be split.
CREATE TABLE IF NOT EXISTS fieldstream.anomaly_steps_data
(
    anomaly_id String CODEC(ZSTD(1)),
    device_id LowCardinality(String),
    metric LowCardinality(String),
    site LowCardinality(String),
    area LowCardinality(String),
    asset_id LowCardinality(String),
    asset_type LowCardinality(String),
    detector LowCardinality(String),
    detector_version LowCardinality(String),
    kind LowCardinality(String),
    severity LowCardinality(String),
    state LowCardinality(String),
    started_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    detected_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    ended_at Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    observed Nullable(Float64) CODEC(ZSTD(1)),
    expected Nullable(Float64) CODEC(ZSTD(1)),
    expected_low Nullable(Float64) CODEC(ZSTD(1)),
    expected_high Nullable(Float64) CODEC(ZSTD(1)),
    score Float64 CODEC(ZSTD(1)),
    reason String CODEC(ZSTD(1)),
    evidence_start DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    evidence_end DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    members Array(String) CODEC(ZSTD(1)),
    shadow Bool,
    revision Int64 CODEC(ZSTD(1)),
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(ZSTD(1)),
    version UInt64 DEFAULT toUInt64(revision)
)
ENGINE = ReplacingMergeTree
ORDER BY (anomaly_id, revision)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS fieldstream.anomalies_data AS fieldstream.anomaly_steps_data
ENGINE = ReplacingMergeTree(version)
ORDER BY anomaly_id
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS fieldstream.anomalies_latest TO fieldstream.anomalies_data
AS SELECT * FROM fieldstream.anomaly_steps_data;

CREATE OR REPLACE VIEW fieldstream.anomalies AS SELECT * EXCEPT (version) FROM fieldstream.anomalies_data FINAL;

CREATE OR REPLACE VIEW fieldstream.anomaly_events AS SELECT * EXCEPT (version) FROM fieldstream.anomaly_steps_data FINAL;
