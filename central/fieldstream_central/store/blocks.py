"""Kafka records to one Avro object container file, without decoding them.

The container carries the writer's schema, so ClickHouse reads it without a registry. Every record is a
container block of its own (count 1, size, body, sync mark): a record whose bytes are damaged then cannot
shift its neighbours. With all records in one block ClickHouse was seen to lose a neighbour in silence
when one value was a record too long (ADR 0031).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import Message
from fieldstream_schemas.topics import ALARMS, ANOMALIES, ASSETS, DEAD_LETTERS, GATEWAYS, READINGS_CLEAN, WINDOWS, Topic

_SYNC = hashlib.md5(b"fieldstream", usedforsecurity=False).digest()


class Record(NamedTuple):
    """One Kafka record as it is kept."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


def record_of(message: Message) -> Record:
    """A message of Kafka as a record."""
    _, timestamp_ms = message.timestamp()
    key = message.key()
    return Record(
        message.partition() or 0,
        message.offset() or 0,
        timestamp_ms,
        key.encode() if isinstance(key, str) else key,
        message.value(),
    )


@dataclass(frozen=True)
class Table:
    """Where a topic's records go. `extra`: fields that the loader appends: kafka_ts, kafka_offset or removed."""

    topic: Topic
    name: str
    extra: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        fields = [item["name"] for item in json.loads(self.topic.schema_text)["fields"]]
        object.__setattr__(self, "columns", (*fields, *(name for name, _ in self.extra)))

    @property
    def removable(self) -> bool:
        """Whether a record without value means that its key is gone."""
        return any(name == "removed" for name, _ in self.extra)

    @property
    def insert(self) -> str:
        """The statement that stores a container."""
        return f"INSERT INTO fieldstream.{self.name} ({', '.join(self.columns)}) FORMAT Avro"


TABLES = {
    table.topic.name: table
    for table in (
        Table(READINGS_CLEAN, "readings_data"),
        Table(WINDOWS, "windows_data"),
        Table(ANOMALIES, "anomaly_steps_data"),
        Table(ALARMS, "alarm_events_data", extra=(("kafka_offset", "long"),)),
        Table(DEAD_LETTERS, "dead_letters_data"),
        Table(GATEWAYS, "gateways_data"),
        Table(ASSETS, "assets_data", extra=(("kafka_ts", "long"), ("removed", "int"))),
    )
}


def varint(number: int) -> bytes:
    """A non-negative number as an Avro long."""
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# A record is nearly always shorter than this: its block head is then a look-up.
_HEADS = tuple(varint(1) + varint(size) for size in range(2048))


def _head(size: int) -> bytes:
    return _HEADS[size] if size < len(_HEADS) else varint(1) + varint(size)


def container(schema_text: str, payloads: Iterable[bytes]) -> bytes:
    """An Avro object container file of these payloads (Avro binary, without the Confluent header)."""
    schema = schema_text.encode()
    parts = [
        b"Obj\x01" + varint(2) + _text(b"avro.schema") + _text(schema) + _text(b"avro.codec") + _text(b"null") + b"\0",
        _SYNC,
    ]
    for payload in payloads:
        parts += (_head(len(payload)), payload, _SYNC)
    return b"".join(parts)


def _text(data: bytes) -> bytes:
    return varint(len(data)) + data


def extended_schema(schema_text: str, extra: Sequence[tuple[str, str]]) -> str:
    """The record schema with fields added at its end, where their bytes can simply be appended."""
    definition: dict[str, Any] = json.loads(schema_text)
    definition["fields"] += [{"name": name, "type": kind} for name, kind in extra]
    return json.dumps(definition)


def token(topic: str, schema_id: int, records: Sequence[Record]) -> str:
    """Deduplication token of a block: the same records inserted again carry the same token."""
    ranges: dict[int, tuple[int, int]] = {}
    for record in records:
        first, _ = ranges.get(record.partition, (record.offset, 0))
        ranges[record.partition] = (first, record.offset)
    spans = ";".join(f"{partition}/{first}-{last}" for partition, (first, last) in sorted(ranges.items()))
    return f"{topic}/{spans}#{schema_id}:{len(records)}"
