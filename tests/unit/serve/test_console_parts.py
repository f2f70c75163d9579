"""What the console says, from figures alone."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fieldstream_central.serve.api.models import Point, Series
from fieldstream_central.serve.console import chart, texts, wording
from fieldstream_central.serve.console.hops import QUERIES, Extras, State, hops, sparkline

ALL_WELL = {
    **{"gateway_rate": 120.0, "spool": 4.0, "kafka_rate": 119.5, "pipeline_rate": 120.0, "pipeline_lag_s": 2.0},
    **{"pipeline_running": 1.0, "store_rate": 120.0, "store_lag_s": 0.4, "detect_rate": 12.0, "detect_lag_s": 2.0},
    **{"detect_running": 1.0, "incidents": 1.0, "store_lag": 3.0},
}


def cards(**changes: float) -> dict[str, Any]:
    return {hop.name: hop for hop in hops(ALL_WELL | changes, Extras(0.9, 3))}


def test_all_is_well() -> None:
    found = cards()
    assert list(found) == list(texts.HOPS)
    assert {hop.state for hop in found.values()} == {State.OK}
    assert found["store"].note == "p95 0.9 s from event"


def test_without_any_figures_nothing_is_claimed() -> None:
    found = hops({}, Extras())
    assert {hop.state for hop in found} == {State.UNKNOWN}
    assert {hop.figure for hop in found} == {"–"}


def test_a_stopped_job_is_trouble_even_without_lag() -> None:
    found = cards(detect_running=0.0)
    assert (found["detect"].state, found["detect"].note) == (State.TROUBLE, "stopped")
    assert found["pipeline"].state is State.OK


@pytest.mark.parametrize(
    ("waiting", "rate", "state"),
    [
        (400, 0.0, State.OK),
        (1000, 120.0, State.OK),
        (3000, 120.0, State.BEHIND),
        (30_000, 120.0, State.TROUBLE),
        (600, 0.0, State.TROUBLE),
    ],
)
def test_a_spool_is_judged_by_the_time_it_takes(waiting: float, rate: float, state: State) -> None:
    assert cards(spool=waiting, kafka_rate=rate)["gateway"].state is state


@pytest.mark.parametrize(("lag_s", "state"), [(2.0, State.OK), (30.0, State.BEHIND), (90.0, State.TROUBLE)])
def test_a_job_is_judged_by_seconds(lag_s: float, state: State) -> None:
    assert cards(pipeline_lag_s=lag_s)["pipeline"].state is state


def test_the_store_is_judged_by_seconds() -> None:
    assert cards(store_lag_s=30.0)["store"].state is State.BEHIND
    assert cards(store_lag_s=90.0)["store"].note == "90 s behind" or cards(store_lag_s=95.0)["store"].note
    assert cards(store_lag_s=90.0)["store"].state is State.TROUBLE


def test_both_names_of_the_job_label_are_asked_for() -> None:
    assert 'job="pipeline"' in QUERIES["pipeline_running"]
    assert 'exported_job="pipeline"' in QUERIES["pipeline_running"]


def test_a_sparkline_needs_two_values_and_skips_unknown_ones() -> None:
    assert sparkline([]) == ""
    assert sparkline([1.0, None]) == ""
    assert sparkline([0.0, 0.0]).count("polyline") == 1
    assert "nan" not in sparkline([1.0, None, 3.0])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.97, "10 s"), (42, "42 s"), (200, "3 min"), (7500, "2 h 05"), (400_000, "4 d")],
)
def test_ages(seconds: float, text: str) -> None:
    assert wording.age(seconds) == text


def test_values_have_their_units_as_people_write_them() -> None:
    assert wording.value(21.456, "Cel") == "21.46 °C"
    assert wording.value(None, "bar") == "–"
    assert wording.value(1_234_567.0) == "1,234,567"


def series(count: int = 5, step_s: int = 10) -> Series:
    start = datetime(2026, 5, 1, tzinfo=UTC).timestamp()
    return Series(
        device_id="d",
        metric="m",
        source="windows",
        resolution_s=10,
        points=[
            Point(ts=datetime.fromtimestamp(start + n * step_s, UTC), mean=n, min=n - 1, max=n + 2, count=9)
            for n in range(count)
        ],
    )


SPAN = (
    int(datetime(2026, 5, 1, tzinfo=UTC).timestamp() * 1000),
    int(datetime(2026, 5, 1, 1, tzinfo=UTC).timestamp() * 1000),
)


def anomaly(start: str, end: str | None, severity: str = "critical") -> dict[str, Any]:
    return {"started_at": start, "ended_at": end, "severity": severity}


def test_anomalies_outside_the_range_are_not_drawn_and_open_ones_reach_the_edge() -> None:
    found = [
        anomaly("2026-04-30T10:00:00Z", "2026-04-30T11:00:00Z"),
        anomaly("2026-05-01T00:10:00Z", None),
        anomaly("2026-04-30T23:00:00Z", "2026-05-01T00:05:00Z", "warning"),
    ]
    areas = chart.options(series(), {"unit": None}, found, SPAN, chart.DARK)["series"][2]["markArea"]["data"]
    assert [(area[0]["xAxis"], area[1]["xAxis"]) for area in areas] == [
        (SPAN[0] + 600_000, SPAN[1]),
        (SPAN[0], SPAN[0] + 300_000),
    ]


def test_only_limits_that_are_set_are_drawn() -> None:
    sensor = {"unit": "bar", "high": 5.0, "high_high": None, "low": 0.0}
    lines = chart.options(series(), sensor, [], SPAN, chart.LIGHT)["series"][2]["markLine"]["data"]
    assert sorted(line["yAxis"] for line in lines) == [0.0, 5.0]


def test_the_line_breaks_where_readings_are_missing() -> None:
    whole = series(20)
    holed = whole.model_copy(update={"points": whole.points[:8] + whole.points[16:]})
    data = chart.options(holed, {}, [], SPAN, chart.DARK)["series"][2]["data"]
    assert sum(value is None for _, value in data) == 1
    assert not any(value is None for _, value in chart.options(whole, {}, [], SPAN, chart.DARK)["series"][2]["data"])


def test_a_unit_cannot_put_markup_into_the_tooltip() -> None:
    made = chart.options(series(), {"unit": "<img src=x>'+alert(1)+'"}, [], SPAN, chart.DARK)["tooltip"][":formatter"]
    assert "<img" not in made
    assert "'+alert" not in made
