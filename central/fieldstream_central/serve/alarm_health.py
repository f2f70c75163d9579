"""How well the alarm system itself does, after EEMUA 191 (3rd edition) and ANSI/ISA-18.2 (clause 16).

An alarm counts each time it is announced: when its episode opens, and again when it re-opens. Shadow detectors announce
nothing. Times are event times.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from fieldstream_central.serve.api.params import Span
from fieldstream_central.serve.store import StoreReader

BUCKET_MS = 600_000
# ISA-18.2: a flood begins with more than 10 alarms in 10 minutes for one operator and ends below 5.
FLOOD_BEGINS, FLOOD_ENDS = 10, 5
# ISA-18.2: three times within a minute is chattering. An alarm that stands for a day is stale.
CHATTERS, STALE_H = 3, 24.0
_TOP = 10
_MOST = 100

# What EEMUA 191 says of a lasting average per operator and 10 minutes.
Load = Literal["acceptable", "manageable", "over-demanding", "unacceptable"]
_LOADS: tuple[tuple[float, Load], ...] = ((1.0, "acceptable"), (2.0, "manageable"), (10.0, "over-demanding"))

ANNOUNCED = """
(SELECT concat(device_id, '/', metric, '/', detector) AS alarm_id, anomaly_id, asset_id, severity, reason, site,
    detected_at AS at
 FROM fieldstream.anomalies_data FINAL
 WHERE NOT shadow AND detected_at >= {from:DateTime64(3)} AND detected_at < {to:DateTime64(3)}
 UNION ALL
 SELECT concat(device_id, '/', metric, '/', detector) AS alarm_id, anomaly_id, asset_id, severity, reason, site,
    evidence_end AS at
 FROM fieldstream.anomaly_steps_data FINAL
 WHERE NOT shadow AND state = 'open' AND revision > 1
    AND evidence_end >= {from:DateTime64(3)} AND evidence_end < {to:DateTime64(3)})
"""
_BUCKETS = f"""
SELECT intDiv(toUnixTimestamp64Milli(at), {BUCKET_MS}) * {BUCKET_MS} AS start, count() AS alarms FROM {ANNOUNCED}
WHERE {{site:String}} IN ('', site) GROUP BY start ORDER BY start
"""  # noqa: S608 - constants of this module
_TOP_TEN = f"""
SELECT alarm_id, any(asset_id) AS asset_id, argMax(reason, at) AS reason, count() AS alarms FROM {ANNOUNCED}
WHERE {{site:String}} IN ('', site) GROUP BY alarm_id ORDER BY alarms DESC, alarm_id LIMIT {_TOP}
"""  # noqa: S608
_SEVERITIES = f"""
SELECT severity, count() AS alarms FROM {ANNOUNCED} WHERE {{site:String}} IN ('', site) GROUP BY severity
"""  # noqa: S608
_CHATTERING = f"""
SELECT alarm_id, any(asset_id) AS asset_id, max(in_minute) AS most_in_a_minute, count() AS alarms FROM
(SELECT alarm_id, asset_id, count() OVER (PARTITION BY alarm_id ORDER BY toUnixTimestamp64Milli(at)
    RANGE BETWEEN 60000 PRECEDING AND CURRENT ROW) AS in_minute FROM {ANNOUNCED} WHERE {{site:String}} IN ('', site))
GROUP BY alarm_id HAVING most_in_a_minute >= {CHATTERS} ORDER BY alarms DESC LIMIT {_MOST}
"""  # noqa: S608
_STANDING = """
SELECT concat(device_id, '/', metric, '/', detector) AS alarm_id, asset_id, severity, reason,
    toUnixTimestamp64Milli(e.started_at) AS started_at,
    (toUnixTimestamp64Milli({to:DateTime64(3)}) - toUnixTimestamp64Milli(e.started_at)) / 3600000 AS hours
FROM fieldstream.anomalies_data AS e FINAL
WHERE NOT shadow AND {site:String} IN ('', site) AND e.started_at < {to:DateTime64(3)}
    AND (state != 'close' OR e.ended_at > {to:DateTime64(3)})
ORDER BY e.started_at LIMIT 1000
"""
_ANSWERS = """
SELECT count() AS episodes, countIf(answered > 0) AS acknowledged,
    quantileExactIf(0.5)((answered - detected) / 1000, answered > 0) AS median_s FROM
(SELECT toUnixTimestamp64Milli(e.detected_at) AS detected, toUnixTimestamp64Milli(a.at) AS answered
 FROM (SELECT anomaly_id, detected_at FROM fieldstream.anomalies_data FINAL
    WHERE NOT shadow AND {site:String} IN ('', site)
        AND detected_at >= {from:DateTime64(3)} AND detected_at < {to:DateTime64(3)}) AS e
 LEFT JOIN (SELECT anomaly_id, min(v.at) AS at FROM fieldstream.alarm_events AS v
    WHERE holds AND action = 'acknowledge' GROUP BY anomaly_id) AS a ON a.anomaly_id = e.anomaly_id)
"""


@dataclass(frozen=True)
class Bucket:
    """Alarms within ten minutes; `start`: epoch milliseconds."""

    start: int
    alarms: int


@dataclass(frozen=True)
class Flood:
    """A time in which nobody could read what was announced. `alarms`: in all, `peak`: in its worst bucket."""

    start: int
    end: int
    alarms: int
    peak: int


@dataclass(frozen=True)
class Frequent:
    """An alarm that is announced often; `share_percent`: of all in the range."""

    alarm_id: str
    asset_id: str
    reason: str
    alarms: int
    share_percent: float


@dataclass(frozen=True)
class Chattering:
    """An alarm that comes and goes."""

    alarm_id: str
    asset_id: str
    alarms: int
    most_in_a_minute: int


@dataclass(frozen=True)
class Standing:
    """An alarm whose condition held at the end of the range. `stale`: for more than a day."""

    alarm_id: str
    asset_id: str
    severity: str
    reason: str
    started_at: int
    hours: float
    stale: bool


@dataclass(frozen=True)
class AlarmHealth:
    """The figures of a range. Averages and the load are per operator and 10 minutes; lists are the worst first."""

    start: int
    end: int
    operators: int
    alarms: int
    average: float
    peak: int
    load: Load
    flood_percent: float
    floods: list[Flood]
    buckets: list[Bucket]
    top: list[Frequent]
    top_share_percent: float
    chattering: list[Chattering]
    standing: list[Standing]
    stale: int
    severities: dict[str, int]
    acknowledged_percent: float | None
    acknowledge_median_s: float | None


async def alarm_health(store: StoreReader, span: Span, *, operators: int = 1, site: str = "") -> AlarmHealth:
    """The figures of a range, for so many operators on shift. Raises ClickHouseError."""
    params = span.params() | {"site": site}
    buckets = [Bucket(**row) for row in await store.rows(_BUCKETS, params)]
    alarms = sum(bucket.alarms for bucket in buckets)
    top = [
        Frequent(**row, share_percent=round(100 * row["alarms"] / alarms, 1))
        for row in await store.rows(_TOP_TEN, params)
    ]
    standing = [Standing(**row, stale=row["hours"] > STALE_H) for row in await store.rows(_STANDING, params)]
    (answers,) = await store.rows(_ANSWERS, params)
    periods = max(span.seconds * 1000 / BUCKET_MS, 1.0)
    average = alarms / periods / operators
    floods = find_floods(buckets, operators)
    return AlarmHealth(
        start=_ms(span.start),
        end=_ms(span.end),
        operators=operators,
        alarms=alarms,
        average=round(average, 3),
        peak=max((bucket.alarms for bucket in buckets), default=0),
        load=load_of(average),
        flood_percent=round(min(100.0, 100 * sum((one.end - one.start) / BUCKET_MS for one in floods) / periods), 2),
        floods=floods,
        buckets=buckets,
        top=top,
        top_share_percent=round(sum(one.share_percent for one in top), 1),
        chattering=[Chattering(**row) for row in await store.rows(_CHATTERING, params)],
        standing=standing,
        stale=sum(one.stale for one in standing),
        severities={row["severity"]: row["alarms"] for row in await store.rows(_SEVERITIES, params)},
        **_answered(answers),
    )


def load_of(average: float) -> Load:
    """What EEMUA 191 says of an average per operator and 10 minutes."""
    return next((load for most, load in _LOADS if average <= most), "unacceptable")


def find_floods(buckets: Iterable[Bucket], operators: int = 1) -> list[Flood]:
    """Floods in buckets of ten minutes in order of time; a bucket that is not there had no alarm."""
    found: list[Flood] = []
    begun: list[Bucket] = []
    for bucket in buckets:
        quiet = begun and (bucket.start > begun[-1].start + BUCKET_MS or bucket.alarms < FLOOD_ENDS * operators)
        if quiet:
            found.append(_flood(begun))
            begun = []
        if begun or bucket.alarms > FLOOD_BEGINS * operators:
            begun.append(bucket)
    return [*found, _flood(begun)] if begun else found


def _flood(buckets: list[Bucket]) -> Flood:
    counts = [bucket.alarms for bucket in buckets]
    return Flood(buckets[0].start, buckets[-1].start + BUCKET_MS, sum(counts), max(counts))


def _answered(row: Mapping[str, Any]) -> dict[str, float | None]:
    if not row["episodes"]:
        return {"acknowledged_percent": None, "acknowledge_median_s": None}
    median = row["median_s"] if row["acknowledged"] else None
    return {
        "acknowledged_percent": round(100 * row["acknowledged"] / row["episodes"], 1),
        "acknowledge_median_s": median,
    }


def _ms(moment: datetime) -> int:
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
