"""Roll-ups of 1 minute, 10 minutes, 1 hour and 1 day, computed anew wherever a window changed.

Each level is made from windows at their latest revision or from the level below, as a whole bucket, and
written only if it saw more readings than the row that is there. Doing it again writes nothing.
"""

from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.touches import SETTLED_AFTER_S, Span, Touches

# Width of each level and of what it is made from, seconds; 0: the windows themselves.
LEVELS = ((60, 0), (600, 60), (3600, 600), (86_400, 3600))
# What touches are noted by (store/schema/0008): a narrower level computes all its buckets in a touched ten minutes.
_TOUCH_S = 600
TOUCHES_PER_STEP = 20_000

_SOURCES = {
    0: "SELECT device_id, metric, window_start AS at, 1 AS windows, asset_id, unit, count, mean, stddev, min, max, "
    "first, last, first_ts, last_ts FROM fieldstream.windows AS w WHERE 1",
    1: "SELECT device_id, metric, bucket_start AS at, windows, asset_id, unit, count, mean, stddev, min, max, "
    "first, last, first_ts, last_ts FROM fieldstream.rollups AS w WHERE width_s = {below:UInt32}",
}

# How statistics of pieces become those of the whole; shared with verify, which reads all buckets instead of some.
MERGED = """device_id, metric, toDateTime64(toStartOfInterval(at, toIntervalSecond({width:UInt32}), 'UTC'), 3, 'UTC')
        AS bucket_start, any(p.asset_id) AS asset, any(p.unit) AS unit_, sum(p.windows) AS windows_,
    sum(p.count) AS n, sum(p.mean * p.count) / n AS mean_,
    groupArray((p.mean, p.stddev, p.count)) AS pieces,
    sqrt(arraySum(one -> one.3 * (one.2 * one.2 + (one.1 - mean_) * (one.1 - mean_)), pieces) / n) AS stddev_,
    min(p.min) AS lowest, max(p.max) AS highest, argMin(p.first, p.first_ts) AS first_,
    argMax(p.last, p.last_ts) AS last_, min(p.first_ts) AS first_ts_, max(p.last_ts) AS last_ts_"""

_COMPUTE = """
INSERT INTO fieldstream.rollups_data
    (width_s, device_id, metric, bucket_start, asset_id, unit, windows, count, mean, stddev, min, max,
     first, last, first_ts, last_ts)
WITH touched AS
    (SELECT DISTINCT device_id, metric,
        toDateTime64(toStartOfInterval(window_start, toIntervalSecond({span:UInt32}), 'UTC'), 3, 'UTC') AS span_start
     FROM fieldstream.rollup_touches
     WHERE touched_at > {after:DateTime64(3, 'UTC')} AND touched_at <= {until:DateTime64(3, 'UTC')}
        AND toDate(window_start) = {day:Date}),
known AS
    (SELECT device_id, metric, bucket_start, count FROM fieldstream.rollups
     WHERE width_s = {width:UInt32} AND (device_id, metric,
        toDateTime64(toStartOfInterval(bucket_start, toIntervalSecond({span:UInt32}), 'UTC'), 3, 'UTC')) IN touched
        AND bucket_start >= (SELECT min(span_start) FROM touched)
        AND bucket_start < (SELECT max(span_start) FROM touched) + toIntervalSecond({span:UInt32})
        AND (device_id, metric) IN (SELECT device_id, metric FROM touched)),
parts AS
    (SOURCE
        AND (device_id, metric) IN (SELECT device_id, metric FROM touched)
        AND at >= (SELECT min(span_start) FROM touched)
        AND at < (SELECT max(span_start) FROM touched) + toIntervalSecond({span:UInt32})
        AND (device_id, metric,
            toDateTime64(toStartOfInterval(at, toIntervalSecond({span:UInt32}), 'UTC'), 3, 'UTC')) IN touched)
SELECT {width:UInt32}, t.device_id, t.metric, t.bucket_start, t.asset, t.unit_, t.windows_, t.n, t.mean_, t.stddev_,
    t.lowest, t.highest, t.first_, t.last_, t.first_ts_, t.last_ts_
FROM (SELECT MERGED FROM parts AS p GROUP BY device_id, metric, bucket_start) AS t
LEFT JOIN known AS k ON k.device_id = t.device_id AND k.metric = t.metric AND k.bucket_start = t.bucket_start
WHERE t.n > k.count
"""
_SETTINGS = {"max_execution_time": 300, "max_bytes_before_external_group_by": 300_000_000}


def source(below: int) -> str:
    """The SELECT of the rows that a level is made from."""
    return _SOURCES[1 if below else 0]


def _level(width: int, below: int) -> dict[str, object]:
    return {"width": width, "below": below, "span": max(width, _TOUCH_S)}


class Rollup:
    """Keeps the roll-ups right. `step` as in Touches."""

    def __init__(self, clickhouse: ClickHouse, *, settled_after_s: int = SETTLED_AFTER_S) -> None:
        self._clickhouse = clickhouse
        self._touches = Touches(
            clickhouse, "rollup_touches", self._work, per_step=TOUCHES_PER_STEP, settled_after_s=settled_after_s
        )
        self.step = self._touches.step

    def _work(self, span: Span) -> int:
        written = 0
        for width, below in LEVELS:
            sql = _COMPUTE.replace("SOURCE", source(below)).replace("MERGED", MERGED)
            written += self._clickhouse.write(sql, span.params() | _level(width, below), _SETTINGS)
        return written
