"""A Kafka with the alarms' topics, and episodes written as detection writes them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fieldstream_central.alarms.log import AlarmLog
from fieldstream_central.settings import Settings
from fieldstream_schemas.topics import ANOMALIES
from integration.store.rig import Feed, create_topics, running_kafka, schema_cache

SENSOR = {"device_id": "pump-1", "metric": "temperature", "detector": "limit"}


@dataclass
class Plant:
    """Where episodes are written, and the settings by which they are read."""

    settings: Settings
    feed: Feed
    started: dict[str, int] = field(default_factory=dict)  # by anomaly id

    def episode(self, anomaly_id: str, state: str = "open", *, device: str = "pump-1", **changes: Any) -> str:
        """One step of an episode; the alarm's id."""
        now = time.time_ns() // 1_000_000
        row: dict[str, Any] = {
            **SENSOR, "anomaly_id": anomaly_id, "device_id": device, "kind": "limit-high", "severity": "warning",
            "state": state, "started_at": self.started.setdefault(anomaly_id, now), "detected_at": now,
            "evidence_start": now, "evidence_end": now, "ended_at": now if state == "close" else None, "score": 1.0,
            "reason": "above H", "revision": 1, "asset_id": device, "site": "north", "area": "hall-1",
        } | changes  # fmt: skip
        self.feed.send(ANOMALIES, [row])
        return f"{device}/{row['metric']}/{row['detector']}"

    def log(self) -> AlarmLog:
        """One more reader of the alarms, ready."""
        alarms = AlarmLog(self.settings)
        alarms.start()
        assert alarms.ready(60)
        return alarms


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder: Path = tmp_path_factory.mktemp("alarms")
    ids = schema_cache(folder / "schemas")
    with running_kafka(folder / "kafka") as kafka:
        create_topics(kafka)
        yield Plant(
            Settings(kafka=kafka, schema_cache=folder / "schemas", registry=("http://127.0.0.1:1",)), Feed(kafka, ids)
        )
