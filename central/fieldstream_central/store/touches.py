"""Work that stored rows give rise to: a list of touches, worked on twice.

A materialized view notes in a table what a stored block touched. Each touch is worked on at once, and again
when it is so old that no block which stamped its touches earlier can still be on its way; only then is it
noted as done. The work must come to the same end when it is done again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fieldstream_central.store.clickhouse import ClickHouse

# The longest insert is 120 s (the loader's max_execution_time): touches stamped before can appear so late.
SETTLED_AFTER_S = 150

_NEXT = """SELECT toString(max(touched_at)) AS until, count() AS touches FROM
    (SELECT touched_at FROM fieldstream.{table}
     WHERE touched_at > {{after:DateTime64(3, 'UTC')}} AND touched_at <= {{limit:DateTime64(3, 'UTC')}}
     ORDER BY touched_at LIMIT {{touches:UInt64}} WITH TIES)"""
_DAYS = """SELECT DISTINCT toString(toDate(window_start)) AS day FROM fieldstream.{table}
    WHERE touched_at > {{after:DateTime64(3, 'UTC')}} AND touched_at <= {{until:DateTime64(3, 'UTC')}} ORDER BY day"""
_DONE = "SELECT toString(max(done_until)) FROM fieldstream.repair_progress WHERE job = {job:String}"
_NOTE = """INSERT INTO fieldstream.repair_progress (job, done_until)
    VALUES ({job:String}, {until:DateTime64(3, 'UTC')})"""
_TIMES = """SELECT toString(now64(3, 'UTC')) AS now,
    toString(now64(3, 'UTC') - INTERVAL {settled:UInt32} SECOND) AS settled"""


@dataclass(frozen=True)
class Span:
    """Touches of (after, until], those of one day of event time."""

    after: str
    until: str
    day: str

    def params(self) -> dict[str, object]:
        """For the placeholders `after`, `until` and `day`."""
        return {"after": self.after, "until": self.until, "day": self.day}


@dataclass(frozen=True)
class Step:
    """What one step worked on: touches, and rows that were written anew."""

    touches: int
    rows: int


class Touches:
    """The two cursors over one table of touches. Raises ClickHouseError; a step that failed is done again.

    `work(span)` does the work and says how many rows it wrote. It is called for one day of event time at a
    time, so that a stray row of last year does not make all of the year be read.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        table: str,
        work: Callable[[Span], int],
        *,
        per_step: int,
        settled_after_s: int = SETTLED_AFTER_S,
    ) -> None:
        self._clickhouse = clickhouse
        self._table = table
        self._work = work
        self._per_step = per_step
        self._settled_after_s = settled_after_s
        self._seen = ""  # worked on at once up to here, in this process

    def step(self) -> Step:
        """New touches if there are any; else those that have settled, for the second and last time."""
        done = str(self._clickhouse.value(_DONE, {"job": self._table}))
        self._seen = max(self._seen, done)
        times = self._clickhouse.rows(_TIMES, {"settled": self._settled_after_s})[0]
        step, until = self._take(self._seen, times["now"])
        if step.touches:
            self._seen = until
            return step
        step, until = self._take(done, times["settled"])
        if step.touches:
            self._clickhouse.execute(_NOTE, {"job": self._table, "until": until})
        return step

    def _take(self, after: str, limit: str) -> tuple[Step, str]:
        query = _NEXT.format(table=self._table)
        found = self._clickhouse.rows(query, {"after": after, "limit": limit, "touches": self._per_step})[0]
        if not found["touches"]:
            return Step(0, 0), after
        until = str(found["until"])
        days = self._clickhouse.rows(_DAYS.format(table=self._table), {"after": after, "until": until})
        rows = sum(self._work(Span(after, until, row["day"])) for row in days)
        return Step(int(found["touches"]), rows), until
