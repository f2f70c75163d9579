-- The job "pipeline": raw readings to clean readings, windows and dead letters. No Python runs in it.
-- Statements end with a semicolon at the end of a line; $names are filled in by pipeline.py.

-- 1. Sources and sinks. Values are framed Avro as bytes: functions decode and encode them, so that one bad
--    record cannot stop the job and a restart needs no schema registry.

CREATE TEMPORARY TABLE readings_raw (
  `value` BYTES,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  event_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, -- the gateway sets it to the reading's ts
  -- A clock that runs ahead must not make everybody else late, even if a gateway let it pass.
  WATERMARK FOR event_time AS
    LEAST(event_time, CAST(CURRENT_ROW_TIMESTAMP() AS TIMESTAMP_LTZ(3))) - INTERVAL '$out_of_order_s' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'readings.raw', $kafka,
  'properties.group.id' = 'fieldstream-pipeline', 'scan.startup.mode' = 'earliest-offset', 'format' = 'raw'
);

-- Heartbeats move event time on when no reading comes, so that the last window of a silent fleet closes too.
-- Each counts as a reading of the metric '' and is left out of the results. Their watermark runs ahead by as
-- long as they count as active, so that they never hold the readings' windows back.
CREATE TEMPORARY TABLE heartbeats (
  gateway_id STRING,
  heartbeat BYTES,
  event_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR event_time AS
    LEAST(event_time, CAST(CURRENT_ROW_TIMESTAMP() AS TIMESTAMP_LTZ(3))) + INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'gateways', $kafka,
  'properties.group.id' = 'fieldstream-pipeline', 'scan.startup.mode' = 'latest-offset',
  'key.format' = 'raw', 'key.fields' = 'gateway_id', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
  'scan.watermark.idle-timeout' = '2s'
);

CREATE TEMPORARY TABLE readings_clean (device_id STRING, `value` BYTES, event_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp')
WITH (
  'connector' = 'kafka', 'topic' = 'readings.clean', $kafka,
  'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
  'properties.compression.type' = 'lz4', 'properties.linger.ms' = '20', 'properties.batch.size' = '131072'
);

CREATE TEMPORARY TABLE windows (`key` STRING, `value` BYTES, event_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp')
WITH (
  'connector' = 'kafka', 'topic' = 'windows', $kafka,
  'key.format' = 'raw', 'key.fields' = 'key', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
  'properties.partitioner.class' = 'fieldstream.DevicePartitioner',
  'properties.compression.type' = 'lz4', 'properties.linger.ms' = '20', 'properties.batch.size' = '131072'
);

CREATE TEMPORARY TABLE dead_letters (`key` STRING, `value` BYTES) WITH (
  'connector' = 'kafka', 'topic' = 'dead-letters', $kafka,
  'key.format' = 'raw', 'key.fields' = 'key', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY'
);

-- 2. Decode. A row with a reason is a dead letter.

CREATE TEMPORARY VIEW decoded AS
SELECT raw_.event_time, raw_.`partition`, raw_.`offset`, d.*
FROM readings_raw AS raw_, LATERAL TABLE(decode_reading(raw_.`value`, raw_.event_time)) AS d;

-- 3. Deduplicate. Within (gateway, epoch, device) seq only rises, so what is not above all before it has
--    been here already: an uplink that did not hear the broker's receipt sends again.

CREATE TEMPORARY VIEW valid AS
SELECT * FROM decoded WHERE reason IS NULL;

CREATE TEMPORARY VIEW readings AS
SELECT gateway_id, epoch, device_id, seq, metric, ts, `value`, unit, quality, flags, operator, received_at,
  event_time
FROM first_of_seq(
  reading => TABLE valid PARTITION BY (gateway_id, epoch, device_id), on_time => DESCRIPTOR(event_time), uid => 'first');

-- 4. Every valid reading, enriched and pseudonymised, however late.

INSERT INTO readings_clean
SELECT r.device_id,
  encode_record('clean_reading', r.device_id, r.metric, r.ts, r.`value`, COALESCE(r.unit, a.unit), r.quality,
         r.flags + CASE WHEN a.asset_id = '' THEN 8 ELSE 0 END, -- Flag.UNKNOWN_SENSOR
         r.gateway_id, r.epoch, r.seq, r.received_at, a.site, a.area, a.asset_id, a.asset_type, pseudonym(r.operator),
         CURRENT_ROW_TIMESTAMP(), CAST(TIMESTAMPDIFF(SECOND, r.event_time, CURRENT_WATERMARK(r.event_time)) AS BIGINT) * 1000),
  r.event_time
FROM readings AS r, LATERAL TABLE(asset_row(r.device_id, r.metric)) AS a;

-- 5. Windows by event time, corrected by a row with a higher revision when readings come late.

CREATE TEMPORARY VIEW window_input AS
SELECT device_id, metric, event_time, `value` FROM readings
UNION ALL
SELECT gateway_id, SUBSTRING(gateway_id, 1, 0), event_time, CAST(CHAR_LENGTH(gateway_id) AS DOUBLE) FROM heartbeats;

INSERT INTO windows
SELECT w.device_id || '/' || w.metric || '/' || CAST(w.start_ms AS STRING),
  encode_record('window', w.device_id, w.metric, w.start_ms, w.start_ms + $window_s * 1000, w.stats,
         a.site, a.area, a.asset_id, a.asset_type, a.unit, a.low_low, a.low, a.high, a.high_high),
  TO_TIMESTAMP_LTZ(w.start_ms + $window_s * 1000, 3)
FROM corrected_windows(
  reading => TABLE window_input PARTITION BY (device_id, metric), on_time => DESCRIPTOR(event_time), uid => 'windows')
  AS w, LATERAL TABLE(asset_row(w.device_id, w.metric)) AS a
WHERE w.metric <> '';

-- 6. What could not be read.

INSERT INTO dead_letters
SELECT CONCAT('readings.raw/', CAST(`partition` AS STRING)),
  encode_record('dead_letter', reason, detail, 'pipeline',
         CONCAT('readings.raw/', CAST(`partition` AS STRING), '/', CAST(`offset` AS STRING)),
         seal(payload), payload_size, device_id, metric, COALESCE(gateway_id, ''), epoch, seq, event_time, '$sealed_by')
FROM decoded WHERE reason IS NOT NULL;
