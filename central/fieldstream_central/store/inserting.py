"""Stores blocks of records: waits while ClickHouse is away, finds the record that spoils a block.

A block that ClickHouse refuses for its content is halved until the record at fault stands alone; that one
is handed back as refused, its neighbours are stored. Any other refusal (no memory, no disk, too many
parts, schema not there yet) and silence are waited out: no record is given up for them.
"""

import io
import json
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import fastavro
from fieldstream_schemas.registry import FRAME_BYTES, RegistryError, SchemaRegistry, SchemaUnknownError, schema_id_of
from fieldstream_schemas.topics import WINDOWS

from fieldstream_central.store.blocks import Record, Table, container, extended_schema, token, varint
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError, RefusedError

log = logging.getLogger("fieldstream.loader")

# Refusals that speak of the bytes: parsing, conversion, avro's own exceptions (1001), constraints, NULL in a column.
_ABOUT_CONTENT = frozenset({6, 8, 16, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131, 321, 349, 407, 469, 1001})
_BACKOFF_S = (0.2, 5.0)
# An unknown refusal is taken to be about a record only after so many tries, and if an empty block is accepted.
_TRIES_BEFORE_BLAME = 4

_SETTINGS: dict[str, object] = {
    # A retry whose first try was stored but not confirmed must still reach the dependent views.
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "insert_deduplicate": 1,
    "input_format_avro_allow_missing_fields": 1,
    "input_format_null_as_default": 1,
    "max_partitions_per_insert_block": 0,
    "max_execution_time": 120,
}


class StoppedError(Exception):
    """The loader is to stop while a block waits for ClickHouse; the block is not stored and not committed."""


@dataclass(frozen=True)
class Refusal:
    """A record that cannot be stored, with the reason code and detail of its dead letter."""

    topic: str
    record: Record
    reason: str
    detail: str
    schema_text: str | None = None


class Inserter:
    """Stores the records of one topic at a time.

    `wait(seconds)` is called between tries; it keeps the caller alive towards Kafka and raises
    StoppedError to give up. `on_retry` is called once per repeated try.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        registry: SchemaRegistry,
        wait: Callable[[float], None],
        on_retry: Callable[[], None] = lambda: None,
    ) -> None:
        self._clickhouse = clickhouse
        self._registry = registry
        self._wait = wait
        self._on_retry = on_retry

    def store(self, table: Table, records: Sequence[Record]) -> list[Refusal]:
        """Stores all records but those returned. Raises StoppedError."""
        refusals: list[Refusal] = []
        by_schema: dict[int, list[Record]] = {}
        for record in records:
            if record.value is None:
                if table.removable:
                    by_schema.setdefault(-1, []).append(record)
                elif table.topic is not WINDOWS:  # an upsert stream may say "gone"; a window never is
                    refusals.append(Refusal(table.topic.name, record, "undecodable", "The record has no value."))
                continue
            try:
                by_schema.setdefault(schema_id_of(record.value), []).append(record)
            except ValueError as error:
                refusals.append(Refusal(table.topic.name, record, "undecodable", f"The record is {error}."))
        for schema_id, group in by_schema.items():
            refusals += self._store_group(table, schema_id, group)
        return refusals

    def _store_group(self, table: Table, schema_id: int, records: list[Record]) -> list[Refusal]:
        try:
            schema_text = table.topic.schema_text if schema_id < 0 else self._schema(schema_id)
        except SchemaUnknownError:
            detail = f"The registry knows no schema {schema_id}. Register it, then replay."
            return [Refusal(table.topic.name, record, "unknown-schema", detail) for record in records]
        refusals: list[Refusal] = []
        pending = [records]
        while pending:
            part = pending.pop()
            refusal = self._insert(table, schema_id, schema_text, part)
            if refusal is None:
                continue
            if len(part) == 1:
                reason = "undecodable" if refusal.code == 1001 else "insert-failed"
                refusals.append(Refusal(table.topic.name, part[0], reason, str(refusal)[:2000], schema_text))
                continue
            middle = len(part) // 2
            pending += [part[middle:], part[:middle]]
        return refusals

    def _schema(self, schema_id: int) -> str:
        for delay in self._delays():
            try:
                return self._registry.schema_text(schema_id)
            except SchemaUnknownError:
                raise
            except RegistryError as error:
                log.warning("schema %d cannot be had, waiting: %s", schema_id, error)
                self._wait(delay)
        raise AssertionError("the delays never end")

    def _insert(self, table: Table, schema_id: int, schema_text: str, records: Sequence[Record]) -> RefusedError | None:
        """Stores a block. The refusal when it is about what the block contains; waits otherwise."""
        body = _block(table, schema_text, records)
        settings = _SETTINGS | {"insert_deduplication_token": token(table.topic.name, schema_id, records)}
        for number, delay in enumerate(self._delays(), 1):
            try:
                self._clickhouse.insert(table.insert, body, settings)
            except ClickHouseError as error:
                if isinstance(error, RefusedError) and self._blames_content(table, schema_text, error, number):
                    return error
                if number == 1:
                    log.warning("%d records of %s wait: %s", len(records), table.topic.name, str(error)[:500])
                self._on_retry()
                self._wait(delay)
            else:
                if number > 1:
                    log.info("%d records of %s stored at try %d", len(records), table.topic.name, number)
                return None
        raise AssertionError("the delays never end")

    def _blames_content(self, table: Table, schema_text: str, error: RefusedError, number: int) -> bool:
        if error.code in _ABOUT_CONTENT:
            return True
        if number < _TRIES_BEFORE_BLAME:
            return False
        try:
            self._clickhouse.insert(table.insert, _block(table, schema_text, []))
        except ClickHouseError:
            return False
        return True

    @staticmethod
    def _delays() -> Iterator[float]:
        delay, longest = _BACKOFF_S
        while True:
            yield delay * random.uniform(0.8, 1.2)  # noqa: S311 - to spread retries, not for secrets
            delay = min(delay * 2, longest)


def _block(table: Table, schema_text: str, records: Sequence[Record]) -> bytes:
    if not table.extra:
        return container(schema_text, [record.value[FRAME_BYTES:] for record in records if record.value is not None])
    payloads = []
    for record in records:
        payload = _tombstone(schema_text, record) if record.value is None else record.value[FRAME_BYTES:]
        known = {
            "kafka_ts": max(record.timestamp_ms, 0),
            "kafka_offset": record.offset,
            "removed": record.value is None,
        }
        payloads.append(payload + b"".join(varint(known[name]) for name, _ in table.extra))
    return container(extended_schema(schema_text, table.extra), payloads)


def _tombstone(schema_text: str, record: Record) -> bytes:
    """A removed sensor as a record: its key, and empty fields."""
    device_id, _, metric = (record.key or b"").decode(errors="replace").partition("/")
    row: dict[str, object] = {"device_id": device_id, "metric": metric, "updated_at": max(record.timestamp_ms, 0)}
    definition = json.loads(schema_text)
    for item in definition["fields"]:
        if item["name"] not in row and item["type"] == "string":
            row[item["name"]] = ""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(definition), row)
    return buffer.getvalue()
