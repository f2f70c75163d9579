"""How far a consumer group is behind on a topic, in records and in seconds, from outside: it need not run.

For a Flink job that is what its last checkpoint has committed, so some seconds are normal.
"""

import time

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from fieldstream_schemas.topics import Topic
from prometheus_client import Gauge

from fieldstream_central.store.lag import LagMeter

RECORDS = Gauge(
    "fieldstream_lag_records", "Records in the hop's input topic that it has not committed", ["hop", "topic"]
)
SECONDS = Gauge("fieldstream_lag_seconds", "Since when the oldest of them has been there", ["hop", "topic"])


class GroupLag:
    """Lag of one hop; `group` is its consumer group."""

    def __init__(self, admin: AdminClient, hop: str, topic: Topic, group: str) -> None:
        self._admin = admin
        self._hop = hop
        self._topic = topic.name
        self._group = group
        self._meter = LagMeter()

    def measure(self) -> None:
        """Sets both gauges. While Kafka does not answer the seconds go on counting from what is known."""
        now = time.monotonic()
        try:
            found = self._admin.list_topics(self._topic, timeout=2).topics[self._topic].partitions
            partitions = [TopicPartition(self._topic, number) for number in found]
            group = ConsumerGroupTopicPartitions(self._group, partitions)
            answer = self._admin.list_consumer_group_offsets([group], request_timeout=2)
            committed = next(iter(answer.values())).result().topic_partitions
            ends = self._admin.list_offsets(
                {p: OffsetSpec.latest() for p in partitions},  # type: ignore[no-untyped-call]
                request_timeout=2,
            )
            for partition, future in ends.items():
                self._meter.ended_at(partition.partition, future.result().offset, now)
            for partition in committed:
                self._meter.read_to(partition.partition, max(partition.offset, 0))
        except KafkaException:
            pass  # its absence is reported by its own metrics
        RECORDS.labels(self._hop, self._topic).set(self._meter.records())
        SECONDS.labels(self._hop, self._topic).set(self._meter.seconds(now))
