-- What people think of an alarm's episode: useful, false or expected.
ALTER TABLE fieldstream.alarm_events_data ADD COLUMN IF NOT EXISTS mark LowCardinality(String) AFTER until;

CREATE OR REPLACE VIEW fieldstream.alarm_events AS
SELECT *, kafka_offset = min(kafka_offset) OVER (PARTITION BY alarm_id, revision) AS holds
FROM fieldstream.alarm_events_data FINAL;
