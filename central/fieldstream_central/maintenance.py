"""Planned maintenance on topic `maintenance`: set by a person or by another system, read by the detect job.

The topic is compacted and small, so whoever needs it reads all of it; a tombstone withdraws an entry.
"""

import logging
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from fieldstream_schemas.framed import RecordReader, framed
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.topics import MAINTENANCE

from fieldstream_central.detect.config import Maintenance
from fieldstream_central.settings import Settings

POLL_EVERY_S = 2.0
MOST_PER_POLL = 1000

log = logging.getLogger("fieldstream.maintenance")


class MaintenanceError(Exception):
    """Planned work that cannot be used; the message says what and why."""


class MaintenanceFeed:
    """All planned work, followed as it changes. `undecodable` counts entries that could not be read."""

    def __init__(self, kafka: str, registry: SchemaRegistry) -> None:
        self._reader = RecordReader(registry, MAINTENANCE)
        self._consumer = Consumer({
            "bootstrap.servers": kafka, "group.id": "fieldstream-maintenance", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "log_level": 0,
        })  # fmt: skip
        self._consumer.assign([TopicPartition(MAINTENANCE.name, 0, 0)])
        self._planned: dict[str, Maintenance] = {}
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
        return tuple(self._planned.values()) if changed else None

    def _take(self, key: str, value: bytes | None) -> bool:
        if value is None:
            return self._planned.pop(key, None) is not None
        try:
            self._planned[key] = self._read(value)
        except (RegistryError, ValueError, EOFError, IndexError, KeyError) as error:
            self.undecodable += 1
            log.error("topic maintenance: entry %s cannot be read and is ignored: %r", key, error)
            return False
        return True

    def _read(self, value: bytes) -> Maintenance:
        record = self._reader.read(value)
        return Maintenance(record["start"], record["end"], record["asset_id"], record["device_id"], record["metric"])

    def close(self) -> None:
        """Leaves Kafka."""
        self._consumer.close()


def announce(settings: Settings, maintenance_id: str, work: Maintenance | None, note: str = "") -> None:
    """Writes planned work to the topic; None withdraws it. Raises MaintenanceError."""
    body = None
    if work is not None:
        if work.end <= work.start:
            raise MaintenanceError(f"maintenance {maintenance_id}: it must end after it starts")
        record = {name: getattr(work, name) for name in ("asset_id", "device_id", "metric", "start", "end")}
        registry = SchemaRegistry(settings.registry, settings.schema_cache)
        registry.wait_for_id(MAINTENANCE)
        body = framed(registry, MAINTENANCE, record | {"maintenance_id": maintenance_id, "note": note})
    producer = Producer({"bootstrap.servers": settings.kafka, "enable.idempotence": True})
    producer.produce(MAINTENANCE.name, body, maintenance_id)
    if producer.flush(30):
        raise MaintenanceError(f"Kafka at {settings.kafka} did not confirm it within 30 s: is the stack up?")
