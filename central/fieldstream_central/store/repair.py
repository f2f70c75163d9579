"""Windows that a reading reached too late for Flink are recomputed from the stored readings.

`late_touches` is filled as readings are stored (store/schema/0007) and worked through by store/touches.py.
Recomputing is one INSERT ... SELECT with revision = count, so that doing it again, or twice at the same
time, ends in the same rows: the table keeps the row that saw most readings.

Weakness: of two rows with the same count the one stored last stands. They differ only while a reading that
both will get is still on its way; when it arrives it is late as well, and the window is computed again.
"""

import logging
import threading
from collections.abc import Callable

from fieldstream_central.store import loader_metrics as metrics
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError
from fieldstream_central.store.rollup import Rollup
from fieldstream_central.store.touches import SETTLED_AFTER_S, Span, Step, Touches
from fieldstream_central.store.watch import watch

log = logging.getLogger("fieldstream.repair")

TOUCHES_PER_STEP = 20_000

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

_WRITTEN = """SELECT count() AS n FROM fieldstream.windows_data
    WHERE origin = 'repair' AND stored_at >= {since:DateTime64(3, 'UTC')}"""


class Repair:
    """Keeps late windows right. `step` as in Touches."""

    def __init__(self, clickhouse: ClickHouse, *, settled_after_s: int = SETTLED_AFTER_S) -> None:
        self._clickhouse = clickhouse
        touches = Touches(
            clickhouse, "late_touches", self._work, per_step=TOUCHES_PER_STEP, settled_after_s=settled_after_s
        )
        self.step: Callable[[], Step] = touches.step

    def _work(self, span: Span) -> int:
        since = self._clickhouse.value("SELECT toString(now64(3, 'UTC')) AS now")
        self._clickhouse.execute(_RECOMPUTE, span.params(), _SETTINGS)
        return int(self._clickhouse.value(_WRITTEN, {"since": since}))


class UpkeepLoop(threading.Thread):
    """Steps of one kind of upkeep, one after the other, beside the loader: it stands still when nothing is to do."""

    def __init__(
        self, name: str, url: str, make: Callable[[ClickHouse], Callable[[], Step]], *, every_s: float
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._url = url
        self._make = make
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
            step = self._make(clickhouse)
            while not self._stopping.wait(pause_s):
                pause_s = self._every_s
                try:
                    done = step()
                except ClickHouseError as error:
                    metrics.UPKEEP_FAILURES.labels(self.name).inc()
                    if not failing:
                        log.warning("%s waits: %s", self.name, str(error)[:500])
                    failing = True
                    continue
                if failing:
                    log.info("%s goes on", self.name)
                failing = False
                metrics.UPKEEP_ROWS.labels(self.name).inc(done.rows)
                if done.touches >= TOUCHES_PER_STEP:
                    pause_s = 0.0  # a backlog: go on at once


def upkeep(url: str) -> list[UpkeepLoop]:
    """The loops that the loader runs beside itself."""
    return [
        UpkeepLoop("repair", url, lambda clickhouse: Repair(clickhouse).step, every_s=2.0),
        # A bucket of ten minutes is touched by each of its windows: once in half a minute is often enough.
        UpkeepLoop("rollup", url, lambda clickhouse: Rollup(clickhouse).step, every_s=30.0),
        UpkeepLoop("watch", url, watch, every_s=5.0),
    ]
