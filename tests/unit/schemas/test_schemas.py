"""The schemas themselves: documented, parseable, and equal to what code relies on."""

import json

import pytest
from fieldstream_schemas.quality import Flag, names
from fieldstream_schemas.topics import TOPICS, Topic, parsed_schema


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_every_field_is_documented(topic: Topic) -> None:
    assert parsed_schema(topic)
    definition = json.loads(topic.schema_text)
    assert definition["doc"]
    assert [field["name"] for field in definition["fields"] if len(field.get("doc", "")) < 10] == []


def test_flags_have_readable_names() -> None:
    assert names(Flag.TS_ABSENT | Flag.UNKNOWN_SENSOR) == ["ts-absent", "unknown-sensor"]
    assert names(0) == []
