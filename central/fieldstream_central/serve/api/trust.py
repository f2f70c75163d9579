"""The trust sign: for one sensor and range, how far its figures can be relied on, and why not."""

import asyncio
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, Request
from pydantic import Field

from fieldstream_central.serve.api import evidence
from fieldstream_central.serve.api.evidence import SENSOR, Correction, GatewayTrust, Stretch
from fieldstream_central.serve.api.measurements import must_be_known, store_of
from fieldstream_central.serve.api.models import Row
from fieldstream_central.serve.api.params import DeviceId, Metric, SpanParam
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.store.corrections import LATE_S

router = APIRouter()
Answer = TypeVar("Answer")
Verdict = Literal["good", "fair", "poor", "no data"]

_GOOD_PERCENT, _FAIR_PERCENT = 99.0, 90.0


class Trust(Row):
    """The verdict and what it rests on."""

    verdict: Verdict
    reasons: list[str] = Field(description="in words; empty when all is well")
    readings: int
    expected: int | None = Field(description="by the sensor's usual period; null when it is not known")
    complete_percent: float | None
    late: int = Field(description="stored more than a minute after they were measured")
    corrected_windows: int = Field(description="10 s windows that late readings changed after they were first told")
    corrections: list[Correction] = Field(description="the newest, at most 20: what changed, from what to what, when")
    repaired_windows: int = Field(description="windows computed anew for readings that came too late for the stream")
    doubtful: int = Field(description="of quality uncertain or bad, as the device or the gateway judged")
    clock_suspect: int = Field(description="whose event time was absent, absurd or ahead and was replaced")
    clock_suspect_spans: list[Stretch] = Field(description="the newest, at most 20")
    stuck_episodes: int
    stuck_spans: list[Stretch] = Field(description="the newest, at most 20")
    gaps: list[Stretch] = Field(description="without readings: the longest, at most 20, longer than five periods")
    gateways: list[GatewayTrust] = Field(
        description="those that the sensor's readings came by, of all their sensors; none for callers of some sites"
    )
    period_ms: int | None


_FIGURES = """
SELECT count() AS readings, countIf(stored > ts + INTERVAL {late_s:UInt32} SECOND) AS late,
    countIf(quality != 'good') AS doubtful, countIf(bitAnd(flags, 7) != 0) AS clock_suspect,
    quantileExact(0.5)(step) AS usual_ms, arraySort(groupUniqArray(gateway_id)) AS gateways
FROM (SELECT ts, stored_at AS stored, quality, flags, gateway_id,
        toUnixTimestamp64Milli(ts) - lagInFrame(toUnixTimestamp64Milli(ts), 1, toUnixTimestamp64Milli(ts))
        OVER (ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS step
    FROM fieldstream.readings_data FINAL WHERE SENSOR)
"""
_GAPS = """
SELECT toString(before) AS start, toString(ts) AS end,
    (toUnixTimestamp64Milli(ts) - toUnixTimestamp64Milli(before)) / 1000 AS seconds FROM
(SELECT ts, lagInFrame(ts, 1, {from:DateTime64(3)})
    OVER (ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
 FROM (SELECT ts FROM fieldstream.readings_data FINAL WHERE SENSOR
    UNION ALL SELECT least({to:DateTime64(3)}, now64(3))))
WHERE seconds * 1000 > {longest_ms:UInt64} ORDER BY seconds DESC LIMIT {shown:UInt32}
"""
_MORE = """
WITH {device_id:String} AS device, {metric:String} AS what
SELECT
    (SELECT count() FROM fieldstream.windows WHERE device_id = device AND metric = what AND origin = 'repair'
        AND window_start >= {from:DateTime64(3)} AND window_start < {to:DateTime64(3)}) AS repaired,
    (SELECT count() FROM fieldstream.anomalies WHERE device_id = device AND metric = what AND kind = 'stuck'
        AND started_at < {to:DateTime64(3)} AND ifNull(ended_at, {to:DateTime64(3)}) >= {from:DateTime64(3)}) AS stuck,
    (SELECT any(period_ms) FROM fieldstream.assets WHERE device_id = device AND metric = what) AS period
"""


@router.get("/trust", summary="How far the figures of a sensor and range can be relied on")
async def trust(request: Request, device_id: DeviceId, metric: Metric, span: SpanParam) -> Trust:
    """One verdict, its reasons, and what they rest on."""
    store = store_of(request)
    params: dict[str, object] = {"device_id": device_id, "metric": metric} | span.params()
    (figures,) = await store.rows(_FIGURES.replace("SENSOR", SENSOR), params | {"late_s": LATE_S})
    if not figures["readings"]:
        await must_be_known(store, device_id, metric)
    (more,) = await store.rows(_MORE, params)
    period = more["period"] or int(figures["usual_ms"] or 0) or None
    (changed, newest), gaps, suspect, stuck, gateways = await asyncio.gather(
        evidence.corrected(store, params) if figures["late"] else _nothing((0, [])),
        _gaps(store, params, period) if period and figures["readings"] else _nothing([]),
        evidence.clock_suspect(store, params) if figures["clock_suspect"] else _nothing([]),
        evidence.stuck(store, params) if more["stuck"] else _nothing([]),
        evidence.of_gateways(store, request.app.state.settings.clickhouse, figures["gateways"], span),
    )
    verdict, reasons, expected, percent = judge(
        figures, more, period, gaps=gaps, gateways=gateways, span_s=span.seconds, counted=not store.sites
    )
    return Trust(
        verdict=verdict,
        reasons=reasons,
        readings=figures["readings"],
        expected=expected,
        complete_percent=percent,
        late=figures["late"],
        corrected_windows=changed,
        corrections=newest,
        repaired_windows=more["repaired"],
        doubtful=figures["doubtful"],
        clock_suspect=figures["clock_suspect"],
        clock_suspect_spans=suspect,
        stuck_episodes=more["stuck"],
        stuck_spans=stuck,
        gaps=gaps,
        gateways=[] if store.sites else gateways,
        period_ms=period,
    )


async def _nothing(answer: Answer) -> Answer:
    return answer


async def _gaps(store: StoreReader, params: dict[str, object], period: int) -> list[Stretch]:
    rows = await store.rows(
        _GAPS.replace("SENSOR", SENSOR), params | {"longest_ms": 5 * period, "shown": evidence.SHOWN}
    )
    return [Stretch(**row) for row in rows]


def judge(
    figures: dict[str, Any],
    more: dict[str, Any],
    period: int | None,
    *,
    gaps: list[Stretch],
    gateways: list[GatewayTrust],
    span_s: float,
    counted: bool = True,
) -> tuple[Verdict, list[str], int | None, float | None]:
    """The verdict and its reasons, the readings expected, and their share in per cent.

    `counted`: whether a gateway's figures, which are of all its sensors, may be told.
    """
    readings = int(figures["readings"])
    expected = int(span_s * 1000 // period) if period else None
    percent = min(100.0, round(100 * readings / expected, 2)) if expected else None
    reasons = []
    if percent is not None and percent < _GOOD_PERCENT:
        reasons.append(f"only {percent} % of the readings that its period of {period} ms promises")
    if gaps:
        reasons.append(f"no readings for {gaps[0].seconds:.0f} s from {gaps[0].start}")
    for name, words in (
        ("doubtful", "readings of doubtful quality"),
        ("clock_suspect", "readings with a replaced time"),
    ):
        if figures[name]:
            reasons.append(f"{figures[name]} {words}")
    if more["stuck"]:
        reasons.append(f"{more['stuck']} times stuck at one value")
    reasons += [
        f"{one.missing if counted else 'some'} readings of all that {one.gateway_id} accepted have not arrived"
        for one in gateways
        if one.missing
    ]
    share = (figures["doubtful"] + figures["clock_suspect"]) / readings if readings else 0.0
    verdict: Verdict = "good"
    if not readings:
        verdict, reasons = "no data", ["no readings in this range"]
    elif (percent is not None and percent < _FAIR_PERCENT) or share > 0.1:
        verdict = "poor"
    elif reasons:
        verdict = "fair"
    return verdict, reasons, expected, percent
