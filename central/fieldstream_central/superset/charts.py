"""What analysts start from: datasets on the store's views, and charts on them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Dataset:
    """A table of the store as Superset sees it. `sql`: a virtual one; `metrics`: name -> expression."""

    name: str
    time: str
    columns: dict[str, str]
    metrics: dict[str, str]
    sql: str | None = None


@dataclass(frozen=True)
class Chart:
    """A chart: kind of Superset's plugins, what is measured, by what it is split, and how wide it is (of 12)."""

    title: str
    dataset: Dataset
    kind: str
    metrics: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    grain: str | None = None
    columns: tuple[str, ...] = ()
    width: int = 6
    more: dict[str, Any] = field(default_factory=dict)


_PLACE = {"site": "String", "area": "String", "asset_id": "String"}

HOURS = Dataset(
    "hourly",
    "bucket_start",
    {"bucket_start": "DateTime", "device_id": "String", "metric": "String", "unit": "String", "count": "Int64"}
    | {"mean": "Float64", "min": "Float64", "max": "Float64", "stddev": "Float64"}
    | _PLACE,
    {
        "readings": "sum(count)",
        "mean_value": "sum(mean * count) / sum(count)",
        "lowest": "min(min)",
        "highest": "max(max)",
    },
    sql="SELECT r.bucket_start AS bucket_start, r.device_id AS device_id, r.metric AS metric, r.unit AS unit, "
    "r.count AS count, r.mean AS mean, r.min AS min, r.max AS max, r.stddev AS stddev, a.site AS site, "
    "a.area AS area, r.asset_id AS asset_id FROM fieldstream.rollups AS r LEFT JOIN fieldstream.assets AS a "
    "ON a.device_id = r.device_id AND a.metric = r.metric WHERE r.width_s = 3600",
)
ANOMALIES = Dataset(
    "anomalies",
    "detected_at",
    {"detected_at": "DateTime", "started_at": "DateTime", "ended_at": "DateTime", "device_id": "String"}
    | {"metric": "String", "detector": "String", "kind": "String", "severity": "String", "state": "String"}
    | {"reason": "String", "observed": "Float64", "expected": "Float64"}
    | _PLACE,
    {"alarms": "countIf(NOT shadow)", "open_alarms": "countIf(NOT shadow AND state != 'close')"},
)
READINGS = Dataset(
    "readings",
    "ts",
    {"ts": "DateTime", "device_id": "String", "metric": "String", "value": "Float64", "quality": "String"} | _PLACE,
    {"readings": "count()", "mean_value": "avg(value)"},
)
DEAD_LETTERS = Dataset(
    "dead_letters",
    "received_at",
    {"received_at": "DateTime", "reason": "String", "detail": "String", "origin": "String", "gateway_id": "String"},
    {"letters": "count()"},
)
DATASETS = (HOURS, ANOMALIES, READINGS, DEAD_LETTERS)

CHARTS = (
    Chart("Readings in the period", HOURS, "big_number_total", ("readings",), width=3),
    Chart("Alarms in the period", ANOMALIES, "big_number_total", ("alarms",), width=3),
    Chart("Open alarms", ANOMALIES, "big_number_total", ("open_alarms",), width=3),
    Chart("Dead letters in the period", DEAD_LETTERS, "big_number_total", ("letters",), width=3),
    Chart(
        "Mean by sensor", HOURS, "echarts_timeseries_line", ("mean_value",), ("device_id", "metric"), "PT1H", width=12
    ),
    Chart(
        "Readings by asset",
        HOURS,
        "echarts_timeseries_bar",
        ("readings",),
        ("asset_id",),
        "PT1H",
        more={"stack": "Stack"},
    ),
    Chart(
        "Alarms by severity",
        ANOMALIES,
        "echarts_timeseries_bar",
        ("alarms",),
        ("severity",),
        "PT1H",
        more={"stack": "Stack"},
    ),
    Chart("Alarms by kind", ANOMALIES, "pie", ("alarms",), ("kind",), more={"show_total": True}),
    Chart("Dead letters by reason", DEAD_LETTERS, "pie", ("letters",), ("reason",)),
    Chart(
        "Lowest, mean, highest",
        HOURS,
        "table",
        ("lowest", "mean_value", "highest", "readings"),
        ("device_id", "metric", "unit"),
        width=12,
    ),
    Chart(
        "Alarms, the newest first",
        ANOMALIES,
        "table",
        columns=("detected_at", "severity", "asset_id", "device_id", "metric", "kind", "reason"),
        width=12,
    ),
)
