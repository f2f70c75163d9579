-- Times of arrival as distances from the event time: 3.7 bytes a reading in place of 8.5 (ADR 0036).
--
-- The table is made anew, as the version of a ReplacingMergeTree cannot be altered. What comes while the old rows
-- are copied goes to the new table at once; until the copy is done questions about the past see part of it.
DROP VIEW IF EXISTS fieldstream.arrived_readings;

DROP VIEW IF EXISTS fieldstream.late_touches_feed;

-- when: SELECT countIf(name = 'lateness_ms') AND NOT countIf(name = 'lateness_s') FROM system.columns WHERE database = 'fieldstream' AND table = 'readings_data'
RENAME TABLE fieldstream.readings_data TO fieldstream.readings_before;

CREATE TABLE IF NOT EXISTS fieldstream.readings_data
(
    device_id LowCardinality(String),
    metric LowCardinality(String),
    ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    value Float64 CODEC(Delta, ZSTD(3)),
    unit LowCardinality(Nullable(String)),
    quality LowCardinality(String),
    flags Int32 CODEC(ZSTD(1)),
    gateway_id LowCardinality(String),
    epoch Int64 CODEC(Delta, ZSTD(1)),
    seq Int64 CODEC(Delta, ZSTD(3)),
    received_at DateTime64(3, 'UTC') EPHEMERAL,
    site LowCardinality(String),
    area LowCardinality(String),
    asset_id LowCardinality(String),
    asset_type LowCardinality(String),
    operator_pseudonym Nullable(String) CODEC(ZSTD(1)),
    processed_at DateTime64(3, 'UTC') EPHEMERAL,
    lateness_ms Nullable(Int64) EPHEMERAL,
    -- Of two rows of one identity the higher version stands, and the first accepted shall stand: the delay from event
    -- to gateway in milliseconds, counted down. Two rows of one identity have the same event time.
    version UInt64 DEFAULT toUInt64(4398046511103 - toUnixTimestamp64Milli(received_at) + toUnixTimestamp64Milli(ts))
        CODEC(T64, ZSTD(1)),
    -- From the gateway's receipt, tenths of a second.
    processed_after_ds Int64 DEFAULT intDiv(toUnixTimestamp64Milli(processed_at) - toUnixTimestamp64Milli(received_at), 100)
        CODEC(T64, ZSTD(1)),
    stored_after_ds Int64 DEFAULT intDiv(toUnixTimestamp64Milli(now64(3, 'UTC')) - toUnixTimestamp64Milli(received_at), 100)
        CODEC(T64, ZSTD(1)),
    lateness_s Nullable(Int64) DEFAULT intDiv(lateness_ms, 1000) CODEC(T64, ZSTD(1)),
    stored_at DateTime64(3, 'UTC')
        ALIAS ts + toIntervalMillisecond(4398046511103 - version + 100 * stored_after_ds),
    -- For questions by arrival (latency, what is new): a part holds few values of it, so the index skips nearly all.
    INDEX stored_at_range ts + toIntervalMillisecond(4398046511103 - version + 100 * stored_after_ds)
        TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(ts)
ORDER BY (device_id, metric, ts)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE OR REPLACE VIEW fieldstream.readings AS
SELECT
    device_id, metric, ts, value, unit, quality, flags,
    arrayMap(bit -> ['ts-absent', 'ts-absurd', 'ts-future', 'unknown-sensor', 'device-dead', 'historical'][bit + 1],
        bitPositionsToArray(flags)) AS flag_names,
    gateway_id, epoch, seq, ts + toIntervalMillisecond(4398046511103 - version) AS received_at,
    site, area, asset_id, asset_type, operator_pseudonym,
    ts + toIntervalMillisecond(4398046511103 - version + 100 * processed_after_ds) AS processed_at,
    lateness_s * 1000 AS lateness_ms, stored_at
FROM fieldstream.readings_data FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS fieldstream.arrived_readings TO fieldstream.arrived_data AS
SELECT gateway_id, epoch, 'reading' AS kind, intDiv(seq, 1048576) AS bucket, groupBitmapState(toUInt64(seq)) AS places
FROM fieldstream.readings_data WHERE seq > 0
GROUP BY gateway_id, epoch, bucket;

-- A row whose stored_at lies back is a copy and no news.
CREATE MATERIALIZED VIEW IF NOT EXISTS fieldstream.late_touches_feed TO fieldstream.late_touches AS
SELECT DISTINCT now64(3, 'UTC') AS touched_at, device_id, metric,
    toDateTime64(toStartOfInterval(ts, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC') AS window_start
FROM fieldstream.readings_data
WHERE (ts < now64(3, 'UTC') - INTERVAL 9 MINUTE OR lateness_s > 540)
    AND ts + toIntervalMillisecond(4398046511103 - version + 100 * stored_after_ds) > now64(3, 'UTC') - INTERVAL 10 MINUTE;

-- when: SELECT count() FROM system.tables WHERE database = 'fieldstream' AND name = 'readings_before'
INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, unit, quality, flags, gateway_id, epoch, seq,
    site, area, asset_id, asset_type, operator_pseudonym, version, processed_after_ds, stored_after_ds, lateness_s)
WITH 4398046511103 - toInt64(version) AS received_ms
SELECT device_id, metric, ts, value, unit, quality, flags, gateway_id, epoch, seq,
    site, area, asset_id, asset_type, operator_pseudonym, version + toUnixTimestamp64Milli(ts),
    intDiv(toUnixTimestamp64Milli(processed_at) - received_ms, 100),
    intDiv(toUnixTimestamp64Milli(stored_at) - received_ms, 100), intDiv(lateness_ms, 1000)
FROM fieldstream.readings_before
SETTINGS max_execution_time = 86400, max_partitions_per_insert_block = 0;

DROP TABLE IF EXISTS fieldstream.readings_before SETTINGS max_table_size_to_drop = 0;
