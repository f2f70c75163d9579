"""The oracle must see each kind of defect; a stand-in for ClickHouse answers with rows made by hand."""

from pathlib import Path
from typing import Any

import pytest
from local import oracle

T0 = 1_700_000_000_000


class HandMadeStore(oracle.Store):
    """Answers with the rows given for the table that the query names."""

    def __init__(self, **tables: list[dict[str, Any]]) -> None:
        super().__init__("http://unused")
        self.tables = tables

    def query(self, sql: str) -> list[dict[str, Any]]:
        return next(rows for name, rows in self.tables.items() if f"fieldstream.{name} " in sql)


@pytest.fixture
def truth(tmp_path: Path) -> oracle.Truth:
    lines = ["device_id,metric,ts,value,published_at_ms,acked_at_ms"]
    lines += [f"d,m,{T0 + 1000 * n},{n}.0,{T0},{T0 + 5}" for n in range(3)]
    lines += [f"d,m,{T0 + 3000},3.0,{T0},", "d,m,17000"]  # one never acknowledged, one line cut by a kill
    (tmp_path / "published.csv").write_text("\n".join(lines))
    (tmp_path / "faults.csv").write_text(
        f"device_id,metric,asset_id,kind,amplitude_sigma,start,end\nd,m,a,stuck,8,{T0},{T0 + 2000}\n"
    )
    return oracle.Truth.read([tmp_path])


def reading(n: int, value: float | None = None) -> dict[str, Any]:
    return {"device_id": "d", "metric": "m", "t": T0 + 1000 * n, "value": float(n) if value is None else value}


def test_truth_separates_acknowledged_from_published(truth: oracle.Truth) -> None:
    assert truth.published == 4
    assert len(truth.acknowledged) == 3


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([0, 1, 2], {"missing": 0, "duplicates": 0, "unexpected": 0}),
        ([0, 1, 2, 3], {"missing": 0, "duplicates": 0, "unexpected": 0}),
        ([0, 2], {"missing": 1, "duplicates": 0, "unexpected": 0}),
        ([0, 1, 1, 2], {"missing": 0, "duplicates": 1, "unexpected": 0}),
        ([0, 1, 2, 9], {"missing": 0, "duplicates": 0, "unexpected": 1}),
    ],
)
def test_readings_are_counted_against_the_truth(truth: oracle.Truth, rows: list[int], expected: dict[str, int]) -> None:
    found = oracle.check_readings(truth, HandMadeStore(readings=[reading(n) for n in rows]))
    assert expected.items() <= found.items()


def test_an_altered_value_is_seen(truth: oracle.Truth) -> None:
    store = HandMadeStore(readings=[reading(0), reading(1, 1.5), reading(2)])
    assert oracle.check_readings(truth, store)["altered"] == 1


def window(**changes: Any) -> dict[str, Any]:
    row = {"device_id": "d", "metric": "m", "t": T0 // 10_000 * 10_000, "count": 3, "mean": 1.0, "min": 0.0, "max": 2.0}
    return row | {"stddev": (2 / 3) ** 0.5, "first": 0.0, "last": 2.0} | changes


@pytest.mark.parametrize(
    ("windows", "wrong"),
    [
        ([window()], 0),
        ([window(count=4)], 1),
        ([window(mean=1.0001)], 1),
        ([window(last=1.0)], 1),
        ([], 1),
        ([window(), window(t=T0 // 10_000 * 10_000 + 10_000)], 1),
    ],
)
def test_windows_are_recomputed(truth: oracle.Truth, windows: list[dict[str, Any]], wrong: int) -> None:
    store = HandMadeStore(readings=[reading(n) for n in range(3)], windows=windows)
    assert oracle.check_windows(truth, store) == {"windows_checked": 1, "windows_wrong": wrong}


def anomaly(**changes: Any) -> dict[str, Any]:
    row = {"anomaly_id": "x", "device_id": "d", "metric": "m", "asset_id": "a", "kind": "stuck", "reason": "r"}
    return row | {"started": T0, "detected": T0 + 1000} | changes


def test_an_alarm_on_another_sensor_finds_nothing_and_is_false(truth: oracle.Truth) -> None:
    found = oracle.check_anomalies(truth, HandMadeStore(anomalies=[anomaly(device_id="e", asset_id="b")]))
    assert (found["faults_found"], found["false_alarms"]) == (0, 1)


def test_an_alarm_on_the_sensor_finds_the_fault(truth: oracle.Truth) -> None:
    found = oracle.check_anomalies(truth, HandMadeStore(anomalies=[anomaly(), anomaly(kind="gap")]))
    assert (found["faults_found"], found["false_alarms"]) == (1, 0)


def test_an_alarm_before_the_fault_is_false(truth: oracle.Truth) -> None:
    early = anomaly(started=T0 - 60_000, detected=T0 - 50_000)
    assert oracle.check_anomalies(truth, HandMadeStore(anomalies=[early]))["false_alarms"] == 1
