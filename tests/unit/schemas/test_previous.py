"""A record of the previous schema is read by this version, and one of this version by the previous one.

`previous/` holds each schema as it was before its last change; whoever changes a schema puts the old one there.
"""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.types import Schema
from fastavro.utils import generate_many
from fieldstream_schemas.topics import TOPICS, Topic, parsed_schema

PREVIOUS = Path(__file__).parent / "previous"
CHANGED = [topic for topic in TOPICS.values() if (PREVIOUS / topic.schema_file).exists()]
RECORDS = 50


def previous(topic: Topic) -> Schema:
    return fastavro.parse_schema(json.loads((PREVIOUS / topic.schema_file).read_text()))


def read(record: Any, writer: Schema, reader: Schema) -> dict[str, Any]:
    body = BytesIO()
    fastavro.schemaless_writer(body, writer, record)
    body.seek(0)
    found = fastavro.schemaless_reader(body, writer, reader)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("topic", CHANGED, ids=[topic.name for topic in CHANGED])
def test_old_and_new_read_each_other(topic: Topic) -> None:
    old, new = previous(topic), parsed_schema(topic)
    for writer, reader in ((old, new), (new, old)):
        for record in generate_many(writer, RECORDS):
            written = read(record, writer, writer)
            found = read(record, writer, reader)
            names = written.keys() & found.keys()
            assert {name: found[name] for name in names} == {name: written[name] for name in names}


def test_every_kept_schema_is_one_of_a_topic() -> None:
    assert {path.name for path in PREVIOUS.iterdir()} == {topic.schema_file for topic in CHANGED}
