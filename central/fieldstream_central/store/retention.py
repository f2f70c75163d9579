"""How long each table keeps its rows: its TTL, by event time.

Roll-ups are made from windows and windows from readings: what a level is made from must not be kept longer than the
level itself is, and windows are kept as long as readings, since until then a late reading may correct them.
"""

import re
from dataclasses import dataclass, fields
from itertools import pairwise

from fieldstream_central.store.clickhouse import ClickHouse

FOR_EVER = 36_500


class RetentionError(Exception):
    """The days cannot be kept so; the message names the setting."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Days that each kind of row is kept; 0: for ever. Readings and their 10 s windows go together."""

    readings: int = 400
    minutes: int = 800
    ten_minutes: int = 1_850
    hours: int = 3_700
    days: int = 0
    anomalies: int = 3_700
    dead_letters: int = 400
    heartbeats: int = 400

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not isinstance(value, int) or not 0 <= value <= FOR_EVER:
                raise RetentionError(f"retention_days.{one.name} is {value!r}: give days, 0 (for ever) to {FOR_EVER}")
        levels = ("readings", "minutes", "ten_minutes", "hours", "days")
        for finer, coarser in pairwise(levels):
            if _days(getattr(self, coarser)) < _days(getattr(self, finer)):
                raise RetentionError(
                    f"retention_days.{coarser} must not be shorter than retention_days.{finer}, of which it is made"
                )

    def ttls(self) -> dict[str, str]:
        """The TTL expression of every table; empty: none."""
        widths = ((60, self.minutes), (600, self.ten_minutes), (3600, self.hours))
        by_width = "".join(f"width_s = {width}, {_days(days)}, " for width, days in widths)
        return {
            "readings_data": _after("ts", self.readings),
            "windows_data": _after("window_start", self.readings),
            "rollups_data": f"toDate32(bucket_start) + toIntervalDay(multiIf({by_width}{_days(self.days)}))",
            "anomaly_steps_data": _after("started_at", self.anomalies),
            "anomalies_data": _after("started_at", self.anomalies),
            "dead_letters_data": _after("received_at", self.dead_letters),
            "gateways_data": _after("ts", self.heartbeats),
        }


def _days(days: int) -> int:
    return days or FOR_EVER


def _after(column: str, days: int) -> str:
    # Date32, for a DateTime ends in 2106: a century from now would lie in the past.
    return f"toDate32({column}) + toIntervalDay({days})" if days else ""


_CREATED = """SELECT name, partition_key, create_table_query AS sql FROM system.tables WHERE database = 'fieldstream'"""


_OF_ROWS = f"{_CREATED} AND engine LIKE '%MergeTree'"


def apply_retention(clickhouse: ClickHouse, retention: Retention, *, cluster: str = "") -> list[str]:
    """Gives every table its TTL where it has another; the tables that were changed. Raises ClickHouseError.

    Where a table has partitions (a month, of roll-ups a year of one width) rows go with their whole part, so that
    nothing is rewritten for it.
    """
    created = {row["name"]: row for row in clickhouse.rows(_CREATED)}
    changed = []
    suffix, on = ("_local", f" ON CLUSTER '{cluster}'") if cluster else ("", "")
    for table, ttl in ((f"{name}{suffix}", ttl) for name, ttl in retention.ttls().items()):
        if current_ttl(created[table]["sql"]) == ttl:
            continue
        change = f"MODIFY TTL {ttl}" if ttl else "REMOVE TTL"
        if ttl and created[table]["partition_key"]:
            clickhouse.execute(f"ALTER TABLE fieldstream.{table}{on} MODIFY SETTING ttl_only_drop_parts = 1")
        clickhouse.execute(f"ALTER TABLE fieldstream.{table}{on} {change}", settings={"max_execution_time": 3600})
        changed.append(table)
    return changed


def current_ttl(create_query: str) -> str:
    """The TTL in a CREATE TABLE as ClickHouse shows it; empty: none."""
    found = re.search(r"\sORDER BY .+?\sTTL (.+?)(?: SETTINGS |$)", create_query)
    return found.group(1) if found else ""


def kept_days(clickhouse: ClickHouse) -> dict[int, int]:
    """Days that readings and windows (0) and each level of roll-up (its width in seconds) are kept, as the tables say.

    Raises ClickHouseError.
    """
    created = {row["name"].removesuffix("_local"): current_ttl(row["sql"]) for row in clickhouse.rows(_OF_ROWS)}
    windows = re.search(r"toIntervalDay\((\d+)\)", created["windows_data"])
    widths = {int(width): int(days) for width, days in re.findall(r"width_s = (\d+), (\d+)", created["rollups_data"])}
    return {0: int(windows.group(1)) if windows else FOR_EVER} | widths
