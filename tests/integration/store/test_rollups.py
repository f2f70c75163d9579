"""Roll-ups under corrections, against statistics computed anew in Python from the readings themselves."""

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
from fieldstream_central.store.rollup import LEVELS, Rollup
from fieldstream_central.store.verify import verify
from integration.store.rig import Store

BASE_MS = 1_779_926_400_000  # a midnight in UTC
Readings = list[tuple[str, int, float]]


@pytest.fixture
def clickhouse(store: Store) -> Iterator[ClickHouse]:
    migrate(store.url)
    with store.client() as client:
        for table in ("readings_data", "windows_data", "rollups_data", "rollup_touches", "repair_progress"):
            client.execute(f"TRUNCATE TABLE fieldstream.{table}")
        yield client


def windows_of(readings: Readings) -> dict[tuple[str, int], list[float]]:
    series: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    for device, ts, value in readings:
        series[device, ts // 10_000 * 10_000].append((ts, value))
    return {key: [value for _, value in sorted(points)] for key, points in series.items()}


def put_windows(clickhouse: ClickHouse, readings: Readings, only: set[tuple[str, int]] | None = None) -> None:
    """Windows as the stream sends them: each with what it has seen so far."""
    rows = []
    for (device, start), values in windows_of(readings).items():
        if only is not None and (device, start) not in only:
            continue
        stats = (statistics.fmean(values), statistics.pstdev(values), min(values), max(values), values[0], values[-1])
        moments = f"fromUnixTimestamp64Milli({start}), fromUnixTimestamp64Milli({start + 10_000})"
        seen = f"fromUnixTimestamp64Milli({start}), fromUnixTimestamp64Milli({start + 9_000})"
        figures = ", ".join(repr(one) for one in stats)
        rows.append(f"('{device}', 'm', {moments}, {len(values)}, {figures}, {seen}, {len(values)})")
    for first in range(0, len(rows), 3000):
        clickhouse.execute(
            "INSERT INTO fieldstream.windows_data (device_id, metric, window_start, window_end, count, mean, stddev, "
            f"min, max, first, last, first_ts, last_ts, revision) VALUES {', '.join(rows[first : first + 3000])}"
        )


def expected(readings: Readings, width_s: int) -> dict[tuple[str, int], dict[str, Any]]:
    buckets: dict[tuple[str, int], Readings] = defaultdict(list)
    width = width_s * 1000
    for reading in readings:
        buckets[reading[0], reading[1] // width * width].append(reading)
    answer = {}
    for key, members in buckets.items():
        members.sort(key=lambda reading: reading[1])
        values = [value for _, _, value in members]
        answer[key] = {
            **{"count": len(values), "min": min(values), "max": max(values), "first": values[0], "last": values[-1]},
            **{"mean": statistics.fmean(values), "stddev": statistics.pstdev(values)},
            "windows": len({ts // 10_000 for _, ts, _ in members}),
        }
    return answer


def stored(clickhouse: ClickHouse, width_s: int) -> dict[tuple[str, int], dict[str, Any]]:
    rows = clickhouse.rows(
        "SELECT device_id, toUnixTimestamp64Milli(bucket_start) AS at, count, min, max, first, last, mean, stddev, "
        "windows FROM fieldstream.rollups WHERE width_s = {width:UInt32}",
        {"width": width_s},
    )
    return {(row.pop("device_id"), row.pop("at")): row for row in rows}


def assert_right(clickhouse: ClickHouse, readings: Readings) -> None:
    for width_s, _ in LEVELS:
        wanted, found = expected(readings, width_s), stored(clickhouse, width_s)
        assert found.keys() == wanted.keys()
        wrong = [
            (key, name, found[key][name], value)
            for key, figures in wanted.items()
            for name, value in figures.items()
            if not math.isclose(found[key][name], value, rel_tol=1e-9, abs_tol=1e-9)
        ]
        assert wrong == []


def settle(rollup: Rollup) -> None:
    for _ in range(50):
        if not rollup.step().touches:
            return
    pytest.fail("roll-up does not come to an end")


def made_up(seed: int, count: int = 3000) -> Readings:
    rng = random.Random(seed)
    unique = {(f"d{rng.randrange(3)}", BASE_MS + rng.randrange(3 * 86_400_000)) for _ in range(count)}
    return [(device, ts, round(rng.gauss(1000, 3), 2)) for device, ts in sorted(unique)]


@pytest.mark.parametrize("seed", [1, 2])
def test_rollups_equal_a_recomputation_after_every_correction(clickhouse: ClickHouse, seed: int) -> None:
    readings = made_up(seed)
    rng = random.Random(seed)
    rng.shuffle(readings)
    rollup = Rollup(clickhouse, settled_after_s=0)
    for upto in (1000, 2000, 2200, len(readings)):
        new = readings[:upto]
        put_windows(clickhouse, new)
        if upto == 2000:
            rollup.step()  # a step that sees half of what comes, then a restart
            rollup = Rollup(clickhouse, settled_after_s=0)
        settle(rollup)
        assert_right(clickhouse, new)


def test_one_corrected_window_corrects_all_levels_above_it(clickhouse: ClickHouse) -> None:
    readings = made_up(4)
    put_windows(clickhouse, readings)
    rollup = Rollup(clickhouse, settled_after_s=0)
    settle(rollup)
    device, ts, _ = readings[700]
    readings.append((device, ts // 10_000 * 10_000 + 5, 123_456.0))
    put_windows(clickhouse, readings, only={(device, ts // 10_000 * 10_000)})
    settle(rollup)
    assert max(row["max"] for row in stored(clickhouse, 86_400).values()) == 123_456.0
    for width_s, _ in LEVELS:
        counts = {key: row["count"] for key, row in stored(clickhouse, width_s).items()}
        assert counts == {key: row["count"] for key, row in expected(readings, width_s).items()}


def test_an_old_revision_delivered_again_changes_nothing(clickhouse: ClickHouse) -> None:
    readings = made_up(5)
    put_windows(clickhouse, readings)
    rollup = Rollup(clickhouse, settled_after_s=0)
    settle(rollup)
    put_windows(clickhouse, readings[:1500])
    settle(rollup)
    assert_right(clickhouse, readings)


def test_verify_finds_a_rollup_that_is_off_and_says_which(clickhouse: ClickHouse) -> None:
    put_windows(clickhouse, made_up(6, count=400))
    settle(Rollup(clickhouse, settled_after_s=0))
    assert verify(clickhouse, settled_s=0) == []
    clickhouse.execute(
        "INSERT INTO fieldstream.rollups_data (width_s, device_id, metric, bucket_start, count, max, version) "
        f"VALUES (3600, 'd1', 'm', fromUnixTimestamp64Milli({BASE_MS + 3_600_000}), 5, 9, 1000000)"
    )
    (problem,) = [one for one in verify(clickhouse, settled_s=0) if "3600" in one]
    assert "1 of " in problem


def test_verify_finds_nothing_wrong_with_days_that_are_still_recent(clickhouse: ClickHouse) -> None:
    now_ms = int(time.time() * 1000)
    put_windows(clickhouse, [("d", now_ms - number * 1_200_000, float(number)) for number in range(1, 150)])
    settle(Rollup(clickhouse, settled_after_s=0))
    assert verify(clickhouse) == []


def test_verify_finds_a_window_that_is_off(clickhouse: ClickHouse) -> None:
    clickhouse.execute(
        "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, received_at) SELECT 'd', 'm', "
        f"fromUnixTimestamp64Milli({BASE_MS} + number * 1000), number, now64(3) FROM numbers(20)"
    )
    put_windows(clickhouse, [("d", BASE_MS + number * 1000, float(number)) for number in range(20)])
    settle(Rollup(clickhouse, settled_after_s=0))
    assert verify(clickhouse, settled_s=0) == []
    clickhouse.execute(
        "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, received_at) "
        f"VALUES ('d', 'm', fromUnixTimestamp64Milli({BASE_MS + 500}), 7, now64(3))"
    )
    (problem,) = verify(clickhouse, settled_s=0)
    assert problem.startswith("windows: 1 ")
