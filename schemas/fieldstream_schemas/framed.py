"""Records in Confluent wire format to dictionaries and back, in Python. For what is rare; readings never pass here."""

import json
from datetime import datetime
from io import BytesIO
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.types import Schema

from fieldstream_schemas.registry import FRAME_BYTES, SchemaRegistry, frame_header, schema_id_of
from fieldstream_schemas.topics import Topic, parsed_schema


class RecordReader:
    """Reads a topic's records by the schema that each was written with, into the topic's present schema."""

    def __init__(self, registry: SchemaRegistry, topic: Topic) -> None:
        self._registry = registry
        self._reader = parsed_schema(topic)
        self._writers: dict[int, Schema] = {}

    def read(self, value: bytes) -> dict[str, Any]:
        """The record; times are epoch milliseconds.

        Raises ValueError, EOFError, IndexError or KeyError for bytes that are no such record, RegistryError when its
        schema is not known.
        """
        schema_id = schema_id_of(value)
        if schema_id not in self._writers:
            self._writers[schema_id] = fastavro.parse_schema(json.loads(self._registry.schema_text(schema_id)))
        body = BytesIO(value)
        body.seek(FRAME_BYTES)
        try:
            record: Any = fastavro.schemaless_reader(body, self._writers[schema_id], self._reader)
        except (SchemaResolutionError, OverflowError) as error:  # of another topic; or a length beyond all memory
            raise ValueError(f"no record that fits the schema of its topic: {type(error).__name__}") from error
        return {name: _epoch_ms(item) if isinstance(item, datetime) else item for name, item in record.items()}


def framed(registry: SchemaRegistry, topic: Topic, record: dict[str, Any]) -> bytes:
    """A record with its header. Raises RegistryError when the schema's id is not known."""
    body = BytesIO()
    fastavro.schemaless_writer(body, parsed_schema(topic), record)
    return frame_header(registry.id_of(topic)) + body.getvalue()


def _epoch_ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
