"""A sensor's course in a bounded number of points, from the coarsest table that is fine enough.

Whole buckets of the past come from roll-ups; the ends of the range, and the last minutes, which roll-ups may
not have seen yet, from windows. So the figures are those of the windows at every width.

The tables are read with FINAL, as the views of the plain names do: to see through a view costs the engine more than
to answer (ADR 0037).
"""

import json
import math
import time
from dataclasses import dataclass

from fieldstream_central.serve.api.models import Series
from fieldstream_central.serve.api.params import Span
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.store.rollup import LEVELS

WINDOW_S = 10
# A roll-up follows its windows within half a minute; with a day's worth of corrections at once it takes longer.
_FRESH_S = 600

# All readings as they are, when they are so few that they fit: one more than may be, to tell.
_SINGLE = """
SELECT ts, value AS mean, value AS min, value AS max, 1 AS count FROM fieldstream.readings_data FINAL
WHERE device_id = {device_id:String} AND metric = {metric:String}
    AND ts >= {from:DateTime64(3)} AND ts < {to:DateTime64(3)}
ORDER BY ts LIMIT {limit:UInt32}
"""

_READINGS = """
SELECT fromUnixTimestamp64Milli(toInt64(bucket * {bucket_ms:Int64})) AS ts, mean, min, max, count FROM
(SELECT intDiv(toUnixTimestamp64Milli(ts), {bucket_ms:Int64}) AS bucket, avg(value) AS mean,
    min(value) AS min, max(value) AS max, count() AS count
 FROM fieldstream.readings_data FINAL WHERE device_id = {device_id:String} AND metric = {metric:String}
    AND ts >= {from:DateTime64(3)} AND ts < {to:DateTime64(3)} GROUP BY bucket ORDER BY bucket)
"""

_WINDOWS = """SELECT window_start AS at, mean, min, max, count FROM fieldstream.windows_data FINAL
    WHERE device_id = {device_id:String} AND metric = {metric:String} AND ("""
_BETWEEN = "window_start >= {from:DateTime64(3)} AND window_start < {to:DateTime64(3)}"
_ENDS = """window_start >= {from:DateTime64(3)} AND window_start < {whole_from:DateTime64(3)}
        OR window_start >= {whole_to:DateTime64(3)} AND window_start < {to:DateTime64(3)}"""
_ROLLUPS = """SELECT bucket_start AS at, mean, min, max, count FROM fieldstream.rollups_data FINAL
    WHERE width_s = {level:UInt32} AND device_id = {device_id:String} AND metric = {metric:String}
        AND bucket_start >= {whole_from:DateTime64(3)} AND bucket_start < {whole_to:DateTime64(3)}"""

_MERGED = """
SELECT fromUnixTimestamp64Milli(toInt64(bucket * {bucket_ms:Int64})) AS ts, mean, min, max, count FROM
(SELECT intDiv(toUnixTimestamp64Milli(at), {bucket_ms:Int64}) AS bucket,
    sum(p.mean * p.count) / sum(p.count) AS mean, min(p.min) AS min, max(p.max) AS max, sum(p.count) AS count
 FROM (PIECES) AS p GROUP BY bucket ORDER BY bucket)
"""


def bucket_seconds(span_s: float, points: int) -> float:
    """Width of a bucket so that a span gives at most `points`: whole milliseconds, from 10 s on whole windows,
    from each level of roll-up on whole ones of it.

    One bucket more can be touched than fits the span, as buckets lie on a fixed grid.
    """
    least = span_s / max(points - 1, 1)
    if least < WINDOW_S:
        return max(math.ceil(least * 1000), 1) / 1000
    unit = level_of(least) or WINDOW_S
    return math.ceil(least / unit) * float(unit)


def level_of(width_s: float) -> int:
    """Widest roll-up that is not wider than a bucket; 0: none."""
    return max((width for width, _ in LEVELS if width <= width_s), default=0)


@dataclass(frozen=True)
class Course:
    """Points as ClickHouse wrote them: JSON objects, not decoded yet."""

    source: str
    resolution_s: float
    lines: list[bytes]

    def answer(self, device_id: str, metric: str) -> bytes:
        """The JSON of a `Series`."""
        head = {"device_id": device_id, "metric": metric, "source": self.source, "resolution_s": self.resolution_s}
        return json.dumps(head).encode()[:-1] + b',"points":[' + b",".join(self.lines) + b"]}"


async def load_series(store: StoreReader, device_id: str, metric: str, span: Span, points: int) -> Series:
    """The points. Raises ClickHouseError."""
    course = await load_course(store, device_id, metric, span, points)
    return Series.model_validate_json(course.answer(device_id, metric))


async def load_course(store: StoreReader, device_id: str, metric: str, span: Span, points: int) -> Course:
    """The points, undecoded. Raises ClickHouseError."""
    width = bucket_seconds(span.seconds, points)
    params: dict[str, object] = {"device_id": device_id, "metric": metric} | span.params()
    source = "readings" if width < WINDOW_S else "rollups" if level_of(width) else "windows"
    lines = []
    if source == "readings":
        lines = await store.lines(_SINGLE, params | {"limit": points + 1})
    if source == "readings" and len(lines) <= points:
        width = 0.0
    else:
        params["bucket_ms"] = round(width * 1000)
        lines = await store.lines(*_query(source, params, span, level_of(width)))
    return Course(source, width, lines)


def _query(source: str, params: dict[str, object], span: Span, level: int) -> tuple[str, dict[str, object]]:
    if source == "readings":
        return _READINGS, params
    if level:
        whole_from = math.ceil(span.start.timestamp() / level) * level
        whole_to = math.floor(min(span.end.timestamp(), time.time() - _FRESH_S) / level) * level
        if whole_to > whole_from:
            pieces = f"{_WINDOWS}{_ENDS})\n UNION ALL {_ROLLUPS}"
            return _MERGED.replace("PIECES", pieces), params | {
                "level": level,
                "whole_from": whole_from,
                "whole_to": whole_to,
            }
    return _MERGED.replace("PIECES", f"{_WINDOWS}{_BETWEEN})"), params
