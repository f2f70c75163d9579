"""Floods and load after ISA-18.2 and EEMUA 191."""

import pytest
from fieldstream_central.serve.alarm_health import BUCKET_MS, Bucket, Flood, find_floods, load_of
from fieldstream_central.serve.console.chart import LIGHT, load_options


def buckets(*counts: int) -> list[Bucket]:
    """Ten minutes each; what had no alarm is left out, as the store leaves it out."""
    return [Bucket(number * BUCKET_MS, count) for number, count in enumerate(counts) if count]


def test_a_flood_begins_above_ten_in_ten_minutes_and_ends_below_five() -> None:
    assert find_floods(buckets(10, 11, 6, 5, 4, 9)) == [Flood(BUCKET_MS, 4 * BUCKET_MS, 22, 11)]


def test_a_silent_bucket_ends_a_flood_and_the_last_one_may_still_run() -> None:
    assert [(flood.start // BUCKET_MS, flood.alarms) for flood in find_floods(buckets(20, 0, 30, 8))] == [
        (0, 20),
        (2, 38),
    ]


def test_two_operators_bear_twice_as_much() -> None:
    assert find_floods(buckets(20, 20), operators=2) == []
    assert len(find_floods(buckets(21, 9, 21), operators=2)) == 2


@pytest.mark.parametrize(
    ("average", "load"),
    [(0.0, "acceptable"), (1.0, "acceptable"), (1.5, "manageable"), (4.0, "over-demanding"), (10.1, "unacceptable")],
)
def test_the_load_has_the_name_that_eemua_gives_it(average: float, load: str) -> None:
    assert load_of(average) == load


def test_the_chart_has_a_bar_for_every_ten_minutes_so_that_its_axis_is_the_range() -> None:
    begun = [{"start": 3 * BUCKET_MS, "alarms": 7}]
    health = {"start": BUCKET_MS + 1, "end": 5 * BUCKET_MS, "peak": 7, "operators": 1, "buckets": begun}
    (series,) = load_options(health, LIGHT)["series"]
    assert series["data"] == [[BUCKET_MS, 0], [2 * BUCKET_MS, 0], [3 * BUCKET_MS, 7], [4 * BUCKET_MS, 0]]
