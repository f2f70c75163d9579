"""The trust sign: for one sensor and range, how far its figures can be relied on, and why not."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from fieldstream_central.serve.api.measurements import must_be_known, store_of
from fieldstream_central.serve.api.models import Row
from fieldstream_central.serve.api.params import DeviceId, Metric, SpanParam

router = APIRouter()

_GOOD_PERCENT, _FAIR_PERCENT = 99.0, 90.0
_SHOWN_GAPS = 20


class Gap(Row):
    """A span without readings."""

    start: str
    end: str
    seconds: float


class Trust(Row):
    """The verdict and what it rests on."""

    verdict: Literal["good", "fair", "poor", "no data"]
    reasons: list[str] = Field(description="in words; empty when all is well")
    readings: int
    expected: int | None = Field(description="by the sensor's usual period; null when it is not known")
    complete_percent: float | None
    late: int = Field(description="stored more than a minute after they were measured")
    repaired_windows: int = Field(description="windows computed anew for readings that came too late for the stream")
    doubtful: int = Field(description="of quality uncertain or bad, as the device or the gateway judged")
    clock_suspect: int = Field(description="whose event time was absent, absurd or ahead and was replaced")
    stuck_episodes: int
    gaps: list[Gap] = Field(description="the longest, at most 20, longer than five periods")
    period_ms: int | None


_FIGURES = """
SELECT count() AS readings, countIf(stored_at > ts + INTERVAL 1 MINUTE) AS late,
    countIf(quality != 'good') AS doubtful, countIf(bitAnd(flags, 7) != 0) AS clock_suspect,
    quantileExact(0.5)(step) AS usual_ms
FROM (SELECT *, toUnixTimestamp64Milli(ts) - lagInFrame(toUnixTimestamp64Milli(ts), 1, toUnixTimestamp64Milli(ts))
        OVER (ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS step FROM fieldstream.readings WHERE SENSOR)
"""
_GAPS = """
SELECT toString(before) AS start, toString(ts) AS end,
    (toUnixTimestamp64Milli(ts) - toUnixTimestamp64Milli(before)) / 1000 AS seconds FROM
(SELECT ts, lagInFrame(ts, 1, {from:DateTime64(3)})
    OVER (ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
 FROM (SELECT ts FROM fieldstream.readings WHERE SENSOR UNION ALL SELECT least({to:DateTime64(3)}, now64(3))))
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
_SENSOR = """device_id = {device_id:String} AND metric = {metric:String}
    AND ts >= {from:DateTime64(3)} AND ts < {to:DateTime64(3)}"""


@router.get("/trust", summary="How far the figures of a sensor and range can be relied on")
async def trust(request: Request, device_id: DeviceId, metric: Metric, span: SpanParam) -> Trust:
    """One verdict and its reasons."""
    store = store_of(request)
    params: dict[str, object] = {"device_id": device_id, "metric": metric} | span.params()
    (figures,) = await store.rows(_FIGURES.replace("SENSOR", _SENSOR), params)
    if not figures["readings"]:
        await must_be_known(store, device_id, metric)
    (more,) = await store.rows(_MORE, params)
    period = more["period"] or int(figures["usual_ms"] or 0) or None
    gaps: list[dict[str, Any]] = []
    if period and figures["readings"]:
        params |= {"longest_ms": 5 * period, "shown": _SHOWN_GAPS}
        gaps = await store.rows(_GAPS.replace("SENSOR", _SENSOR), params)
    return judge(figures, more, period, gaps, span.seconds)


def judge(
    figures: dict[str, Any], more: dict[str, Any], period: int | None, gaps: list[dict[str, Any]], span_s: float
) -> Trust:
    """The verdict from the figures."""
    readings = int(figures["readings"])
    expected = int(span_s * 1000 // period) if period else None
    percent = min(100.0, round(100 * readings / expected, 2)) if expected else None
    reasons = []
    if percent is not None and percent < _GOOD_PERCENT:
        reasons.append(f"only {percent} % of the readings that its period of {period} ms promises")
    if gaps:
        reasons.append(f"no readings for {gaps[0]['seconds']:.0f} s from {gaps[0]['start']}")
    for name, words in (
        ("doubtful", "readings of doubtful quality"),
        ("clock_suspect", "readings with a replaced time"),
    ):
        if figures[name]:
            reasons.append(f"{figures[name]} {words}")
    if more["stuck"]:
        reasons.append(f"{more['stuck']} times stuck at one value")
    share = (figures["doubtful"] + figures["clock_suspect"]) / readings if readings else 0.0
    verdict: Literal["good", "fair", "poor", "no data"] = "good"
    if not readings:
        verdict, reasons = "no data", ["no readings in this range"]
    elif (percent is not None and percent < _FAIR_PERCENT) or share > 0.1:
        verdict = "poor"
    elif reasons:
        verdict = "fair"
    return Trust(
        verdict=verdict,
        reasons=reasons,
        readings=readings,
        expected=expected,
        complete_percent=percent,
        late=figures["late"],
        repaired_windows=more["repaired"],
        doubtful=figures["doubtful"],
        clock_suspect=figures["clock_suspect"],
        stuck_episodes=more["stuck"],
        gaps=[Gap(**gap) for gap in gaps],
        period_ms=period,
    )
