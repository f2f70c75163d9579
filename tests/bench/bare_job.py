"""Flink's own limit: read topic readings.raw to its end and filter. Prints records per second of running time."""

import time

from confluent_kafka import Consumer, TopicPartition
from fieldstream_central.settings import Settings, load_settings
from fieldstream_central.stream.cluster import Cluster, job_configuration
from fieldstream_schemas.topics import READINGS_RAW
from pyflink.table import EnvironmentSettings, TableEnvironment

SOURCE = """
CREATE TEMPORARY TABLE readings_raw (`value` BYTES) WITH (
  'connector' = 'kafka', 'topic' = 'readings.raw', 'properties.bootstrap.servers' = '{kafka}',
  'properties.group.id' = 'fieldstream-bench', 'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset', 'format' = 'raw')
"""


def main() -> None:
    """Runs the job to its end."""
    settings = load_settings()
    table_env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in job_configuration(settings, name="bare", restore_from=None).items():
        table_env.get_config().set(key, value)
    table_env.execute_sql(SOURCE.format(kafka=settings.kafka))
    table_env.execute_sql("CREATE TEMPORARY TABLE nowhere (`value` BYTES) WITH ('connector' = 'blackhole')")
    result = table_env.execute_sql("INSERT INTO nowhere SELECT `value` FROM readings_raw WHERE `value` <> x'00'")
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
