"""Storing blocks against a ClickHouse that refuses, is silent, or is right."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import fastavro
import pytest
from fieldstream_central.store.blocks import TABLES, Record
from fieldstream_central.store.clickhouse import ClickHouse, RefusedError, UnreachableError
from fieldstream_central.store.inserting import Inserter, StoppedError
from fieldstream_central.store.refused import letter_of
from fieldstream_schemas.registry import SchemaRegistry
from fieldstream_schemas.topics import ASSETS, DEAD_LETTERS, READINGS_CLEAN, WINDOWS, parsed_schema

READING = {
    **{"device_id": "d", "metric": "m", "ts": 0, "value": 1.0, "gateway_id": "g", "epoch": 5, "received_at": 0},
    "processed_at": 0,
}


class FakeClickHouse:
    """Stores what `refuse` lets pass; remembers tokens and rows."""

    def __init__(self, refuse: Callable[[list[dict[str, Any]], int], Exception | None]) -> None:
        self.refuse = refuse
        self.calls = 0
        self.stored: list[dict[str, Any]] = []
        self.tokens: list[str] = []

    def insert(self, statement: str, body: bytes, settings: dict[str, object] | None = None) -> None:
        self.calls += 1
        try:
            rows = [dict(row) for row in cast(Any, fastavro.reader(io.BytesIO(body)))]
        except (EOFError, ValueError, IndexError, struct.error) as error:
            raise RefusedError(1001, f"avro: {error}") from error
        self.tokens.append(str((settings or {}).get("insert_deduplication_token")))
        if (error_here := self.refuse(rows, self.calls)) is not None:
            raise error_here
        self.stored += rows


def value(seq: int, schema_id: int = 1) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, parsed_schema(READINGS_CLEAN), READING | {"seq": seq})
    return struct.pack(">BI", 0, schema_id) + buffer.getvalue()


def records(*values: bytes | None) -> list[Record]:
    return [Record(0, offset, 1000 + offset, b"d/m", body) for offset, body in enumerate(values)]


@pytest.fixture
def registry(tmp_path: Path) -> SchemaRegistry:
    (tmp_path / "1.avsc").write_text(READINGS_CLEAN.schema_text)
    (tmp_path / "2.avsc").write_text(ASSETS.schema_text)
    return SchemaRegistry(["http://127.0.0.1:9"], tmp_path, timeout_s=0.1)


def inserter(clickhouse: FakeClickHouse, registry: SchemaRegistry, tries: int = 50) -> Inserter:
    left = [tries]

    def wait(_seconds: float) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError

    return Inserter(cast(ClickHouse, clickhouse), registry, wait)


TABLE = TABLES["readings.clean"]


def test_a_whole_block_is_one_insert(registry: SchemaRegistry) -> None:
    clickhouse = FakeClickHouse(lambda rows, call: None)
    assert inserter(clickhouse, registry).store(TABLE, records(*map(value, range(100)))) == []
    assert clickhouse.calls == 1
    assert [row["seq"] for row in clickhouse.stored] == list(range(100))


@pytest.mark.parametrize("bad", [0, 1, 49, 98, 99])
def test_the_one_bad_record_is_found_and_all_others_are_stored(registry: SchemaRegistry, bad: int) -> None:
    clickhouse = FakeClickHouse(
        lambda rows, call: RefusedError(53, "no") if any(row["seq"] == bad for row in rows) else None
    )
    (refusal,) = inserter(clickhouse, registry).store(TABLE, records(*map(value, range(100))))
    assert refusal.record.offset == bad
    assert refusal.reason == "insert-failed"
    assert sorted(row["seq"] for row in clickhouse.stored) == [seq for seq in range(100) if seq != bad]
    letter = letter_of(refusal, 0)
    assert (letter["gateway_id"], letter["epoch"], letter["seq"]) == ("g", 5, bad)
    assert letter["source"] == f"readings.clean/0/{bad}"


def test_undecodable_bytes_are_told_from_a_refused_row(registry: SchemaRegistry) -> None:
    clickhouse = FakeClickHouse(lambda rows, call: None)
    refusals = inserter(clickhouse, registry).store(TABLE, records(value(1), value(2)[:-8], value(3), b"junk"))
    assert sorted((refusal.record.offset, refusal.reason) for refusal in refusals) == [
        (1, "undecodable"),
        (3, "undecodable"),
    ]
    assert [row["seq"] for row in clickhouse.stored] == [1, 3]


def test_silence_is_waited_out_with_the_same_token(registry: SchemaRegistry) -> None:
    clickhouse = FakeClickHouse(lambda rows, call: UnreachableError("away") if call < 6 else None)
    assert inserter(clickhouse, registry).store(TABLE, records(value(1), value(2))) == []
    assert clickhouse.calls == 6
    assert len(set(clickhouse.tokens)) == 1


@pytest.mark.parametrize("code", [241, 252, 60, 243, 202])
def test_no_record_is_given_up_for_lack_of_memory_disk_or_schema(registry: SchemaRegistry, code: int) -> None:
    clickhouse = FakeClickHouse(lambda rows, call: RefusedError(code, "not now"))
    with pytest.raises(StoppedError):
        inserter(clickhouse, registry, tries=20).store(TABLE, records(value(1), value(2)))
    assert clickhouse.stored == []


def test_an_unknown_refusal_is_blamed_on_a_record_only_if_an_empty_block_is_accepted(registry: SchemaRegistry) -> None:
    clickhouse = FakeClickHouse(
        lambda rows, call: RefusedError(999, "?") if any(row["seq"] == 3 for row in rows) else None
    )
    (refusal,) = inserter(clickhouse, registry).store(TABLE, records(*map(value, range(5))))
    assert refusal.record.offset == 3
    assert sorted(row["seq"] for row in clickhouse.stored) == [0, 1, 2, 4]


def test_an_unknown_schema_is_named_and_the_others_are_stored(tmp_path: Path, registry: SchemaRegistry) -> None:
    class Knowing(SchemaRegistry):
        def schema_text(self, schema_id: int) -> str:
            from fieldstream_schemas.registry import SchemaUnknownError

            if schema_id == 77:
                raise SchemaUnknownError("no")
            return registry.schema_text(schema_id)

    clickhouse = FakeClickHouse(lambda rows, call: None)
    known = Knowing([], tmp_path)
    (refusal,) = inserter(clickhouse, known).store(TABLE, records(value(1), value(2, schema_id=77), value(3)))
    assert (refusal.record.offset, refusal.reason) == (1, "unknown-schema")
    assert [row["seq"] for row in clickhouse.stored] == [1, 3]


def test_a_registry_that_is_away_is_waited_for(tmp_path: Path) -> None:
    clickhouse = FakeClickHouse(lambda rows, call: None)
    registry = SchemaRegistry(["http://127.0.0.1:9"], tmp_path / "empty", timeout_s=0.1)
    with pytest.raises(StoppedError):
        inserter(clickhouse, registry, tries=2).store(TABLE, records(value(1)))


def test_a_removed_sensor_is_a_row_that_says_so(registry: SchemaRegistry) -> None:
    clickhouse = FakeClickHouse(lambda rows, call: None)
    assert inserter(clickhouse, registry).store(TABLES["assets"], records(None)) == []
    (row,) = clickhouse.stored
    assert (row["device_id"], row["metric"], row["removed"], row["kafka_ts"]) == ("d", "m", 1, 1000)


def test_a_null_window_is_passed_over_and_a_null_reading_is_a_dead_letter(registry: SchemaRegistry) -> None:
    clickhouse = FakeClickHouse(lambda rows, call: None)
    assert inserter(clickhouse, registry).store(TABLES[WINDOWS.name], records(None)) == []
    (refusal,) = inserter(clickhouse, registry).store(TABLE, records(None))
    assert refusal.reason == "undecodable"


def test_a_dead_letter_of_the_loader_that_fails_again_is_marked() -> None:
    from fieldstream_central.store.inserting import Refusal

    first = letter_of(Refusal("readings.clean", Record(0, 1, 5, None, b"x"), "undecodable", "bad"), 9)
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, parsed_schema(DEAD_LETTERS), first)
    framed = struct.pack(">BI", 0, 3) + buffer.getvalue()
    again = Refusal("dead-letters", Record(0, 2, 5, None, framed), "insert-failed", "bad", DEAD_LETTERS.schema_text)
    assert letter_of(again, 9)["detail"].startswith("Again: ")
