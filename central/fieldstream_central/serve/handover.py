"""What one shift tells the next, as far as the store knows it: what happened, who did what, which numbers changed.

What is open and what is set aside come from the alarms themselves (alarms/log.py), planned work from its topic.
"""

import asyncio
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from fieldstream_central.serve.api.params import Span
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.store.audit import Completeness, audit_period
from fieldstream_central.store.clickhouse import ClickHouse

_MOST = 500

# Whatever was announced in the shift or still held in it.
_EPISODES = f"""
SELECT concat(e.device_id, '/', e.metric, '/', e.detector) AS alarm_id, e.anomaly_id AS anomaly_id, e.site AS site,
    e.asset_id AS asset_id, e.severity AS severity, e.kind AS kind, e.reason AS reason, e.state != 'close' AS active,
    toUnixTimestamp64Milli(e.started_at) AS started_at,
    if(e.ended_at IS NULL, NULL, toUnixTimestamp64Milli(assumeNotNull(e.ended_at))) AS ended_at,
    a.who AS acknowledged_by, if(a.who = '', NULL, toUnixTimestamp64Milli(a.at)) AS acknowledged_at
FROM fieldstream.anomalies_data AS e FINAL
LEFT JOIN (SELECT anomaly_id, argMin(v.who, v.at) AS who, min(v.at) AS at FROM fieldstream.alarm_events AS v
    WHERE holds AND action = 'acknowledge' GROUP BY anomaly_id) AS a ON a.anomaly_id = e.anomaly_id
WHERE NOT e.shadow AND {{site:String}} IN ('', e.site) AND e.detected_at < {{to:DateTime64(3)}}
    AND (e.state != 'close' OR e.ended_at >= {{from:DateTime64(3)}} OR e.detected_at >= {{from:DateTime64(3)}})
ORDER BY indexOf(['critical', 'warning', 'info'], toString(e.severity)), e.started_at LIMIT {_MOST}
"""  # noqa: S608 - a constant of this module
_DEEDS = f"""
SELECT e.alarm_id AS alarm_id, e.action AS action, e.who AS who,
    if(e.mark = '', e.comment, trimBoth(concat(e.mark, ' ', e.comment))) AS comment,
    toUnixTimestamp64Milli(e.at) AS at,
    if(e.until IS NULL, NULL, toUnixTimestamp64Milli(assumeNotNull(e.until))) AS until
FROM fieldstream.alarm_events AS e
WHERE e.holds AND e.at >= {{from:DateTime64(3)}} AND e.at < {{to:DateTime64(3)}} ORDER BY e.at LIMIT {_MOST}
"""  # noqa: S608
# Windows that were told once and computed anew in the shift, for readings that came too late for the stream.
_CORRECTED = f"""
SELECT device_id, metric, any(asset_id) AS asset_id, count() AS windows,
    toUnixTimestamp64Milli(min(window_start)) AS start, toUnixTimestamp64Milli(max(window_end)) AS end
FROM fieldstream.windows_data FINAL
WHERE origin = 'repair' AND {{site:String}} IN ('', site)
    AND stored_at >= {{from:DateTime64(3)}} AND stored_at < {{to:DateTime64(3)}}
GROUP BY device_id, metric ORDER BY windows DESC LIMIT {_MOST}
"""  # noqa: S608
_LETTERS = """
SELECT reason, count() AS n FROM fieldstream.dead_letters
WHERE received_at >= {from:DateTime64(3)} AND received_at < {to:DateTime64(3)} GROUP BY reason ORDER BY n DESC
"""


@dataclass(frozen=True)
class Happened:
    """One episode of an alarm. Times are epoch milliseconds."""

    alarm_id: str
    anomaly_id: str
    site: str
    asset_id: str
    severity: str
    kind: str
    reason: str
    active: bool
    started_at: int
    ended_at: int | None
    acknowledged_by: str
    acknowledged_at: int | None


@dataclass(frozen=True)
class Deed:
    """What somebody did to an alarm."""

    alarm_id: str
    action: str
    who: str
    comment: str
    at: int
    until: int | None


@dataclass(frozen=True)
class Corrected:
    """A sensor whose windows of 10 s between `start` and `end` were corrected after they had been told."""

    device_id: str
    metric: str
    asset_id: str
    windows: int
    start: int
    end: int


@dataclass(frozen=True)
class Counted:
    """What a gateway accepted in the shift, against what is stored."""

    gateway_id: str
    epoch: int
    accepted: int
    stored: int
    missing: int
    heartbeat: str | None


@dataclass(frozen=True)
class Shift:
    """What the store knows of a shift; of each list at most 500, the worst or the earliest first."""

    happened: list[Happened]
    severities: dict[str, int]
    deeds: list[Deed]
    corrected: list[Corrected]
    dead_letters: dict[str, int]
    gateways: list[Counted]


async def shift(store: StoreReader, clickhouse_url: str, span: Span, *, site: str = "") -> Shift:
    """The shift's facts; without gateways for who sees some sites only. Raises ClickHouseError."""
    params = span.params() | {"site": site}
    happened = [Happened(**row | {"active": bool(row["active"])}) for row in await store.rows(_EPISODES, params)]
    severities: dict[str, int] = {}
    for one in happened:
        severities[one.severity] = severities.get(one.severity, 0) + 1
    audited = [] if store.sites else await asyncio.to_thread(_audit, clickhouse_url, span.start, span.end)
    return Shift(
        happened=happened,
        severities=severities,
        deeds=[Deed(**row) for row in await store.rows(_DEEDS, params)],
        corrected=[Corrected(**row) for row in await store.rows(_CORRECTED, params)],
        dead_letters={row["reason"]: row["n"] for row in await store.rows(_LETTERS, params)},
        gateways=[_counted(one) for one in audited],
    )


def _audit(url: str, start: datetime, end: datetime) -> list[Completeness]:
    with ClickHouse(url, timeout_s=15.0) as clickhouse:
        return audit_period(clickhouse, start, end)


def _counted(one: Completeness) -> Counted:
    known: dict[str, Any] = asdict(one)
    return Counted(**{name: known[name] for name in Counted.__dataclass_fields__})
