"""What the alerter follows: topic `anomalies` from its beginning, heartbeats of the last hour."""

import logging
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from fieldstream_schemas.framed import RecordReader, framed
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.topics import ANOMALIES, GATEWAYS
from prometheus_client import Counter

from fieldstream_central.alarms.incidents import Step
from fieldstream_central.alarms.log import read_to
from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings

_HEARTBEATS_MS = 3600 * 1000
log = logging.getLogger("fieldstream.alerter")

SKIPPED = Counter("fieldstream_alerter_undecodable_total", "Records of its topics that could not be read")


class Feed:
    """Reads steps and heartbeats, writes steps of incidents. Offsets say what has been told, not what has been read."""

    def __init__(self, settings: Settings) -> None:
        self._registry = SchemaRegistry(settings.registry, settings.schema_cache)
        self._readers = {topic.name: RecordReader(self._registry, topic) for topic in (ANOMALIES, GATEWAYS)}
        self._consumer = Consumer(
            {
                **connection(settings),
                "group.id": "fieldstream-alerter",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
            }
        )
        self._producer = Producer({**connection(settings), "enable.idempotence": True, "linger.ms": 0})
        self._committed: dict[int, int] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._uncommitted = False

    def start(self) -> None:
        """Begins at the beginning; what was committed had been told. Waits for Kafka."""
        while True:
            try:
                self._begin()
            except KafkaException as error:
                log.warning("the alerter waits for Kafka: %s", error)
                time.sleep(2)
            else:
                return

    def _begin(self) -> None:
        partitions = [TopicPartition(ANOMALIES.name, number) for number in range(ANOMALIES.partitions)]
        self._committed = {p.partition: p.offset for p in self._consumer.committed(partitions, timeout=60)}
        for place in partitions:
            first, end = self._consumer.get_watermark_offsets(place, timeout=60)
            self._ends[place.topic, place.partition] = end if end > first else 0
        since = time.time_ns() // 1_000_000 - _HEARTBEATS_MS
        heartbeats = self._consumer.offsets_for_times([TopicPartition(GATEWAYS.name, 0, since)], timeout=60)
        self._consumer.assign([*(TopicPartition(p.topic, p.partition, 0) for p in partitions), *heartbeats])

    def read(self, step: Callable[[Step, bool], None], heartbeat: Callable[[dict[str, Any]], None]) -> None:
        """What has come, waiting a little: steps, with whether they were committed before, and heartbeats."""
        for message in self._consumer.consume(500, timeout=0.2):
            if message.error():
                log.warning("Kafka: %s", message.error())
                continue
            record = self._decode(message)
            if record is None:
                continue
            if message.topic() == GATEWAYS.name:
                heartbeat(record)
            elif not record["shadow"]:
                told = (message.offset() or 0) < self._committed[message.partition() or 0]
                self._uncommitted |= not told
                step(record, told)

    def caught_up(self) -> bool:
        """Whether all that was there at the start has been read."""
        if self._ends and read_to(self._consumer, self._ends):
            self._ends = {}
        return not self._ends

    def write(self, steps: list[Step]) -> None:
        """Writes steps of incidents; returns when Kafka has them."""
        waiting = [(step["anomaly_id"], framed(self._registry, ANOMALIES, step)) for step in steps]
        while waiting:
            failed: list[tuple[str, bytes]] = []
            for key, value in waiting:
                self._producer.produce(ANOMALIES.name, value, key, on_delivery=_keeper(failed, key, value))
            while self._producer.flush(10):
                log.warning("Kafka has not taken %d steps of incidents yet", len(self._producer))
            waiting = failed

    def commit(self) -> None:
        """All that was read has been told."""
        if self._uncommitted:
            here = [place for place in self._consumer.position(self._consumer.assignment()) if place.offset >= 0]
            try:
                self._consumer.commit(
                    offsets=[place for place in here if place.topic == ANOMALIES.name], asynchronous=False
                )
            except KafkaException as error:
                log.warning("what has been told could not be noted; it may be told again after a restart: %s", error)
            else:
                self._uncommitted = False

    def _decode(self, message: Message) -> dict[str, Any] | None:
        try:
            return self._readers[message.topic() or ""].read(message.value() or b"")
        except (ValueError, EOFError, IndexError, KeyError, RegistryError) as error:
            SKIPPED.inc()
            log.error("%s@%s could not be read: %s", message.topic(), message.offset(), error)
            return None


def _keeper(failed: list[tuple[str, bytes]], key: str, value: bytes) -> Callable[[object, object], None]:
    def delivered(error: object, _message: object) -> None:
        if error is not None:
            log.warning("Kafka did not take a step of incident %s, trying on: %s", key, error)
            failed.append((key, value))

    return delivered
