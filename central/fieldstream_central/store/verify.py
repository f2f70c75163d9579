"""Whether what is stored is whole and agrees with itself: parts, windows against readings, roll-ups against windows."""

from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.rollup import LEVELS, MERGED, source

_SETTINGS = {"max_execution_time": 3600, "max_bytes_before_external_group_by": 300_000_000}

# Corrections of the last minutes are still under way.
SETTLED_S = 900

_TABLES = "SELECT name FROM system.tables WHERE database = 'fieldstream' AND engine LIKE '%MergeTree' ORDER BY name"

_ROLLUPS = """
SELECT count() AS buckets, countIf(k.count != t.n OR k.windows != t.windows_ OR k.min != t.lowest OR k.max != t.highest
    OR k.first != t.first_ OR k.last != t.last_ OR abs(k.mean - t.mean_) > 1e-9 * greatest(1, abs(t.mean_))
    OR abs(k.stddev - t.stddev_) > 1e-6 * greatest(1, abs(t.mean_))) AS wrong,
    toString(minIf(greatest(t.bucket_start, k.bucket_start), k.count != t.n)) AS earliest
FROM (WITH parts AS (SOURCE)
    SELECT MERGED FROM parts AS p GROUP BY device_id, metric, bucket_start) AS t
FULL JOIN (SELECT * FROM fieldstream.rollups WHERE width_s = {width:UInt32}) AS k
    ON k.device_id = t.device_id AND k.metric = t.metric AND k.bucket_start = t.bucket_start
WHERE greatest(t.bucket_start, k.bucket_start) + toIntervalSecond({width:UInt32}) < now64(3)
    - toIntervalSecond({settled:UInt32})
"""

# Windows are the stream's work and repair's: their count must be that of the readings.
_WINDOWS = """
SELECT countIf(w.count != t.n) AS wrong, count() AS windows, toString(minIf(t.at, w.count != t.n)) AS earliest
FROM (SELECT device_id, metric, toDateTime64(toStartOfInterval(ts, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC') AS at,
        toInt64(count()) AS n FROM fieldstream.readings
      WHERE stored_at < now64(3) - toIntervalSecond({settled:UInt32})
        AND ts < now64(3) - toIntervalSecond({settled:UInt32} + 10)
      GROUP BY device_id, metric, at) AS t
LEFT JOIN fieldstream.windows AS w ON w.device_id = t.device_id AND w.metric = t.metric AND w.window_start = t.at
"""


def verify(clickhouse: ClickHouse, *, settled_s: int = SETTLED_S) -> list[str]:
    """What is wrong, in sentences; empty: nothing. Reads everything. Raises ClickHouseError."""
    problems = []
    for row in clickhouse.rows(_TABLES):
        check = f"CHECK TABLE fieldstream.{row['name']} SETTINGS check_query_single_value_result = 0"
        for part in clickhouse.rows(check, settings=_SETTINGS):
            if not part["is_passed"]:
                problems.append(f"{row['name']}: part {part['part_path']} is damaged: {part['message']}")
    (found,) = clickhouse.rows(_WINDOWS, {"settled": settled_s}, _SETTINGS)
    if found["wrong"]:
        problems.append(
            f"windows: {found['wrong']} of {found['windows']} have not seen all their readings, "
            f"the earliest at {found['earliest']}; repair takes up what was stored late"
        )
    for width, below in LEVELS:
        sql = _ROLLUPS.replace("SOURCE", source(below)).replace("MERGED", MERGED)
        (found,) = clickhouse.rows(sql, {"width": width, "below": below, "settled": settled_s}, _SETTINGS)
        if found["wrong"]:
            problems.append(
                f"rollups of {width} s: {found['wrong']} of {found['buckets']} differ from what they are made of, "
                f"the earliest at {found['earliest']}"
            )
    return problems
