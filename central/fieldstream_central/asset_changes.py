"""`fieldstream assets follow`: what Debezium reads from the registry in Postgres becomes records of topic `assets`.

Debezium writes JSON to topic `assets.changes`, one record for each row of table `published` that changed (its
settings: deploy/assets/connector.json). Each becomes one record of `assets`, or removes one. When Debezium reads the
table anew, because its replication slot is new or was lost, it says nothing of what was deleted meanwhile: so a whole
snapshot also removes every sensor of `assets` that it does not hold.
"""

import json
import logging
import math
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from fieldstream_schemas.framed import framed
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.rights import ASSET_CHANGES
from fieldstream_schemas.topics import ASSETS
from prometheus_client import Counter, Histogram

from fieldstream_central.alarms.log import read_to
from fieldstream_central.assets import LIMITS, PlantFileError, checked_limits
from fieldstream_central.certificate import show_metrics
from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings
from fieldstream_central.store.blocks import Record, record_of
from fieldstream_central.store.inserting import Refusal
from fieldstream_central.store.refused import DeadLetterWriter

log = logging.getLogger("fieldstream.assets")

GROUP = "fieldstream-assets"
ORIGIN = "assets"  # of its dead letters

CHANGED = Counter("fieldstream_asset_changes_total", "Sensors changed or removed by the registry in Postgres", ["kind"])
REFUSED = Counter("fieldstream_asset_changes_refused_total", "Changes that were no sensor and became dead letters")
DELAY = Histogram(
    "fieldstream_asset_change_delay_seconds",
    "From the change in Postgres to its record in topic assets",
    buckets=(0.25, 0.5, 1, 2, 5, 10, 30, 60, 600),
)

_TEXTS = ("device_id", "metric", "site", "area", "asset_id", "asset_type", "label")


class AssetChangeError(ValueError):
    """A record of `assets.changes` that is no sensor; the message says what it lacks."""


@dataclass(frozen=True)
class Change:
    """One sensor as the registry has it now. `row`: None when it was removed. `snapshot`: Debezium's mark, or ""."""

    key: str
    row: dict[str, Any] | None
    snapshot: str = ""


def change_of(key: bytes | None, value: bytes | None) -> Change:
    """What a record of `assets.changes` says. Raises AssetChangeError."""
    try:
        named = json.loads(key or b"")
        name = f"{named['device_id']}/{named['metric']}"
        row = json.loads(value) if value else None
        if row is None:  # no bytes, or the word null, which is what Connect's JSON makes of a removal
            return Change(name, None)
        sensor: dict[str, Any] = {field: _text(row, field) for field in _TEXTS}
        sensor["unit"] = _text(row, "unit") if row.get("unit") is not None else None
        sensor["period_ms"] = int(row["period_ms"]) if row.get("period_ms") is not None else None
        sensor["updated_at"] = int(row["updated_at"])
        limits = {limit: row[limit] for limit in LIMITS if row.get(limit) is not None}
        sensor |= checked_limits(limits, name)
        if not all(math.isfinite(sensor[limit]) for limit in limits):
            raise AssetChangeError(f"a limit is no finite number: {limits}")
    except KeyError as error:
        raise AssetChangeError(f"it lacks {error}") from error
    except (ValueError, TypeError, PlantFileError) as error:
        raise AssetChangeError(str(error)) from error
    mark = str(row.get("__source_snapshot") or "false")
    return Change(name, sensor, "" if mark == "false" else mark)


def _text(row: dict[str, Any], field: str) -> str:
    if not isinstance(row[field], str):
        raise AssetChangeError(f"{field} is no text: {row[field]!r}")
    return str(row[field])


class Snapshot:
    """The sensors of a snapshot that is being read; `over` once its last one has come."""

    def __init__(self) -> None:
        self.open = False
        self._held: set[str] = set()

    def take(self, change: Change) -> set[str] | None:
        """Notes the change; after the last one of a snapshot, all that it held."""
        if not change.snapshot:
            return None
        if change.snapshot == "first" or not self.open:
            self._held = set()
            self.open = True
        self._held.add(change.key)
        if change.snapshot != "last":
            return None
        self.open = False
        return self._held


class Follower:
    """One consumer of `assets.changes`. Its place is kept only between snapshots, so that each is read whole."""

    def __init__(self, settings: Settings) -> None:
        self._stopping = threading.Event()
        self._registry = SchemaRegistry(settings.registry, settings.schema_cache)
        self._settings = settings
        self._consumer = Consumer(
            {
                **connection(settings),
                "group.id": GROUP,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 6000,
                "fetch.wait.max.ms": 50,
                "topic.metadata.refresh.interval.ms": 2000,
            }
        )
        self._producer = Producer({**connection(settings), "enable.idempotence": True, "linger.ms": 5})
        self._dead_letters = DeadLetterWriter(settings, self._registry, origin=ORIGIN)
        self._snapshot = Snapshot()
        self._known: set[str] = set()

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()

    def run(self) -> None:
        """Until `stop`."""
        self._known = known_sensors(self._settings)
        log.info("topic %s has %d sensors; follows %s", ASSETS.name, len(self._known), ASSET_CHANGES)
        self._consumer.subscribe([ASSET_CHANGES])
        try:
            while not self._stopping.is_set():
                messages = [message for message in self._consumer.consume(1000, timeout=0.2) if not message.error()]
                if messages:
                    self._deliver(messages, *self._read(messages))
        finally:
            self._consumer.close()

    def _read(self, messages: list[Message]) -> tuple[list[Change], list[Refusal]]:
        """What is to be written to `assets`, and what is no sensor."""
        changes, refusals = [], []
        for record in map(record_of, messages):
            try:
                change = change_of(record.key, record.value)
            except AssetChangeError as error:
                refusals.append(_refusal(record, str(error)))
                continue
            held = self._snapshot.take(change)
            gone = [] if held is None else sorted(self._known - held)
            if gone:
                log.info("the registry was read anew and no longer has %d sensors, first %s", len(gone), gone[0])
            changes += [change, *(Change(key, None) for key in gone)]
            self._known.update({change.key} if change.row else ())
            self._known.difference_update(gone if change.row else {change.key})
        return changes, refusals

    def _deliver(self, messages: list[Message], changes: list[Change], refusals: list[Refusal]) -> None:
        """Writes all, again and again while Kafka or the registry of schemas does not take it; then keeps its place."""
        while not self._stopping.is_set():
            try:
                self._write(changes)
                if refusals:
                    self._dead_letters.write(refusals)
                if not self._snapshot.open:
                    self._consumer.commit(message=messages[-1], asynchronous=False)
                break
            except (KafkaException, RegistryError) as error:
                log.warning("%d changes wait: %s", len(changes), error)
                self._stopping.wait(1)
        else:
            return
        if refusals:
            log.warning("%d changes of the registry are no sensors, first: %s", len(refusals), refusals[0].detail)
            REFUSED.inc(len(refusals))
        for change in changes:
            CHANGED.labels("changed" if change.row else "removed").inc()
            if change.row and not change.snapshot:
                DELAY.observe(max(0.0, time.time() - change.row["updated_at"] / 1000))

    def _write(self, changes: list[Change]) -> None:
        failures: list[str] = []

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                failures.append(str(error))

        for change in changes:
            value = framed(self._registry, ASSETS, change.row) if change.row else None
            self._producer.produce(ASSETS.name, value, change.key, on_delivery=delivered)
        if self._producer.flush(30) or failures:
            raise KafkaException(f"topic {ASSETS.name} did not take them: {failures[:1] or 'no answer in 30 s'}")


def known_sensors(settings: Settings) -> set[str]:
    """Keys of the sensors that topic `assets` has now. Raises KafkaException."""
    known: set[str] = set()
    consumer = Consumer({**connection(settings), "group.id": GROUP, "enable.auto.commit": False})
    try:
        place = TopicPartition(ASSETS.name, 0, 0)
        ends = {(ASSETS.name, 0): consumer.get_watermark_offsets(place, timeout=30)[1]}
        consumer.assign([place])
        while not read_to(consumer, ends):
            for record in map(record_of, consumer.consume(10_000, timeout=0.5)):
                key = (record.key or b"").decode()
                if record.value is None:
                    known.discard(key)
                else:
                    known.add(key)
    finally:
        consumer.close()
    return known


def _refusal(record: Record, detail: str) -> Refusal:
    return Refusal(
        ASSET_CHANGES, record, "bad-asset", f"A row of the asset registry is no sensor: {detail}. Mend the row."
    )


def follow(settings: Settings) -> None:
    """The follower and its metrics, until SIGTERM or SIGINT."""
    show_metrics(settings, settings.assets_metrics_port)
    follower = Follower(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: follower.stop())
    follower.run()
