"""Planned maintenance on topic `maintenance`: set by a person or by another system, read by the detect job.

The topic is compacted and small, so whoever needs it reads all of it; a tombstone withdraws an entry.
"""

import logging
import time
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from fieldstream_schemas.framed import RecordReader, framed
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.topics import MAINTENANCE

from fieldstream_central.detect.config import Maintenance
from fieldstream_central.kafka_access import Properties, connection
from fieldstream_central.settings import Settings

POLL_EVERY_S = 2.0
MOST_PER_POLL = 1000

log = logging.getLogger("fieldstream.maintenance")


class MaintenanceError(Exception):
    """Planned work that cannot be used; the message says what and why."""


class MaintenanceFeed:
    """All planned work, followed as it changes. `undecodable` counts entries that could not be read."""

    def __init__(self, kafka: Properties, registry: SchemaRegistry) -> None:
        self._reader = RecordReader(registry, MAINTENANCE)
        self._consumer = Consumer({
            **kafka, "group.id": "fieldstream-maintenance", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "log_level": 0,
        })  # fmt: skip
        self._consumer.assign([TopicPartition(MAINTENANCE.name, 0, 0)])
        self._planned: dict[str, dict[str, Any]] = {}
        self._next_poll = 0.0
        self.undecodable = 0

    def poll(self, *, wait_s: float = 0.0) -> tuple[Maintenance, ...] | None:
        """The planned work if it has changed since the last call, else None. Asks Kafka every two seconds at most."""
        now = time.monotonic()
        if now < self._next_poll:
            return None
        self._next_poll = now + POLL_EVERY_S
        messages = self._consumer.consume(MOST_PER_POLL, timeout=wait_s)
        changed = False
        for message in messages:
            key = message.key()
            if message.error() is None and key is not None:
                changed |= self._take(key.decode(errors="replace"), message.value())
        return tuple(_work(record) for record in self._planned.values()) if changed else None

    def records(self, *, timeout_s: float = 5.0) -> list[dict[str, Any]]:
        """All entries as they stand now, with identity, note and who planned them. Raises MaintenanceError."""
        deadline = time.monotonic() + timeout_s
        place = TopicPartition(MAINTENANCE.name, 0)
        try:
            first, end = self._consumer.get_watermark_offsets(place, timeout=timeout_s)
            while end > first and max(self._consumer.position([place])[0].offset, 0) < end:
                if time.monotonic() > deadline:
                    raise MaintenanceError(f"planned work could not be read within {timeout_s:.0f} s; try again")
                self._next_poll = 0.0
                self.poll(wait_s=0.2)
        except KafkaException as error:
            raise MaintenanceError(f"Kafka does not answer, so planned work is not known: {error}") from error
        return list(self._planned.values())

    def _take(self, key: str, value: bytes | None) -> bool:
        if value is None:
            return self._planned.pop(key, None) is not None
        try:
            self._planned[key] = self._reader.read(value)
        except (RegistryError, ValueError, EOFError, IndexError, KeyError) as error:
            self.undecodable += 1
            log.error("topic maintenance: entry %s cannot be read and is ignored: %r", key, error)
            return False
        return True

    def close(self) -> None:
        """Leaves Kafka."""
        self._consumer.close()


def _work(record: dict[str, Any]) -> Maintenance:
    return Maintenance(record["start"], record["end"], record["asset_id"], record["device_id"], record["metric"])


def announce(
    settings: Settings, maintenance_id: str, work: Maintenance | None, note: str = "", *, who: str = ""
) -> None:
    """Writes planned work to the topic; None withdraws it. `who` plans it. Raises MaintenanceError."""
    body = None
    if work is not None:
        if work.end <= work.start:
            raise MaintenanceError(f"maintenance {maintenance_id}: it must end after it starts")
        record = {name: getattr(work, name) for name in ("asset_id", "device_id", "metric", "start", "end")}
        registry = SchemaRegistry(settings.registry, settings.schema_cache)
        registry.wait_for_id(MAINTENANCE)
        body = framed(registry, MAINTENANCE, record | {"maintenance_id": maintenance_id, "note": note, "who": who})
    producer = Producer({**connection(settings), "enable.idempotence": True})
    producer.produce(MAINTENANCE.name, body, maintenance_id)
    if producer.flush(30):
        raise MaintenanceError(f"Kafka at {settings.kafka} did not confirm it within 30 s: is the stack up?")
