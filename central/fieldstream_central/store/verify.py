"""Whether what is stored is whole and agrees with itself: parts, windows against readings, roll-ups against windows.

What a roll-up was made of may have gone by its retention: only buckets whose sources are still kept are compared.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.retention import FOR_EVER, kept_days
from fieldstream_central.store.rollup import LEVELS, MERGED, source

_SETTINGS = {"max_execution_time": 3600, "max_bytes_before_external_group_by": 300_000_000}

# Corrections of the last minutes are still under way.
SETTLED_S = 900

_TABLES = "SELECT name FROM system.tables WHERE database = 'fieldstream' AND engine LIKE '%MergeTree' ORDER BY name"

# Rows of each day of event time.
_DAYS = """
SELECT toString(day) AS day, max(n) AS n FROM (SELECT toDate(ts) AS day, count() AS n FROM fieldstream.readings_data
    GROUP BY day
    UNION ALL SELECT toDate(window_start) AS day, count() AS n FROM fieldstream.windows_data GROUP BY day
    UNION ALL SELECT toDate(bucket_start) AS day, count() AS n FROM fieldstream.rollups_data GROUP BY day)
GROUP BY day ORDER BY day
"""
# Whole days are looked at together up to so many rows: memory stays bounded however much is stored.
ROWS_AT_ONCE = 1_000_000

_ROLLUPS = """
SELECT count() AS rows, countIf(k.count != t.n OR k.windows != t.windows_ OR k.min != t.lowest OR k.max != t.highest
    OR k.first != t.first_ OR k.last != t.last_ OR abs(k.mean - t.mean_) > 1e-9 * greatest(1, abs(t.mean_))
    OR abs(k.stddev - t.stddev_) > 1e-6 * greatest(1, abs(t.mean_))) AS wrong
FROM (WITH parts AS (SOURCE AND at >= {day:Date} AND at < {end:Date})
    SELECT MERGED FROM parts AS p GROUP BY device_id, metric, bucket_start) AS t
FULL JOIN (SELECT * FROM fieldstream.rollups WHERE width_s = {width:UInt32}
        AND bucket_start >= {day:Date} AND bucket_start < {end:Date}) AS k
    ON k.device_id = t.device_id AND k.metric = t.metric AND k.bucket_start = t.bucket_start
WHERE greatest(t.bucket_start, k.bucket_start) + toIntervalSecond({width:UInt32}) < now64(3)
    - toIntervalSecond({settled:UInt32})
    AND greatest(t.bucket_start, k.bucket_start) >= {oldest:Date}
"""

# Windows are the stream's work and repair's: their count must be that of the readings.
_WINDOWS = """
SELECT countIf(w.count != t.n) AS wrong, count() AS rows
FROM (SELECT device_id, metric, toDateTime64(toStartOfInterval(ts, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC') AS at,
        toInt64(count()) AS n FROM fieldstream.readings
      WHERE ts >= {day:Date} AND ts < {end:Date} AND ts >= {oldest:Date}
        AND stored_at < now64(3) - toIntervalSecond({settled:UInt32})
        AND ts < now64(3) - toIntervalSecond({settled:UInt32} + 10)
      GROUP BY device_id, metric, at) AS t
LEFT JOIN (SELECT * FROM fieldstream.windows WHERE window_start >= {day:Date} AND window_start < {end:Date}) AS w
    ON w.device_id = t.device_id AND w.metric = t.metric AND w.window_start = t.at
"""


@dataclass
class _Tally:
    """How many rows of a kind were looked at, how many are off, and the first day that has one."""

    rows: int = 0
    wrong: int = 0
    first_day: str = ""

    def add(self, found: dict[str, Any], day: str) -> None:
        self.rows += found["rows"]
        self.wrong += found["wrong"]
        if found["wrong"] and not self.first_day:
            self.first_day = day


def verify(clickhouse: ClickHouse, *, settled_s: int = SETTLED_S) -> list[str]:
    """What is wrong, in sentences; empty: nothing. Reads everything. Raises ClickHouseError."""
    return _damaged_parts(clickhouse) + disagreements(clickhouse, spans(clickhouse), settled_s=settled_s)


def disagreements(clickhouse: ClickHouse, days: list[tuple[str, str]], *, settled_s: int = SETTLED_S) -> list[str]:
    """Windows that do not agree with readings and roll-ups that do not agree with what they are made of, of these
    runs of days [from, to)."""
    problems = []
    kept = kept_days(clickhouse)
    windows, rollups = _Tally(), {width: _Tally() for width, _ in LEVELS}
    for day, end in days:
        params: dict[str, object] = {"day": day, "end": end, "settled": settled_s}
        windows.add(clickhouse.rows(_WINDOWS, params | {"oldest": _oldest(kept[0])}, _SETTINGS)[0], day)
        for width, below in LEVELS:
            sql = _ROLLUPS.replace("SOURCE", source(below)).replace("MERGED", MERGED)
            level = {"width": width, "below": below, "oldest": _oldest(kept.get(below, FOR_EVER))}
            found = clickhouse.rows(sql, params | level, _SETTINGS)[0]
            rollups[width].add(found, day)
    if windows.wrong:
        problems.append(
            f"windows: {windows.wrong} of {windows.rows} have not seen all their readings, the first from "
            f"{windows.first_day} on; repair takes up what was stored late"
        )
    problems += [
        f"rollups of {width} s: {tally.wrong} of {tally.rows} differ from what they are made of, the first from "
        f"{tally.first_day} on"
        for width, tally in rollups.items()
        if tally.wrong
    ]
    return problems


def _oldest(kept_days: int) -> str:
    """The first day of which everything is kept; never before 1970, where ClickHouse's Date begins."""
    return max(datetime.now(UTC).date() - timedelta(days=kept_days - 1), date(1970, 1, 1)).isoformat()


def spans(clickhouse: ClickHouse) -> list[tuple[str, str]]:
    """Runs of whole days [from, to) that hold at most about ROWS_AT_ONCE rows, or one day."""
    found: list[tuple[str, str]] = []
    held = 0
    for row in clickhouse.rows(_DAYS, settings=_SETTINGS):
        end = (date.fromisoformat(row["day"]) + timedelta(days=1)).isoformat()
        if found and held + row["n"] <= ROWS_AT_ONCE:
            found[-1] = (found[-1][0], end)
            held += row["n"]
        else:
            found.append((row["day"], end))
            held = row["n"]
    return found


def _damaged_parts(clickhouse: ClickHouse) -> list[str]:
    problems = []
    for row in clickhouse.rows(_TABLES):
        check = f"CHECK TABLE fieldstream.{row['name']} SETTINGS check_query_single_value_result = 0"
        problems += [
            f"{row['name']}: part {part['part_path']} is damaged: {part['message']}"
            for part in clickhouse.rows(check, settings=_SETTINGS)
            if not part["is_passed"]
        ]
    return problems
