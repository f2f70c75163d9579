"""Flink's own limit: `bare_job readings|bytes` reads topic readings.raw to its end and filters.

`readings` decodes them with Flink's own Avro format. Prints records per second of running time.
"""

import sys
import time

from confluent_kafka import Consumer, TopicPartition
from fieldstream_central.settings import Settings, load_settings
from fieldstream_central.stream.cluster import Cluster, job_configuration
from fieldstream_schemas.topics import READINGS_RAW
from local.layout import JAVA_PARTS
from pyflink.table import EnvironmentSettings, TableEnvironment

COLUMNS = {
    "readings": "gateway_id STRING, epoch BIGINT, seq BIGINT, device_id STRING, metric STRING, ts BIGINT, "
    "`value` DOUBLE, unit STRING, quality STRING, flags INT, operator STRING, received_at BIGINT",
    "bytes": "`value` BYTES",
}
FORMAT = {"readings": "'format' = 'avro-confluent', 'avro-confluent.url' = '{registry}'", "bytes": "'format' = 'raw'"}
FILTER = {"readings": "`value` > -1e9", "bytes": "`value` <> x'00'"}
SOURCE = """
CREATE TEMPORARY TABLE readings_raw ({columns}) WITH (
  'connector' = 'kafka', 'topic' = 'readings.raw', 'properties.bootstrap.servers' = '{kafka}',
  'properties.group.id' = 'fieldstream-bench', 'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset', {format})
"""
SINK = "CREATE TEMPORARY TABLE nowhere ({columns}) WITH ('connector' = 'blackhole')"


def main() -> None:
    """Runs the job to its end."""
    form = sys.argv[1]
    settings = load_settings()
    table_env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in job_configuration(settings, name="bare", restore_from=None).items():
        table_env.get_config().set(key, value)
    [avro] = (JAVA_PARTS / "bench-lib").glob("*.jar")
    table_env.get_config().set("pipeline.jars", avro.as_uri())
    source_format = FORMAT[form].format(registry=settings.registry[0])
    table_env.execute_sql(SOURCE.format(columns=COLUMNS[form], kafka=settings.kafka, format=source_format))
    table_env.execute_sql(SINK.format(columns=COLUMNS[form]))
    result = table_env.execute_sql(f"INSERT INTO nowhere SELECT * FROM readings_raw WHERE {FILTER[form]}")
    job_id = str(result.get_job_client().get_job_id())
    cluster = Cluster(settings)
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
