"""One alarm with all that a person wants to know before acting: its life, its mates, what was similar before."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from fieldstream_central.serve.api.alarms import AlarmOut, alarms_of, shown
from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.api.measurements import store_of
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.store.clickhouse import ClickHouseError

router = APIRouter()

_SIMILAR_SHOWN = 10

_EPISODE = """
SELECT e.detector AS detector, e.detector_version AS detector_version, e.observed AS observed, e.expected AS expected,
    e.expected_low AS expected_low, e.expected_high AS expected_high, e.score AS score, s.unit AS unit,
    s.label AS label, s.low_low AS low_low, s.low AS low, s.high AS high, s.high_high AS high_high
FROM fieldstream.anomalies_data AS e FINAL
LEFT JOIN fieldstream.assets AS s ON s.device_id = e.device_id AND s.metric = e.metric
WHERE e.anomaly_id = {anomaly_id:String}
"""
_STEPS = """
SELECT toUnixTimestamp64Milli(if(s.state = 'close', ifNull(s.ended_at, s.evidence_end), s.evidence_end)) AS at,
    '' AS who, s.state AS action, s.reason AS comment, NULL AS until
FROM fieldstream.anomaly_steps_data AS s FINAL WHERE s.anomaly_id = {anomaly_id:String} ORDER BY s.revision
"""
_DEEDS = """
SELECT toUnixTimestamp64Milli(e.at) AS at, e.who AS who, e.action AS action,
    if(e.mark = '', e.comment, trimBoth(concat(e.mark, ' ', e.comment))) AS comment,
    if(e.until IS NULL, NULL, toUnixTimestamp64Milli(assumeNotNull(e.until))) AS until
FROM fieldstream.alarm_events AS e WHERE holds AND alarm_id = {alarm_id:String} ORDER BY e.revision DESC LIMIT 100
"""
# The same alarm before; then what was of the same kind on the same asset.
_SIMILAR = f"""
SELECT concat(e.device_id, '/', e.metric, '/', e.detector) AS alarm_id, e.anomaly_id AS anomaly_id, e.reason AS reason,
    e.severity AS severity, toUnixTimestamp64Milli(e.started_at) AS started_at,
    if(e.ended_at IS NULL, NULL, toUnixTimestamp64Milli(assumeNotNull(e.ended_at))) AS ended_at,
    d.comments AS comments
FROM fieldstream.anomalies_data AS e FINAL
LEFT JOIN (SELECT v.alarm_id AS alarm_id, arrayFilter(c -> c != '', groupArray(3)(v.comment)) AS comments
    FROM fieldstream.alarm_events AS v WHERE holds GROUP BY v.alarm_id) AS d
    ON d.alarm_id = concat(e.device_id, '/', e.metric, '/', e.detector)
WHERE NOT e.shadow AND e.anomaly_id != {{anomaly_id:String}}
    AND fromUnixTimestamp64Milli({{started_at:Int64}}) > e.started_at
    AND (alarm_id = {{alarm_id:String}} OR (e.asset_id = {{asset_id:String}} AND e.kind = {{kind:String}}))
ORDER BY alarm_id = {{alarm_id:String}} DESC, e.started_at DESC LIMIT {_SIMILAR_SHOWN}
"""  # noqa: S608 - a constant of this module
_MATES = """
SELECT a.device_id AS device_id, a.metric AS metric, a.label AS label, a.unit AS unit, w.mean AS value,
    if(w.n = 0, NULL, (toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(w.at)) / 1000) AS age_s,
    e.severity AS severity, e.alarm_id AS alarm_id
FROM fieldstream.assets AS a
LEFT JOIN (SELECT device_id, metric, argMax(mean, window_start) AS mean, max(window_end) AS at, count() AS n
    FROM fieldstream.windows_data FINAL
    WHERE asset_id = {asset_id:String} AND window_start > now64(3) - INTERVAL 1 HOUR
    GROUP BY device_id, metric) AS w ON w.device_id = a.device_id AND w.metric = a.metric
LEFT JOIN (SELECT device_id, metric, any(severity) AS severity, any(concat(device_id, '/', metric, '/', detector))
        AS alarm_id
    FROM fieldstream.anomalies_data FINAL
    WHERE NOT shadow AND state != 'close' AND asset_id = {asset_id:String} GROUP BY device_id, metric) AS e
    ON e.device_id = a.device_id AND e.metric = a.metric
WHERE a.asset_id = {asset_id:String} AND a.asset_id != '' ORDER BY device_id, metric LIMIT 200
"""


class Episode(BaseModel):
    """What was seen and what was expected, and the sensor's limits."""

    detector: str
    detector_version: str
    observed: float | None
    expected: float | None
    expected_low: float | None
    expected_high: float | None
    score: float
    unit: str | None
    label: str
    low_low: float | None
    low: float | None
    high: float | None
    high_high: float | None


class Moment(BaseModel):
    """Something in an alarm's life. `who` is empty for what detection did: open, update, close."""

    at: int
    who: str
    action: str
    comment: str
    until: int | None


class Similar(BaseModel):
    """An earlier episode, with what people said about that alarm."""

    alarm_id: str
    anomaly_id: str
    reason: str
    severity: str
    started_at: int
    ended_at: int | None
    comments: list[str]


class Mate(BaseModel):
    """A sensor of the same asset: its mean of the newest 10 s, how old that is, and its own alarm if it has one."""

    device_id: str
    metric: str
    label: str
    unit: str | None
    value: float
    age_s: float | None
    severity: str
    alarm_id: str


class Incident(BaseModel):
    """One alarm, for a person. Times are epoch milliseconds. Without the store only `alarm` is known, see `away`."""

    alarm: AlarmOut
    episode: Episode | None = None
    life: list[Moment] = Field(default=[], description="the newest first")
    similar: list[Similar] = []
    mates: list[Mate] = []
    away: str = ""


@router.get("/incidents/{alarm_id:path}", summary="One alarm: its life, its asset mates, similar earlier ones")
async def incident(request: Request, alarm_id: Annotated[str, Path(max_length=600)]) -> Incident:
    """404 when there is no such alarm."""
    found = next((alarm for alarm in alarms_of(request) if alarm.alarm_id == alarm_id), None)
    if found is None:
        raise ApiError(
            404, "Unknown alarm", f"There is no alarm {alarm_id!r}; GET /api/v1/alarms lists them.", "alarm_id"
        )
    alarm = shown(found, time.time_ns() // 1_000_000)
    try:
        return await _told(store_of(request), alarm)
    except ClickHouseError:
        return Incident(
            alarm=alarm, away="ClickHouse does not answer: only what is known of the alarm itself is shown."
        )


async def _told(store: StoreReader, alarm: AlarmOut) -> Incident:
    params: dict[str, object] = {
        "alarm_id": alarm.alarm_id,
        "anomaly_id": alarm.anomaly_id or "",
        "asset_id": alarm.asset_id,
        "kind": alarm.kind,
        "started_at": alarm.started_at or 0,
    }
    episodes = await store.rows(_EPISODE, params)
    life: list[dict[str, Any]] = await store.rows(_STEPS, params) + await store.rows(_DEEDS, params)
    return Incident(
        alarm=alarm,
        episode=Episode(**episodes[0]) if episodes else None,
        life=sorted((Moment(**row) for row in life), key=lambda one: -one.at),
        similar=[Similar(**row) for row in await store.rows(_SIMILAR, params)],
        mates=[Mate(**row) for row in await store.rows(_MATES, params)],
    )
