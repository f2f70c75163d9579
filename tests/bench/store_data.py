"""A year of readings made inside ClickHouse, in our tables and in a naive one."""

from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.rollup import LEVELS, MERGED, source
from fieldstream_central.store.verify import spans

SENSORS = 320
_SETTINGS: dict[str, object] = {"max_execution_time": 7200, "max_bytes_before_external_group_by": 400_000_000}
YEAR_S = 365 * 86_400

# As somebody would write it down at first: no codecs, plain strings, ordered by time.
NAIVE = """
CREATE TABLE naive (device_id String, metric String, ts DateTime64(3, 'UTC'), value Float64, unit Nullable(String),
    quality String, flags Int32, gateway_id String, epoch Int64, seq Int64, received_at DateTime64(3, 'UTC'),
    site String, area String, asset_id String, asset_type String, operator_pseudonym Nullable(String),
    processed_at DateTime64(3, 'UTC'), lateness_ms Nullable(Int64), stored_at DateTime64(3, 'UTC'))
ENGINE = MergeTree ORDER BY ts
"""

# Daily and weekly course, noise, two decimals, jitter of the clock and of the way, as a plant's sensors have them.
_ROW = """
SELECT concat('device-', leftPad(toString(intDiv(sensor, 4)), 3, '0')) AS device_id,
    ['temperature', 'pressure', 'vibration', 'current'][sensor % 4 + 1] AS metric,
    fromUnixTimestamp64Milli(toInt64({start_ms:Int64} + turn * {step_ms:Int64} + rand(1) % 40), 'UTC') AS ts,
    round(50 + sensor % 7 + 5 * sin(turn * {step_ms:Int64} / 13750987 + sensor)
        + (toFloat64(rand(2)) / 4294967296 + toFloat64(rand(3)) / 4294967296 - 1) * 0.6, 2) AS value,
    'Cel' AS unit, 'good' AS quality, 0 AS flags, concat('gw-', toString(sensor % 8)) AS gateway_id,
    1700000000000 AS epoch, toInt64(turn * 40 + intDiv(sensor, 8) + 1) AS seq,
    ts + toIntervalMillisecond(5 + rand(4) % 30) AS received_at, 'north' AS site, 'hall-1' AS area,
    concat('asset-', toString(intDiv(sensor, 8))) AS asset_id, 'pump' AS asset_type,
    NULL AS operator_pseudonym, received_at + toIntervalMillisecond(50 + rand(5) % 300) AS processed_at,
    NULL AS lateness_ms, processed_at + toIntervalMillisecond(rand(6) % 900) AS stored_at
FROM (SELECT intDiv(number, {sensors:UInt64}) AS turn, number % {sensors:UInt64} AS sensor
    FROM numbers({first:UInt64}, {count:UInt64}))
"""
COLUMNS = (
    "device_id, metric, ts, value, unit, quality, flags, gateway_id, epoch, seq, received_at, site, area, asset_id, "
    "asset_type, operator_pseudonym, processed_at, lateness_ms, stored_at"
)


def fill(clickhouse: ClickHouse, table: str, first: int, count: int, *, start_ms: int, step_ms: int) -> None:
    """`count` rows from number `first` on: sensor after sensor, turn after turn."""
    params = {"start_ms": start_ms, "step_ms": step_ms, "first": first, "count": count, "sensors": SENSORS}
    clickhouse.execute(f"INSERT INTO {table} ({COLUMNS}) {_ROW}", params, _SETTINGS)


_WINDOWS = """
INSERT INTO fieldstream.windows_data (device_id, metric, window_start, window_end, asset_id, unit, count, mean,
    stddev, min, max, first, last, first_ts, last_ts, revision)
SELECT device_id, metric, toDateTime64(toStartOfInterval(ts, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC') AS w,
    w + INTERVAL 10 SECOND, any(asset_id), any(unit), count(), avg(value), stddevPop(value), min(value), max(value),
    argMin(value, ts), argMax(value, ts), min(ts), max(ts), count()
FROM fieldstream.readings_data
WHERE ts >= fromUnixTimestamp({from:Int64}) AND ts < fromUnixTimestamp({to:Int64}) GROUP BY device_id, metric, w
"""


def make_windows(clickhouse: ClickHouse, from_s: int, to_s: int) -> None:
    """Windows of the readings of a span, as the stream writes them."""
    clickhouse.execute(
        _WINDOWS,
        {"from": from_s, "to": to_s},
        _SETTINGS,
    )


_ROLLUPS = """
INSERT INTO fieldstream.rollups_data (width_s, device_id, metric, bucket_start, asset_id, unit, windows, count, mean,
    stddev, min, max, first, last, first_ts, last_ts)
WITH parts AS (SOURCE AND at >= {day:Date} AND at < {end:Date})
SELECT {width:UInt32}, device_id, metric, bucket_start, asset, unit_, windows_, n, mean_, stddev_, lowest, highest,
    first_, last_, first_ts_, last_ts_
FROM (SELECT MERGED FROM parts AS p GROUP BY device_id, metric, bucket_start)
"""


def make_rollups(clickhouse: ClickHouse) -> None:
    """All roll-ups, some days at a time, by the same arithmetic as upkeep's."""
    days = spans(clickhouse)
    for (day, end), (width, below) in [(span, level) for level in LEVELS for span in days]:
        clickhouse.execute(
            _ROLLUPS.replace("SOURCE", source(below)).replace("MERGED", MERGED),
            {"width": width, "below": below, "day": day, "end": end},
            _SETTINGS,
        )
    clickhouse.execute("TRUNCATE TABLE fieldstream.rollup_touches")
    clickhouse.execute("TRUNCATE TABLE fieldstream.late_touches")
