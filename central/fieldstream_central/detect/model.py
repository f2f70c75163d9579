"""What goes in and out of detection: window rows and steps of anomaly episodes, field for field as in Avro."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


def _ms(value: Any) -> int:
    """Epoch milliseconds of what fastavro or Flink hand over for a timestamp."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return int(value)


@dataclass(slots=True)
class Window:
    """Statistics of one sensor over [window_start, window_end); see window.avsc. Times in epoch milliseconds."""

    device_id: str
    metric: str
    window_start: int
    window_end: int
    count: int
    mean: float
    stddev: float
    min: float
    max: float
    first: float
    last: float
    first_ts: int
    last_ts: int
    site: str = ""
    area: str = ""
    asset_id: str = ""
    asset_type: str = ""
    unit: str | None = None
    low_low: float | None = None
    low: float | None = None
    high: float | None = None
    high_high: float | None = None
    revision: int = 1

    def to_record(self) -> dict[str, Any]:
        """Record for fastavro."""
        return {name: getattr(self, name) for name in _WINDOW_FIELDS}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Window":
        """Window from a record of fastavro or a row of ClickHouse."""
        values = {name: record[name] for name in _WINDOW_FIELDS if name in record}
        for name in ("window_start", "window_end", "first_ts", "last_ts"):
            values[name] = _ms(values[name])
        return cls(**values)


@dataclass(slots=True, kw_only=True)
class Anomaly:
    """One step in the life of an episode; see anomaly.avsc. Times in epoch milliseconds."""

    anomaly_id: str
    device_id: str
    metric: str
    site: str = ""
    area: str = ""
    asset_id: str = ""
    asset_type: str = ""
    detector: str
    detector_version: str = "1"
    kind: str
    severity: str
    state: str
    started_at: int
    detected_at: int
    ended_at: int | None = None
    observed: float | None = None
    expected: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    score: float = 1.0
    reason: str
    evidence_start: int
    evidence_end: int
    members: list[str] = field(default_factory=list)
    shadow: bool = False
    revision: int

    def to_record(self) -> dict[str, Any]:
        """Record for fastavro."""
        return {name: getattr(self, name) for name in _ANOMALY_FIELDS}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Anomaly":
        """Anomaly from a record of fastavro or a row of ClickHouse."""
        values = {name: record[name] for name in _ANOMALY_FIELDS if name in record}
        for name in ("started_at", "detected_at", "evidence_start", "evidence_end"):
            values[name] = _ms(values[name])
        if values.get("ended_at") is not None:
            values["ended_at"] = _ms(values["ended_at"])
        return cls(**values)


_WINDOW_FIELDS = tuple(Window.__slots__)
_ANOMALY_FIELDS = tuple(Anomaly.__slots__)


@dataclass(slots=True)
class Finding:
    """What one detector says about one series right now: the condition holds.

    `started_at` is the event time of the first reading known to show it. `score` runs from 0 to 1.
    """

    kind: str
    reason: str
    started_at: int
    severity: str = "warning"
    observed: float | None = None
    expected: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    score: float = 1.0
    over_at: int | None = None  # set when the condition came and went: the episode closes at once
