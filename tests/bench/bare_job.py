"""Flink's own limit: `bare_job readings|bytes` reads topic readings.raw to its end and filters.

`readings` decodes them, with the function that the pipeline uses. Prints records per second of running time.
"""

import sys
import time

from confluent_kafka import Consumer, TopicPartition
from fieldstream_central.settings import Settings, load_settings
from fieldstream_central.stream.cluster import Cluster, job_configuration
from fieldstream_schemas.topics import READINGS_RAW
from pyflink.table import EnvironmentSettings, TableEnvironment

SOURCE = """
CREATE TEMPORARY TABLE readings_raw (
  `value` BYTES, event_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = 'readings.raw', 'properties.bootstrap.servers' = '{kafka}',
  'properties.group.id' = 'fieldstream-bench', 'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset', 'format' = 'raw')
"""
SINK = "CREATE TEMPORARY TABLE nowhere ({columns}) WITH ('connector' = 'blackhole')"
COLUMNS = {"readings": "device_id STRING, metric STRING, `value` DOUBLE", "bytes": "`value` BYTES"}
QUERY = {
    "readings": "SELECT d.device_id, d.metric, d.`value` FROM readings_raw AS r, "
    "LATERAL TABLE(decode_reading(r.`value`, r.event_time)) AS d WHERE d.`value` > -1e9",
    "bytes": "SELECT `value` FROM readings_raw WHERE `value` <> x'00'",
}


def main() -> None:
    """Runs the job to its end."""
    form = sys.argv[1]
    settings = load_settings()
    table_env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in job_configuration(settings, name="bare", restore_from=None).items():
        table_env.get_config().set(key, value)
    table_env.execute_sql("CREATE TEMPORARY FUNCTION decode_reading AS 'fieldstream.DecodeReading'")
    table_env.execute_sql(SOURCE.format(kafka=settings.kafka))
    table_env.execute_sql(SINK.format(columns=COLUMNS[form]))
    result = table_env.execute_sql(f"INSERT INTO nowhere {QUERY[form]}")
    job_id = str(result.get_job_client().get_job_id())
    cluster = Cluster(settings.flink)
    while cluster.running("bare"):
        time.sleep(0.2)
    print(records_in_topic(settings) / cluster.running_seconds(job_id))


def records_in_topic(settings: Settings) -> int:
    """Records in topic readings.raw."""
    consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": "fieldstream-bench-count"})
    try:
        partitions = [TopicPartition(READINGS_RAW.name, number) for number in range(READINGS_RAW.partitions)]
        bounds = [consumer.get_watermark_offsets(partition, timeout=10) for partition in partitions]
        return sum(high - low for low, high in bounds)
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
