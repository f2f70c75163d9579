"""The Kafka topics: their schema, key, partitions and retention. The one place that names them."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import fastavro
from fastavro.types import Schema

_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic. `retention_ms` counts from a record's timestamp, which for readings is the event time; -1: for
    ever."""

    name: str
    schema_file: str
    key: str
    partitions: int = 4
    retention_ms: int = 7 * _DAY_MS
    compacted: bool = False

    @property
    def subject(self) -> str:
        """Subject in the schema registry."""
        return f"{self.name}-value"

    @property
    def schema_text(self) -> str:
        """The Avro schema as it stands in the repository, documentation included."""
        return files("fieldstream_schemas").joinpath("avro", self.schema_file).read_text()

    @property
    def personal_fields(self) -> list[str]:
        """Fields that the schema declares as personal."""
        return [item["name"] for item in json.loads(self.schema_text)["fields"] if item.get("personal")]

    @property
    def config(self) -> dict[str, str]:
        """Topic settings for Kafka."""
        if self.compacted:
            return {"cleanup.policy": "compact"}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


READINGS_RAW = Topic(name="readings.raw", schema_file="reading.avsc", key="device_id")
READINGS_CLEAN = Topic(name="readings.clean", schema_file="clean_reading.avsc", key="device_id")
WINDOWS = Topic(name="windows", schema_file="window.avsc", key="device_id/metric/window_start")
ANOMALIES = Topic(name="anomalies", schema_file="anomaly.avsc", key="anomaly_id", retention_ms=30 * _DAY_MS)
# What people did to alarms: kept for a year, because the alarms' state is made from it anew at each start.
ALARMS = Topic(name="alarms", schema_file="alarm_event.avsc", key="alarm_id", retention_ms=365 * _DAY_MS)
DEAD_LETTERS = Topic(name="dead-letters", schema_file="dead_letter.avsc", key="gateway_id", partitions=1)
GATEWAYS = Topic(name="gateways", schema_file="gateway_status.avsc", key="gateway_id", partitions=1)
ASSETS = Topic(name="assets", schema_file="asset.avsc", key="device_id/metric", partitions=1, compacted=True)
FORGET = Topic(name="forget", schema_file="forget.avsc", key="request_id", partitions=1, compacted=True)
MAINTENANCE = Topic(
    name="maintenance", schema_file="maintenance.avsc", key="maintenance_id", partitions=1, compacted=True
)
# Who did what, for ever: its hash chain begins at the first record.
AUDIT_LOG = Topic(name="audit-log", schema_file="audit_entry.avsc", key="who", partitions=1, retention_ms=-1)

TOPICS = {
    topic.name: topic
    for topic in (
        *(READINGS_RAW, READINGS_CLEAN, WINDOWS, ANOMALIES, ALARMS),
        *(DEAD_LETTERS, GATEWAYS, ASSETS, FORGET, MAINTENANCE, AUDIT_LOG),
    )
}


@cache
def parsed_schema(topic: Topic) -> Schema:
    """The topic's schema, parsed for fastavro's schemaless reader and writer."""
    definition: dict[str, Any] = json.loads(topic.schema_text)
    return fastavro.parse_schema(definition)
