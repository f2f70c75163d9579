"""A sensor's course in a bounded number of points, from the coarsest table that is fine enough."""

import math

from fieldstream_central.serve.api.models import Point, Series
from fieldstream_central.serve.api.params import Span
from fieldstream_central.serve.store import StoreReader

_READINGS = """
SELECT fromUnixTimestamp64Milli(toInt64(bucket * {bucket_ms:Int64})) AS ts, mean, min, max, count FROM
(SELECT intDiv(toUnixTimestamp64Milli(ts), {bucket_ms:Int64}) AS bucket, avg(value) AS mean,
    min(value) AS min, max(value) AS max, count() AS count
 FROM fieldstream.readings WHERE device_id = {device_id:String} AND metric = {metric:String}
    AND ts >= {from:DateTime64(3)} AND ts < {to:DateTime64(3)} GROUP BY bucket ORDER BY bucket)
"""

_WINDOWS = """
SELECT fromUnixTimestamp64Milli(toInt64(bucket * {bucket_ms:Int64})) AS ts, mean, min, max, count FROM
(SELECT intDiv(toUnixTimestamp64Milli(window_start), {bucket_ms:Int64}) AS bucket,
    sum(w.mean * w.count) / sum(w.count) AS mean, min(w.min) AS min, max(w.max) AS max, sum(w.count) AS count
 FROM fieldstream.windows AS w WHERE device_id = {device_id:String} AND metric = {metric:String}
    AND window_start >= {from:DateTime64(3)} AND window_start < {to:DateTime64(3)} GROUP BY bucket ORDER BY bucket)
"""

# All readings as they are, when they are so few that they fit: one more than may be, to tell.
_SINGLE = """
SELECT ts, value AS mean, value AS min, value AS max, 1 AS count FROM fieldstream.readings
WHERE device_id = {device_id:String} AND metric = {metric:String}
    AND ts >= {from:DateTime64(3)} AND ts < {to:DateTime64(3)}
ORDER BY ts LIMIT {limit:UInt32}
"""

WINDOW_S = 10


def bucket_seconds(span_s: float, points: int) -> float:
    """Width of a bucket so that a span gives at most `points`: whole milliseconds, from 10 s on whole windows.

    One bucket more can be touched than fits the span, as buckets lie on a fixed grid.
    """
    least = span_s / max(points - 1, 1)
    if least < WINDOW_S:
        return max(math.ceil(least * 1000), 1) / 1000
    return math.ceil(least / WINDOW_S) * float(WINDOW_S)


async def load_series(store: StoreReader, device_id: str, metric: str, span: Span, points: int) -> Series:
    """The points. Raises ClickHouseError."""
    width = bucket_seconds(span.seconds, points)
    params: dict[str, object] = {"device_id": device_id, "metric": metric} | span.params()
    source = "windows" if width >= WINDOW_S else "readings"
    rows = []
    if source == "readings":
        rows = await store.rows(_SINGLE, params | {"limit": points + 1})
    if source == "readings" and len(rows) <= points:
        width = 0.0
    else:
        query = _WINDOWS if source == "windows" else _READINGS
        rows = await store.rows(query, params | {"bucket_ms": round(width * 1000)})
    found = [Point(**row) for row in rows]
    return Series(device_id=device_id, metric=metric, source=source, resolution_s=width, points=found)
