-- Heartbeats, one row per gateway, epoch and time. Sorted so that the newest of each gateway is at the end of a run.
CREATE TABLE IF NOT EXISTS fieldstream.gateways_data
(
    gateway_id LowCardinality(String),
    epoch Int64 CODEC(Delta, ZSTD(1)),
    ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    state LowCardinality(String),
    version LowCardinality(String),
    config_hash LowCardinality(String),
    started_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    last_seq Int64 CODEC(Delta, ZSTD(1)),
    last_sent_seq Int64 CODEC(Delta, ZSTD(1)),
    spool_readings Int64 CODEC(ZSTD(1)),
    spool_bytes Int64 CODEC(ZSTD(1)),
    spool_oldest_age_s Float64 CODEC(ZSTD(1)),
    spool_hours_left Nullable(Float64) CODEC(ZSTD(1)),
    accepted_total Int64 CODEC(Delta, ZSTD(1)),
    dead_letters_total Int64 CODEC(Delta, ZSTD(1)),
    duplicates_total Int64 CODEC(Delta, ZSTD(1)),
    counts Map(String, Int64) CODEC(ZSTD(1)),
    clock_offset_ms Nullable(Float64) CODEC(ZSTD(1)),
    certificate_expires_at Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    disk_free_bytes Int64 CODEC(ZSTD(1)),
    memory_bytes Int64 CODEC(ZSTD(1)),
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (gateway_id, epoch, ts)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE OR REPLACE VIEW fieldstream.gateways AS SELECT * FROM fieldstream.gateways_data FINAL;

-- The asset registry's sensors as last told. `kafka_ts` is the record's time in Kafka, which the loader adds to
-- each record: the topic's order decides, also between a removal (a null value) and what came before and after.
CREATE TABLE IF NOT EXISTS fieldstream.assets_data
(
    device_id LowCardinality(String),
    metric LowCardinality(String),
    site LowCardinality(String),
    area LowCardinality(String),
    asset_id LowCardinality(String),
    asset_type LowCardinality(String),
    label String,
    unit LowCardinality(Nullable(String)),
    low_low Nullable(Float64),
    low Nullable(Float64),
    high Nullable(Float64),
    high_high Nullable(Float64),
    period_ms Nullable(Int64),
    updated_at DateTime64(3, 'UTC'),
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'),
    kafka_ts UInt64,
    removed UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(kafka_ts, removed)
ORDER BY (device_id, metric)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE OR REPLACE VIEW fieldstream.assets AS
SELECT * EXCEPT (kafka_ts, removed) FROM fieldstream.assets_data FINAL;
