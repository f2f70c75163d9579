-- What people did to alarms. `holds`: of events with one number within an alarm the first in the log holds, the others
-- lost the race (alarms/life.py). Sorted by alarm, as its history is read; few rows, so not partitioned.
CREATE TABLE IF NOT EXISTS fieldstream.alarm_events_data
(
    event_id String CODEC(ZSTD(1)),
    alarm_id String CODEC(ZSTD(1)),
    revision Int64 CODEC(ZSTD(1)),
    action LowCardinality(String),
    anomaly_id String CODEC(ZSTD(1)),
    at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    who LowCardinality(String),
    comment String CODEC(ZSTD(1)),
    until Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    kafka_offset Int64 CODEC(ZSTD(1)),
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (alarm_id, revision, event_id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE OR REPLACE VIEW fieldstream.alarm_events AS
SELECT *, kafka_offset = min(kafka_offset) OVER (PARTITION BY alarm_id, revision) AS holds
FROM fieldstream.alarm_events_data FINAL;
