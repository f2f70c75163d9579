"""What the API answers with, field by field; a test holds real answers against these."""

from datetime import datetime
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")


class Row(BaseModel):
    """Unknown fields are an error, so that the documentation cannot fall behind."""

    model_config = ConfigDict(extra="forbid")


class Page(Row, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(description="give it as `cursor` for the next page; null on the last")


class Reading(Row):
    """One reading."""

    device_id: str
    metric: str
    ts: datetime = Field(description="event time")
    value: float
    unit: str | None
    quality: Literal["good", "uncertain", "bad"]
    flags: int = Field(description="sum of bits; flag_names says which")
    flag_names: list[str]
    gateway_id: str
    epoch: int
    seq: int
    received_at: datetime
    site: str
    area: str
    asset_id: str
    asset_type: str
    operator_pseudonym: str | None
    processed_at: datetime
    lateness_ms: int | None
    stored_at: datetime


class Window(Row):
    """Statistics of one sensor over [window_start, window_end)."""

    device_id: str
    metric: str
    window_start: datetime
    window_end: datetime
    site: str
    area: str
    asset_id: str
    asset_type: str
    unit: str | None
    count: int
    mean: float
    stddev: float
    min: float
    max: float
    first: float
    last: float
    first_ts: datetime
    last_ts: datetime
    low_low: float | None
    low: float | None
    high: float | None
    high_high: float | None
    revision: int = Field(description="number of readings it was computed from")
    origin: Literal["stream", "repair"]
    stored_at: datetime


class Point(Row):
    """A bucket of a series: the extremes are kept, however wide it is."""

    ts: datetime = Field(description="start of the bucket")
    mean: float
    min: float
    max: float
    count: int


class Series(Row):
    """At most as many points as asked for."""

    device_id: str
    metric: str
    source: str = Field(description="table that the points were taken from")
    resolution_s: float = Field(description="width of a bucket, seconds; 0: single readings")
    points: list[Point]


class Anomaly(Row):
    """One episode at its latest step, or one step of it."""

    anomaly_id: str
    device_id: str
    metric: str
    site: str
    area: str
    asset_id: str
    asset_type: str
    detector: str
    detector_version: str
    kind: str
    severity: Literal["info", "warning", "critical"]
    state: Literal["open", "update", "close"]
    started_at: datetime
    detected_at: datetime
    ended_at: datetime | None
    observed: float | None
    expected: float | None
    expected_low: float | None
    expected_high: float | None
    score: float
    reason: str
    evidence_start: datetime
    evidence_end: datetime
    members: list[str]
    shadow: bool
    revision: int
    stored_at: datetime


class Sensor(Row):
    """One sensor of the asset registry."""

    device_id: str
    metric: str
    site: str
    area: str
    asset_id: str
    asset_type: str
    label: str
    unit: str | None
    low_low: float | None
    low: float | None
    high: float | None
    high_high: float | None
    period_ms: int | None
    updated_at: datetime
    stored_at: datetime


class SeqGap(Row):
    """Entries that a gateway accepted and that will never arrive; both ends inclusive."""

    first: int
    last: int
    reason: str = Field(description="full or age: dropped by the gateway's policy; damaged: unreadable on its disk")


class Gateway(Row):
    """A gateway's newest heartbeat."""

    gateway_id: str
    epoch: int
    ts: datetime
    age_s: float = Field(description="age of the heartbeat, seconds")
    state: str
    version: str
    config_hash: str
    started_at: datetime
    last_seq: int
    last_sent_seq: int
    spool_readings: int
    spool_bytes: int
    spool_oldest_age_s: float
    spool_hours_left: float | None
    accepted_total: int
    dead_letters_total: int
    duplicates_total: int
    counts: dict[str, int]
    gaps: list[SeqGap] = Field(description="what will never arrive: known gaps, not losses on the way")
    clock_offset_ms: float | None
    certificate_expires_at: datetime | None
    disk_free_bytes: int
    memory_bytes: int
    stored_at: datetime


class DeadLetter(Row):
    """What could not be accepted."""

    letter_id: str
    reason: str
    detail: str
    origin: str
    source: str
    payload_size: int
    payload_text: str = Field(description="the first 200 characters, bytes that are no text replaced")
    payload_base64: str = Field(description="the original bytes, cut at 64 KiB")
    device_id: str | None
    metric: str | None
    gateway_id: str
    epoch: int | None
    seq: int | None
    received_at: datetime
    stored_at: datetime


class GatewayCompleteness(Row):
    """What one gateway accepted in one epoch against what arrived."""

    gateway_id: str
    epoch: int
    accepted: int
    stored: int
    dead_lettered: int
    missing: int
    duplicates: int
    underway: int
    checked_until: int
    heartbeat: datetime | None
    state: str
    missing_ranges: list[tuple[int, int]]
    complete: bool


class Health(Row):
    """Whether the API can answer."""

    status: Literal["ok", "degraded"]
    clickhouse: str
    newest_reading_age_s: float | None = Field(description="since the newest reading was stored, seconds")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
