"""Retention on the real engine: what has passed its time goes, what is coarser stays, and verify is not misled."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.migrate import migrate
from fieldstream_central.store.retention import Retention, apply_retention, current_ttl, kept_days
from fieldstream_central.store.verify import verify
from integration.store.rig import Store

# One reading and its window every ten days, for 600 days back.
_READINGS = """
INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, gateway_id, epoch, seq, received_at)
SELECT 'd', 'm', toDateTime64(today() - 10 - 10 * number, 3, 'UTC') + INTERVAL 7 SECOND AS at, number, 'g', 1,
    number + 1, at
FROM numbers(60)"""
_WINDOWS = """
INSERT INTO fieldstream.windows_data (device_id, metric, window_start, window_end, count, mean, stddev, min, max, first,
    last, first_ts, last_ts, revision)
SELECT device_id, metric, toStartOfDay(ts), toStartOfDay(ts) + INTERVAL 10 SECOND, 1, value, 0, value, value, value,
    value, ts, ts, 1 FROM fieldstream.readings"""
_ROLLUPS = """
INSERT INTO fieldstream.rollups_data (width_s, device_id, metric, bucket_start, windows, count, mean, stddev, min, max,
    first, last, first_ts, last_ts)
SELECT arrayJoin([60, 600, 3600, 86400]), device_id, metric, window_start, 1, count, mean, stddev, min, max, first,
    last, first_ts, last_ts FROM fieldstream.windows"""


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[ClickHouse]:
    store = Store(tmp_path)
    migrate(store.url)
    with store.client() as client:
        client.execute(_READINGS)
        client.execute(_WINDOWS)
        client.execute(_ROLLUPS)
        yield client
    assert store.process.stop() == 0


def rows_left(clickhouse: ClickHouse) -> dict[str, int]:
    for table in ("readings_data", "windows_data", "rollups_data"):
        clickhouse.execute(f"OPTIMIZE TABLE fieldstream.{table} FINAL")
    counts = {name: clickhouse.value(f"SELECT count() FROM fieldstream.{name}") for name in ("readings", "windows")}
    levels = clickhouse.rows("SELECT width_s, count() AS n FROM fieldstream.rollups GROUP BY width_s")
    return counts | {str(row["width_s"]): row["n"] for row in levels}


def test_old_readings_go_by_the_month_and_their_rollups_stay(clickhouse: ClickHouse) -> None:
    assert rows_left(clickhouse)["readings"] == 60
    changed = apply_retention(clickhouse, Retention())
    assert {"readings_data", "windows_data", "rollups_data"} <= set(changed)
    assert apply_retention(clickhouse, Retention()) == []
    left = rows_left(clickhouse)
    assert 39 <= left["readings"] <= 44
    assert left["windows"] == left["readings"]
    assert {left[width] for width in ("60", "600", "3600", "86400")} == {60}
    assert verify(clickhouse) == []


def test_a_rollup_that_is_off_is_found_while_what_it_was_made_of_is_kept(clickhouse: ClickHouse) -> None:
    apply_retention(clickhouse, Retention(readings=100, minutes=100))
    rows_left(clickhouse)
    assert verify(clickhouse) == []
    clickhouse.execute(
        "INSERT INTO fieldstream.rollups_data (width_s, device_id, metric, bucket_start, count, max, version) VALUES "
        "(60, 'd', 'm', toDateTime64(today() - 90, 3), 5, 9, 100), "
        "(60, 'd', 'm', toDateTime64(today() - 300, 3), 5, 9, 9)"
    )
    (problem,) = [one for one in verify(clickhouse) if one.startswith("rollups of 60 s")]
    assert problem.startswith("rollups of 60 s: 1 of ")


def test_retention_can_be_changed_and_taken_away(clickhouse: ClickHouse) -> None:
    apply_retention(clickhouse, Retention(readings=30))
    assert kept_days(clickhouse) == {0: 30, 60: 800, 600: 1850, 3600: 3700}
    apply_retention(clickhouse, Retention(readings=0, minutes=0, ten_minutes=0, hours=0, days=0))
    created = clickhouse.rows("SELECT create_table_query AS sql FROM system.tables WHERE name = 'readings_data'")
    assert current_ttl(created[0]["sql"]) == ""
    assert rows_left(clickhouse)["86400"] == 60
