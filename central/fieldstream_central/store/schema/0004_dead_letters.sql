-- What could not be accepted. A gateway's dead letter is known by its place in the gateway's spool, whatever path
-- its record took; all others by where they were read (topic/partition/offset), so reading twice adds nothing.
CREATE TABLE IF NOT EXISTS fieldstream.dead_letters_data
(
    reason LowCardinality(String),
    detail String CODEC(ZSTD(1)),
    origin LowCardinality(String),
    source String CODEC(ZSTD(1)),
    payload String CODEC(ZSTD(3)),
    payload_size Int64 CODEC(ZSTD(1)),
    device_id Nullable(String) CODEC(ZSTD(1)),
    metric Nullable(String) CODEC(ZSTD(1)),
    gateway_id LowCardinality(String),
    epoch Nullable(Int64) CODEC(ZSTD(1)),
    seq Nullable(Int64) CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(ZSTD(1)),
    letter_id String DEFAULT if(seq IS NULL, concat(origin, '/', source),
        concat(gateway_id, '/', toString(ifNull(epoch, 0)), '/', toString(ifNull(seq, 0)))) CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (gateway_id, letter_id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE OR REPLACE VIEW fieldstream.dead_letters AS SELECT * FROM fieldstream.dead_letters_data FINAL;
