"""Kafka values to an Avro file that any Avro reader reads."""

import io
import json

import fastavro
import pytest
from fieldstream_central.store.blocks import TABLES, Record, container, extended_schema, token, varint
from hypothesis import given
from hypothesis import strategies as st

SCHEMA = {
    "type": "record",
    "name": "R",
    "fields": [{"name": "text", "type": "string"}, {"name": "n", "type": ["null", "long"], "default": None}],
}


def encode(row: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(SCHEMA), row)
    return buffer.getvalue()


rows = st.lists(
    st.fixed_dictionaries({"text": st.text(max_size=3000), "n": st.none() | st.integers(-(2**62), 2**62)}), max_size=8
)


@given(rows)
def test_the_file_holds_exactly_the_records(given_rows: list[dict[str, object]]) -> None:
    data = container(json.dumps(SCHEMA), [encode(row) for row in given_rows])
    assert list(fastavro.reader(io.BytesIO(data))) == given_rows


@given(rows)
def test_fields_can_be_appended_without_decoding(given_rows: list[dict[str, object]]) -> None:
    extra = (("kafka_ts", "long"), ("removed", "int"))
    payloads = [encode(row) + varint(1_780_000_000_000) + varint(1) for row in given_rows]
    data = container(extended_schema(json.dumps(SCHEMA), extra), payloads)
    wanted = [row | {"kafka_ts": 1_780_000_000_000, "removed": 1} for row in given_rows]
    assert list(fastavro.reader(io.BytesIO(data))) == wanted


@pytest.mark.parametrize("name", TABLES)
def test_each_table_takes_every_field_of_its_topic(name: str) -> None:
    table = TABLES[name]
    fields = [field["name"] for field in json.loads(table.topic.schema_text)["fields"]]
    assert list(table.columns[: len(fields)]) == fields


def record(partition: int, offset: int) -> Record:
    return Record(partition, offset, 0, None, b"")


def test_the_token_names_topic_partitions_and_ranges() -> None:
    block = [record(1, 7), record(0, 3), record(1, 8), record(0, 4)]
    assert token("readings.clean", 5, block) == "readings.clean/0/3-4;1/7-8#5:4"


def test_different_blocks_have_different_tokens() -> None:
    block = [record(0, offset) for offset in range(8)]
    parts = [block, block[:4], block[4:], block[:1], [*block[:3], block[7]]]
    assert len({token("t", 1, part) for part in parts}) == len(parts)
    assert token("t", 1, block) != token("t", 2, block)
