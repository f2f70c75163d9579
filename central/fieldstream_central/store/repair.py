"""Windows that a reading reached too late for Flink are recomputed from the stored readings.

`late_touches` is filled as readings are stored (store/schema/0007). Each touch is worked on twice: at once,
and again when it is so old that no block which stamped its touches earlier can still be on its way; only
then is it noted as done. Recomputing is one INSERT ... SELECT with revision = count, so that doing it again,
or twice at the same time, ends in the same rows: the table keeps the row that saw most readings.

Weakness: of two rows with the same count the one stored last stands. They differ only while a reading that
both will get is still on its way; when it arrives it is late as well, and the window is computed again.
"""

import logging
import threading
from dataclasses import dataclass

from fieldstream_central.store import loader_metrics as metrics
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError

log = logging.getLogger("fieldstream.repair")

EVERY_S = 2.0
TOUCHES_PER_STEP = 20_000
# The longest insert is 120 s (the loader's max_execution_time): touches stamped before can appear so late.
SETTLED_AFTER_S = 150
_JOB = "windows"

_NEXT = """SELECT toString(max(touched_at)) AS until, count() AS touches FROM
    (SELECT touched_at FROM fieldstream.late_touches
     WHERE touched_at > {after:DateTime64(3, 'UTC')} AND touched_at <= {limit:DateTime64(3, 'UTC')}
     ORDER BY touched_at LIMIT {touches:UInt64} WITH TIES)"""

_DAYS = """SELECT DISTINCT toString(toDate(window_start)) AS day FROM fieldstream.late_touches
    WHERE touched_at > {after:DateTime64(3, 'UTC')} AND touched_at <= {until:DateTime64(3, 'UTC')} ORDER BY day"""

# One day at a time, so that a stray reading of last year does not make all of the year be read.
# Only windows whose stored row has seen fewer readings than are stored: the second look costs no writes.
_RECOMPUTE = """
INSERT INTO fieldstream.windows_data
    (device_id, metric, window_start, window_end, site, area, asset_id, asset_type, unit,
     count, mean, stddev, min, max, first, last, first_ts, last_ts,
     low_low, low, high, high_high, revision, origin)
WITH touched AS
    (SELECT DISTINCT device_id, metric, window_start FROM fieldstream.late_touches
     WHERE touched_at > {after:DateTime64(3, 'UTC')} AND touched_at <= {until:DateTime64(3, 'UTC')}
        AND toDate(window_start) = {day:Date}),
known AS
    (SELECT device_id, metric, window_start, revision FROM fieldstream.windows
     WHERE (device_id, metric, window_start) IN touched),
truth AS
    (SELECT device_id, metric,
        toDateTime64(toStartOfInterval(ts, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC') AS window_start,
        toInt64(count()) AS n, avg(value) AS mean, stddevPopStable(value) AS stddev,
        min(value) AS lowest, max(value) AS highest,
        argMin(value, ts) AS first, argMax(value, ts) AS last, min(ts) AS first_ts, max(ts) AS last_ts
     FROM fieldstream.readings
     WHERE (device_id, metric) IN (SELECT device_id, metric FROM touched)
        AND ts >= (SELECT min(window_start) FROM touched)
        AND ts < (SELECT max(window_start) FROM touched) + INTERVAL 10 SECOND
        AND (device_id, metric, toDateTime64(toStartOfInterval(ts, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC')) IN touched
     GROUP BY device_id, metric, window_start)
SELECT t.device_id, t.metric, t.window_start, t.window_start + INTERVAL 10 SECOND,
    a.site, a.area, a.asset_id, a.asset_type, a.unit,
    t.n, t.mean, t.stddev, t.lowest, t.highest, t.first, t.last, t.first_ts, t.last_ts,
    a.low_low, a.low, a.high, a.high_high, t.n, 'repair'
FROM truth AS t
LEFT JOIN known AS k ON k.device_id = t.device_id AND k.metric = t.metric AND k.window_start = t.window_start
LEFT JOIN fieldstream.assets AS a ON a.device_id = t.device_id AND a.metric = t.metric
WHERE t.n > k.revision
"""
_SETTINGS = {"max_execution_time": 300, "max_bytes_before_external_group_by": 300_000_000}

_DONE = "SELECT toString(max(done_until)) FROM fieldstream.repair_progress WHERE job = {job:String}"
_NOTE = """INSERT INTO fieldstream.repair_progress (job, done_until)
    VALUES ({job:String}, {until:DateTime64(3, 'UTC')})"""


@dataclass(frozen=True)
class Step:
    """What one step worked on: touches, and windows among them that were written anew."""

    touches: int
    windows: int


class Repair:
    """The two cursors over `late_touches`. Raises ClickHouseError; a step that failed is simply done again."""

    def __init__(self, clickhouse: ClickHouse, *, settled_after_s: int = SETTLED_AFTER_S) -> None:
        self._clickhouse = clickhouse
        self._settled_after_s = settled_after_s
        self._seen = ""  # worked on at once up to here, in this process

    def step(self) -> Step:
        """New touches if there are any; else those that have settled, for the second and last time."""
        done = str(self._clickhouse.value(_DONE, {"job": _JOB}))
        self._seen = max(self._seen, done)
        now, settled = self._times()
        step, until = self._work(self._seen, now)
        if step.touches:
            self._seen = until
            return step
        step, until = self._work(done, settled)
        if step.touches:
            self._clickhouse.execute(_NOTE, {"job": _JOB, "until": until})
        return step

    def _times(self) -> tuple[str, str]:
        row = self._clickhouse.rows(
            "SELECT toString(now64(3, 'UTC')) AS now, "
            "toString(now64(3, 'UTC') - INTERVAL {settled:UInt32} SECOND) AS settled",
            {"settled": self._settled_after_s},
        )[0]
        return row["now"], row["settled"]

    def _work(self, after: str, limit: str) -> tuple[Step, str]:
        found = self._clickhouse.rows(_NEXT, {"after": after, "limit": limit, "touches": TOUCHES_PER_STEP})[0]
        if not found["touches"]:
            return Step(0, 0), after
        span = {"after": after, "until": found["until"]}
        before, _ = self._times()
        for row in self._clickhouse.rows(_DAYS, span):
            self._clickhouse.execute(_RECOMPUTE, span | row, _SETTINGS)
        windows = self._clickhouse.value(
            "SELECT count() FROM fieldstream.windows_data "
            "WHERE origin = 'repair' AND stored_at >= {since:DateTime64(3, 'UTC')}",
            {"since": before},
        )
        return Step(int(found["touches"]), int(windows)), str(found["until"])


class RepairLoop(threading.Thread):
    """Repair steps one after the other, beside the loader: it stands still when nothing is late."""

    def __init__(self, url: str, *, every_s: float = EVERY_S) -> None:
        super().__init__(name="repair", daemon=True)
        self._url = url
        self._every_s = every_s
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ends the loop after the step in hand."""
        self._stopping.set()

    def run(self) -> None:
        """Until `stop`; a step that fails is counted and tried again."""
        failing = False
        pause_s = self._every_s
        with ClickHouse(self._url, timeout_s=330.0) as clickhouse:
            repair = Repair(clickhouse)
            while not self._stopping.wait(pause_s):
                pause_s = self._every_s
                try:
                    done = repair.step()
                except ClickHouseError as error:
                    metrics.REPAIR_FAILURES.inc()
                    if not failing:
                        log.warning("repair waits: %s", str(error)[:500])
                    failing = True
                    continue
                if failing:
                    log.info("repair goes on")
                failing = False
                if done.windows:
                    metrics.REPAIRED.inc(done.windows)
                    log.info("%d windows recomputed for %d late touches", done.windows, done.touches)
                if done.touches >= TOUCHES_PER_STEP:
                    pause_s = 0.0  # a backlog: go on at once
