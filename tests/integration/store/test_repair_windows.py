"""Repair against windows computed anew in Python from what was stored."""

import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.migrate import migrate
from fieldstream_central.store.repair import Repair
from integration.store.rig import Store

READING = (
    "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, gateway_id, epoch, seq, received_at) VALUES "
)


@pytest.fixture
def clickhouse(store: Store) -> Iterator[ClickHouse]:
    migrate(store.url)
    with store.client() as client:
        for table in ("readings_data", "windows_data", "late_touches", "repair_progress", "assets_data"):
            client.execute(f"TRUNCATE TABLE fieldstream.{table}")
        yield client


def put(clickhouse: ClickHouse, readings: list[tuple[str, int, float]]) -> None:
    rows = ", ".join(
        f"('{device}', 'm', fromUnixTimestamp64Milli({ts}), {value!r}, 'g', 1, {number + 1}, "
        f"fromUnixTimestamp64Milli({ts + 5}))"
        for number, (device, ts, value) in enumerate(readings)
    )
    clickhouse.execute(READING + rows)


def expected(readings: list[tuple[str, int, float]]) -> dict[tuple[str, int], dict[str, Any]]:
    """The oracle: first accepted of an identity stands, then plain statistics."""
    series: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    for device, ts, value in readings:
        series[device, ts // 10_000 * 10_000].setdefault(ts, value)
    answer = {}
    for key, points in series.items():
        values = [points[ts] for ts in sorted(points)]
        answer[key] = {
            **{"count": len(values), "min": min(values), "max": max(values), "first": values[0], "last": values[-1]},
            **{"mean": statistics.fmean(values), "stddev": statistics.pstdev(values)},
            **{"first_ts": min(points), "last_ts": max(points), "revision": len(values)},
        }
    return answer


def stored(clickhouse: ClickHouse) -> dict[tuple[str, int], dict[str, Any]]:
    rows = clickhouse.rows(
        "SELECT device_id, toUnixTimestamp64Milli(window_start) AS start, count, min, max, first, last, mean, stddev, "
        "toUnixTimestamp64Milli(first_ts) AS first_ts, toUnixTimestamp64Milli(last_ts) AS last_ts, revision, "
        "toUnixTimestamp64Milli(window_end) - start AS width FROM fieldstream.windows"
    )
    assert all(row.pop("width") == 10_000 for row in rows)
    keyed = {(row.pop("device_id"), row.pop("start")): row for row in rows}
    assert len(keyed) == len(rows)
    return keyed


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(math.isclose(found[name], value, rel_tol=1e-12, abs_tol=1e-9) for name, value in wanted.items())


def settle(repair: Repair) -> None:
    for _ in range(50):
        if not repair.step().touches:
            return
    pytest.fail("repair does not come to an end")


def late_readings(seed: int, devices: int = 4, count: int = 2000) -> list[tuple[str, int, float]]:
    rng = random.Random(seed)
    base = int(time.time() * 1000) - 3 * 24 * 3600 * 1000
    found = [
        (f"d{rng.randrange(devices)}", base + rng.randrange(600_000), round(rng.gauss(20, 5), 2)) for _ in range(count)
    ]
    unique = {(device, ts): (device, ts, value) for device, ts, value in reversed(found)}
    return list(unique.values())


@pytest.mark.parametrize("seed", [1, 2])
def test_late_windows_equal_an_independent_recomputation_however_the_readings_arrive(
    clickhouse: ClickHouse, seed: int
) -> None:
    readings = late_readings(seed)
    repair = Repair(clickhouse, settled_after_s=0)
    for start in range(0, len(readings), 400):
        put(clickhouse, readings[start : start + 400])
        repair.step()
        if start == 800:
            repair = Repair(clickhouse, settled_after_s=0)  # as after a restart
    settle(repair)
    wanted, found = expected(readings), stored(clickhouse)
    assert found.keys() == wanted.keys()
    assert [key for key in wanted if not same(found[key], wanted[key])] == []


def test_repair_corrects_the_streams_window_and_a_stale_revision_does_not_come_back(clickhouse: ClickHouse) -> None:
    base = (int(time.time()) - 3600) // 10 * 10 * 1000
    readings = [("d", base + 1000 * number, float(number)) for number in range(6)]
    put(clickhouse, readings)
    stream = (
        "INSERT INTO fieldstream.windows_data (device_id, metric, window_start, window_end, count, mean, revision) "
        f"VALUES ('d', 'm', fromUnixTimestamp64Milli({base}), fromUnixTimestamp64Milli({base + 10_000}), 4, 1.5, 4)"
    )
    clickhouse.execute(stream)
    repair = Repair(clickhouse, settled_after_s=0)
    settle(repair)
    clickhouse.execute(stream)
    assert same(stored(clickhouse)["d", base], expected(readings)["d", base])


def test_doing_it_again_writes_nothing(clickhouse: ClickHouse) -> None:
    put(clickhouse, late_readings(3, count=300))
    settle(Repair(clickhouse, settled_after_s=0))
    rows = clickhouse.value("SELECT count() FROM fieldstream.windows_data")
    clickhouse.execute("TRUNCATE TABLE fieldstream.repair_progress")
    again = Repair(clickhouse, settled_after_s=0)
    first = again.step()
    settle(again)
    assert first.touches > 0
    assert first.rows == 0
    assert clickhouse.value("SELECT count() FROM fieldstream.windows_data") == rows


def test_readings_in_time_are_left_to_the_stream(clickhouse: ClickHouse) -> None:
    now = int(time.time() * 1000)
    put(clickhouse, [("d", now - 60_000 * minute, 1.0) for minute in range(9)])
    assert clickhouse.value("SELECT count() FROM fieldstream.late_touches") == 0
    put(clickhouse, [("d", now - 60_000 * 9 - 1000, 1.0)])
    assert clickhouse.value("SELECT count() FROM fieldstream.late_touches") == 1


def test_asset_and_limits_come_from_the_registry_and_are_empty_without(clickhouse: ClickHouse) -> None:
    clickhouse.execute(
        "INSERT INTO fieldstream.assets_data (device_id, metric, site, area, asset_id, asset_type, label, unit, "
        "low, high, updated_at, kafka_ts) VALUES ('d1', 'm', 'n', 'h', 'p1', 'pump', '', 'Cel', 1, 2, now64(3), 1)"
    )
    base = int(time.time() * 1000) - 3_600_000
    put(clickhouse, [("d1", base, 1.0), ("d2", base, 1.0)])
    settle(Repair(clickhouse, settled_after_s=0))
    rows = clickhouse.rows("SELECT device_id, asset_id, unit, low, high, high_high, origin FROM fieldstream.windows")
    assert sorted(rows, key=lambda row: str(row["device_id"])) == [
        {
            **{"device_id": "d1", "asset_id": "p1", "unit": "Cel", "low": 1, "high": 2, "high_high": None},
            "origin": "repair",
        },
        {
            **{"device_id": "d2", "asset_id": "", "unit": None, "low": None, "high": None, "high_high": None},
            "origin": "repair",
        },
    ]
