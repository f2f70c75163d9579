-- How late readings came, behind the pipeline's watermark, as a histogram per gateway and hour of arrival.
-- `upto_s` is the bucket's upper bound in seconds, 4294967295 for all that is later. A statistic, not a balance: a
-- record that Kafka delivers twice in different blocks counts twice.
CREATE TABLE IF NOT EXISTS fieldstream.lateness_data
(
    gateway_id LowCardinality(String),
    hour DateTime('UTC'),
    upto_s UInt32,
    readings UInt64,
    seconds Float64
)
ENGINE = SummingMergeTree
ORDER BY (gateway_id, hour, upto_s)
TTL hour + INTERVAL 400 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS fieldstream.lateness_feed TO fieldstream.lateness_data AS
SELECT gateway_id, toStartOfHour(now('UTC')) AS hour,
    multiIf(late_s <= 0, 0, late_s <= 10, 10, late_s <= 60, 60, late_s <= 600, 600, late_s <= 3600, 3600,
        late_s <= 86400, 86400, 4294967295) AS upto_s,
    count() AS readings, sum(late_s) AS seconds
FROM (SELECT gateway_id, greatest(ifNull(lateness_s, 0), 0) AS late_s FROM fieldstream.readings_data)
GROUP BY gateway_id, hour, upto_s;

CREATE OR REPLACE VIEW fieldstream.lateness AS
SELECT gateway_id, hour, upto_s, sum(l.readings) AS readings, sum(l.seconds) AS seconds
FROM fieldstream.lateness_data AS l GROUP BY gateway_id, hour, upto_s;
