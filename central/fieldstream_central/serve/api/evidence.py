"""What the trust sign rests on: corrected windows, stretches without trust, and the gateways on the way."""

import asyncio
from typing import Any

from pydantic import Field

from fieldstream_central.serve.api.models import Row
from fieldstream_central.serve.api.params import Span
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.store.audit import audit_period
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.corrections import corrections

SHOWN = 20

SENSOR = """device_id = {device_id:String} AND metric = {metric:String}
    AND ts >= {from:DateTime64(3)} AND ts < {to:DateTime64(3)}"""


class Stretch(Row):
    """A span of time [start, end]."""

    start: str
    end: str
    seconds: float


class Correction(Row):
    """One window as it was told in time, and as it stands. Null: no reading had come in time."""

    window_start: str
    corrected_at: str
    readings_before: int
    readings: int
    mean_before: float | None
    mean: float
    min_before: float | None
    min: float
    max_before: float | None
    max: float


class KnownGap(Row):
    """Places that a gateway gave up, and why."""

    first: int
    last: int
    reason: str


class GatewayTrust(Row):
    """What a gateway of the sensor accepted in the range, of all its sensors, against what arrived."""

    gateway_id: str
    epoch: int
    accepted: int
    stored: int
    dead_lettered: int
    missing: int
    missing_ranges: list[tuple[int, int]]
    duplicates_dropped: int = Field(description="delivered again by a device or the broker, and dropped by the gateway")
    known_gaps: list[KnownGap] = Field(description="places that the gateway itself says will never arrive")


_STUCK = """
SELECT toString(started_at) AS start, toString(ifNull(ended_at, least({to:DateTime64(3)}, now64(3)))) AS end,
    dateDiff('millisecond', started_at, ifNull(ended_at, least({to:DateTime64(3)}, now64(3)))) / 1000 AS seconds
FROM fieldstream.anomalies WHERE device_id = {device_id:String} AND metric = {metric:String} AND kind = 'stuck'
    AND NOT shadow AND started_at < {to:DateTime64(3)} AND ifNull(ended_at, {to:DateTime64(3)}) >= {from:DateTime64(3)}
ORDER BY started_at DESC LIMIT {shown:UInt32}
"""
# Readings in a row whose time was replaced.
_SUSPECT = """
SELECT toString(min(ts)) AS start, toString(max(ts)) AS end, dateDiff('millisecond', min(ts), max(ts)) / 1000 AS seconds
FROM (SELECT ts, bitAnd(flags, 7) != 0 AS suspect, sum(NOT suspect) OVER (ORDER BY ts) AS run
    FROM fieldstream.readings_data FINAL WHERE SENSOR)
WHERE suspect GROUP BY run ORDER BY start DESC LIMIT {shown:UInt32}
"""
# Counters start anew with each process of the gateway.
_DROPPED = """
SELECT gateway_id, epoch, sum(dropped) AS dropped, groupUniqArrayArray(known) AS known FROM
(SELECT gateway_id, epoch, started_at, max(duplicates_total)
        - if(started_at >= {from:DateTime64(3)}, 0, min(duplicates_total)) AS dropped,
    groupUniqArrayArray(gaps) AS known
 FROM fieldstream.gateways_data
 WHERE gateway_id IN {gateways:Array(String)} AND ts >= {from:DateTime64(3)} AND ts < {to:DateTime64(3)}
 GROUP BY gateway_id, epoch, started_at)
GROUP BY gateway_id, epoch
"""


async def corrected(store: StoreReader, params: dict[str, object]) -> tuple[int, list[Correction]]:
    """How many windows late readings changed, and the newest of them. Raises ClickHouseError."""
    rows = await store.rows(corrections(SENSOR, SHOWN), params)
    shown = [Correction(**{name: row[name] for name in Correction.model_fields}) for row in rows]
    return (rows[0]["windows"] if rows else 0), shown


async def stuck(store: StoreReader, params: dict[str, object]) -> list[Stretch]:
    """Spans at one value, the newest first. Raises ClickHouseError."""
    return [Stretch(**row) for row in await store.rows(_STUCK, params | {"shown": SHOWN})]


async def clock_suspect(store: StoreReader, params: dict[str, object]) -> list[Stretch]:
    """Spans whose readings had their time replaced, the newest first. Raises ClickHouseError."""
    return [Stretch(**row) for row in await store.rows(_SUSPECT.replace("SENSOR", SENSOR), params | {"shown": SHOWN})]


async def of_gateways(store: StoreReader, url: str, names: list[str], span: Span) -> list[GatewayTrust]:
    """Each of these gateways and its epochs in the range. Raises ClickHouseError."""
    dropped, *audits = await asyncio.gather(
        store.rows(_DROPPED, span.params() | {"gateways": names}),
        *(asyncio.to_thread(_audited, url, name, span) for name in names),
    )
    known = {(row["gateway_id"], row["epoch"]): row for row in dropped}
    nothing: dict[str, Any] = {"dropped": 0, "known": []}
    found = []
    for row in (row for audit in audits for row in audit):
        told = known.get((row["gateway_id"], row["epoch"]), nothing)
        kept = {name: row[name] for name in GatewayTrust.model_fields if name in row}
        found.append(GatewayTrust(**kept, duplicates_dropped=told["dropped"], known_gaps=told["known"][:SHOWN]))
    return found


def _audited(url: str, gateway_id: str, span: Span) -> list[dict[str, Any]]:
    with ClickHouse(url, timeout_s=15.0) as clickhouse:
        found = audit_period(clickhouse, span.start, span.end, gateway_id=gateway_id, duplicates=False)
        return [one.as_row() for one in found]
