-- Which places of each gateway's spool have arrived, as sets of bits: adding one twice changes nothing, so the
-- count is right whatever is delivered again. One set per 1,048,576 places (at most 128 KiB); the audit reads
-- these instead of all readings.
CREATE TABLE IF NOT EXISTS fieldstream.arrived_data
(
    gateway_id LowCardinality(String),
    epoch Int64,
    kind LowCardinality(String),
    bucket Int64,
    places AggregateFunction(groupBitmap, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (gateway_id, epoch, kind, bucket);

CREATE MATERIALIZED VIEW IF NOT EXISTS fieldstream.arrived_readings TO fieldstream.arrived_data AS
SELECT gateway_id, epoch, 'reading' AS kind, intDiv(seq, 1048576) AS bucket, groupBitmapState(toUInt64(seq)) AS places
FROM fieldstream.readings_data WHERE seq > 0
GROUP BY gateway_id, epoch, bucket;

CREATE MATERIALIZED VIEW IF NOT EXISTS fieldstream.arrived_dead_letters TO fieldstream.arrived_data AS
SELECT gateway_id, assumeNotNull(d.epoch) AS epoch, 'dead-letter' AS kind,
    intDiv(assumeNotNull(d.seq), 1048576) AS bucket, groupBitmapState(toUInt64(assumeNotNull(d.seq))) AS places
FROM fieldstream.dead_letters_data AS d WHERE d.seq > 0 AND d.epoch IS NOT NULL
GROUP BY gateway_id, epoch, bucket;
