"""Writing and reading topic `audit-log`."""

import threading
import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from fieldstream_schemas.framed import RecordReader, framed
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.topics import AUDIT_LOG

from fieldstream_central.audit_log.chain import Head, Stored
from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings

_ANSWER_S = 5.0
_LONGEST = 2000


class AuditLogError(Exception):
    """The log cannot be written or read now; the message says why."""


class AuditLog:
    """The log, to be written from any thread. Connects at the first act."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = SchemaRegistry(settings.registry, settings.schema_cache)
        self._reader = RecordReader(self._registry, AUDIT_LOG)
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._producer: Producer | None = None
        self._head: Head | None = None

    def note(self, *, who: str, via: str, act: str, role: str = "", about: str = "", outcome: str = "") -> None:
        """Writes one entry; returns when Kafka has it. Raises AuditLogError: then it may or may not be there."""
        with self._lock:
            head = self._catch_up()
            entry = {
                **{"at": time.time_ns() // 1_000_000, "who": who, "role": role, "via": via, "act": act[:_LONGEST]},
                **{"about": about[:_LONGEST], "outcome": outcome[:_LONGEST], "upto": head.offset, "chain": head.chain},
            }
            self._write(who, entry)

    def records(self) -> Iterator[Stored]:
        """Every record there is now, from the first. Raises AuditLogError."""
        with self._lock:
            yield from self._between(0, self._end())

    def _write(self, who: str, entry: dict[str, object]) -> None:
        failures: list[str] = []

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                failures.append(str(error))

        if self._producer is None:
            self._producer = Producer({
                **connection(self._settings), "acks": "all", "enable.idempotence": True, "linger.ms": 0,
                "delivery.timeout.ms": int(_ANSWER_S * 1000), "log_level": 0,
            })  # fmt: skip
        try:
            value = framed(self._registry, AUDIT_LOG, entry)
            self._producer.produce(AUDIT_LOG.name, value, who, on_delivery=delivered)
        except (RegistryError, BufferError, KafkaException) as error:
            raise AuditLogError(f"the audit log cannot be written: {error}") from error
        if self._producer.flush(_ANSWER_S + 1) or failures:
            raise AuditLogError(f"Kafka did not take the audit log's entry: {failures[0] if failures else 'no answer'}")

    def _catch_up(self) -> Head:
        """The head of all that is in the topic now."""
        end = self._end()
        head = self._head or self._stated(end)
        for record in self._between(head.offset + 1, end):
            head = head.after(record.value)
        self._head = head
        return head

    def _stated(self, end: int) -> Head:
        """The head that the last entry states: with it, only what follows has to be read."""
        for record in self._between(max(end - 1, 0), end):
            if record.entry is not None:
                return Head(record.entry["upto"], record.entry["chain"])
        return Head()

    def _end(self) -> int:
        if self._consumer is None:
            self._consumer = Consumer({
                **connection(self._settings), "group.id": "fieldstream-audit-log", "log_level": 0,
                "enable.auto.commit": False, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 50,
            })  # fmt: skip
        deadline = time.monotonic() + _ANSWER_S
        while True:
            try:
                return int(self._consumer.get_watermark_offsets(TopicPartition(AUDIT_LOG.name, 0), timeout=2)[1])
            except KafkaException as error:  # also while the partition has no leader for a moment
                if time.monotonic() > deadline:
                    raise AuditLogError(f"the audit log cannot be read: {error}") from error
                time.sleep(0.1)

    def _between(self, first: int, end: int) -> Iterator[Stored]:
        """The records from `first` on, before `end`."""
        assert self._consumer is not None  # noqa: S101 - _end connects
        self._consumer.assign([TopicPartition(AUDIT_LOG.name, 0, first)])
        silent_since = time.monotonic()
        while first < end:
            for message in self._consumer.consume(500, timeout=0.5):
                offset, value = message.offset(), message.value() or b""
                if message.error() is not None or offset is None:
                    continue
                silent_since = time.monotonic()
                if offset < end:
                    first = offset + 1
                    yield Stored(offset, value, self._entry(value))
            if time.monotonic() - silent_since > _ANSWER_S:
                raise AuditLogError(f"the audit log cannot be read: Kafka gives nothing from offset {first} on")

    def _entry(self, value: bytes) -> dict[str, object] | None:
        try:
            return self._reader.read(value)
        except (ValueError, EOFError, IndexError, KeyError, RegistryError):
            return None
