-- How severe an alarm was when somebody acknowledged it.
ALTER TABLE fieldstream.alarm_events_data ADD COLUMN IF NOT EXISTS severity LowCardinality(String) AFTER mark;

CREATE OR REPLACE VIEW fieldstream.alarm_events AS
SELECT *, kafka_offset = min(kafka_offset) OVER (PARTITION BY alarm_id, revision) AS holds
FROM fieldstream.alarm_events_data FINAL;
