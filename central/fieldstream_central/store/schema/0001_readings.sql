-- Every valid reading once.
--
-- Sorted by series, then time: the console and the API ask for one sensor over a range, which is then one
-- contiguous run of the primary index, and neighbours in a series differ little, so they pack to a few bytes.
-- Partitioned by month of the event time: retention drops whole partitions, and FINAL never merges across months
-- because the same identity always lies in the same one.
CREATE TABLE IF NOT EXISTS fieldstream.readings_data
(
    device_id LowCardinality(String),
    metric LowCardinality(String),
    ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    value Float64 CODEC(Delta, ZSTD(1)),
    unit LowCardinality(Nullable(String)),
    quality LowCardinality(String),
    flags Int32 CODEC(ZSTD(1)),
    gateway_id LowCardinality(String),
    epoch Int64 CODEC(Delta, ZSTD(1)),
    seq Int64 CODEC(Delta, ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    site LowCardinality(String),
    area LowCardinality(String),
    asset_id LowCardinality(String),
    asset_type LowCardinality(String),
    operator_pseudonym Nullable(String) CODEC(ZSTD(1)),
    processed_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    lateness_ms Nullable(Int64) CODEC(ZSTD(1)),
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    -- Of two rows of one identity the higher version stands, and the first accepted shall stand: time counted down.
    version UInt64 DEFAULT toUInt64(4398046511103 - toUnixTimestamp64Milli(received_at)) CODEC(Delta, ZSTD(1)),
    -- For questions by arrival (latency, what is new): a part holds few values of it, so the index skips nearly all.
    INDEX stored_at_range stored_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(ts)
ORDER BY (device_id, metric, ts)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE OR REPLACE VIEW fieldstream.readings AS
SELECT
    device_id, metric, ts, value, unit, quality, flags,
    arrayFilter(name -> name != '', [
        if(bitTest(flags, 0), 'ts-absent', ''), if(bitTest(flags, 1), 'ts-absurd', ''),
        if(bitTest(flags, 2), 'ts-future', ''), if(bitTest(flags, 3), 'unknown-sensor', ''),
        if(bitTest(flags, 4), 'device-dead', ''), if(bitTest(flags, 5), 'historical', '')]) AS flag_names,
    gateway_id, epoch, seq, received_at, site, area, asset_id, asset_type, operator_pseudonym,
    processed_at, lateness_ms, stored_at
FROM fieldstream.readings_data FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
