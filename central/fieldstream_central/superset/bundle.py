"""The bundle that Superset imports: a ZIP of YAML files, version 1.0.0 of its export format.

Identifiers are derived from names, so importing a newer bundle replaces the older one's objects.
"""

import json
import uuid
import zipfile
from pathlib import Path
from typing import Any

import yaml

from fieldstream_central.superset.charts import CHARTS, DATASETS, HOURS, Chart, Dataset

_ROOT = "fieldstream"
_VERSION = "1.0.0"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "superset.fieldstream")
_PERIOD = 'DATEADD(DATETIME("now"), -30, day) : now'
_ROW_LIMIT = 10_000


def write_bundle(path: Path, uri: str) -> None:
    """Writes the bundle. `uri`: SQLAlchemy address of the store, clickhousedb://user@host:port/fieldstream.

    A password does not belong in it: Superset asks for it at the import.
    """
    files = {
        "metadata.yaml": {"version": _VERSION, "type": "Dashboard", "timestamp": "2026-01-01T00:00:00+00:00"},
        "databases/Fieldstream.yaml": _database(uri),
        "dashboards/Fieldstream.yaml": _dashboard(),
    }
    files |= {f"datasets/Fieldstream/{dataset.name}.yaml": _dataset(dataset) for dataset in DATASETS}
    files |= {f"charts/{_slug(chart)}.yaml": _chart(chart) for chart in CHARTS}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(f"{_ROOT}/{name}", yaml.safe_dump(content, sort_keys=False))


def _id(kind: str, name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{kind}/{name}"))


def _slug(chart: Chart) -> str:
    return chart.title.replace(",", "").replace(" ", "_")


def _database(uri: str) -> dict[str, Any]:
    return {
        "database_name": "Fieldstream",
        "sqlalchemy_uri": uri,
        "expose_in_sqllab": True,
        "allow_run_async": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "extra": {"allows_virtual_table_explore": True},
        "uuid": _id("database", "Fieldstream"),
        "version": _VERSION,
    }


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "table_name": dataset.name,
        "main_dttm_col": dataset.time,
        "schema": "fieldstream",
        "sql": dataset.sql,
        "columns": [
            {"column_name": name, "type": kind, "is_dttm": kind == "DateTime", "groupby": True, "filterable": True}
            for name, kind in dataset.columns.items()
        ],
        "metrics": [{"metric_name": name, "expression": expression} for name, expression in dataset.metrics.items()],
        "uuid": _id("dataset", dataset.name),
        "version": _VERSION,
        "database_uuid": _id("database", "Fieldstream"),
    }


def _chart(chart: Chart) -> dict[str, Any]:
    time_filter = {
        "clause": "WHERE",
        "expressionType": "SIMPLE",
        "subject": chart.dataset.time,
        "operator": "TEMPORAL_RANGE",
        "comparator": _PERIOD,
    }
    params: dict[str, Any] = {"viz_type": chart.kind, "adhoc_filters": [time_filter], "row_limit": _ROW_LIMIT}
    params |= chart.more
    if chart.columns:
        params |= {"query_mode": "raw", "all_columns": list(chart.columns)}
        params["order_by_cols"] = [json.dumps([chart.columns[0], False])]
    elif chart.kind in ("pie", "big_number_total"):
        params |= {"metric": chart.metrics[0], "groupby": list(chart.by)}
    elif chart.kind == "table":
        params |= {"query_mode": "aggregate", "metrics": list(chart.metrics), "groupby": list(chart.by)}
    else:
        params |= {"metrics": list(chart.metrics), "groupby": list(chart.by), "x_axis": chart.dataset.time}
        params["time_grain_sqla"] = chart.grain
    return {
        "slice_name": chart.title,
        "viz_type": chart.kind,
        "params": params,
        "query_context": json.dumps(_query(chart, params)),
        "uuid": _id("chart", chart.title),
        "version": _VERSION,
        "dataset_uuid": _id("dataset", chart.dataset.name),
    }


def _query(chart: Chart, params: dict[str, Any]) -> dict[str, Any]:
    """The question that the chart asks, in the form in which it can be asked without a browser."""
    columns: list[Any] = list(chart.columns or chart.by)
    if chart.grain:
        axis = {"timeGrain": chart.grain, "columnType": "BASE_AXIS", "sqlExpression": chart.dataset.time}
        columns = [axis | {"label": chart.dataset.time, "expressionType": "SQL"}, *columns]
    query = {
        "filters": [{"col": chart.dataset.time, "op": "TEMPORAL_RANGE", "val": _PERIOD}],
        "columns": columns,
        "row_limit": _ROW_LIMIT,
    }
    # With metrics, even with none of them, Superset would group the rows.
    query |= {"orderby": [[chart.columns[0], False]]} if chart.columns else {"metrics": list(chart.metrics)}
    source = {"id": 0, "type": "table"}  # the import puts the dataset's number here
    return {
        "datasource": source,
        "queries": [query],
        "form_data": params,
        "result_format": "json",
        "result_type": "full",
    }


def _dashboard() -> dict[str, Any]:
    position: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": [], "parents": ["ROOT_ID"]},
        "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": "Fieldstream"}},
    }
    row, used = "", 12
    for number, chart in enumerate(CHARTS):
        if used + chart.width > 12:
            row, used = f"ROW-{number}", 0
            position["GRID_ID"]["children"].append(row)
            position[row] = {"type": "ROW", "id": row, "children": [], "parents": ["ROOT_ID", "GRID_ID"]}
            position[row]["meta"] = {"background": "BACKGROUND_TRANSPARENT"}
        used += chart.width
        key = f"CHART-{number}"
        position[row]["children"].append(key)
        meta: dict[str, Any] = {"width": chart.width, "height": 20 if chart.kind == "big_number_total" else 50}
        meta |= {"chartId": number, "uuid": _id("chart", chart.title), "sliceName": chart.title}
        position[key] = {
            "type": "CHART",
            "id": key,
            "children": [],
            "parents": ["ROOT_ID", "GRID_ID", row],
            "meta": meta,
        }
    return {
        "dashboard_title": "Fieldstream",
        "description": "Readings, alarms and dead letters of the chosen period and assets",
        "slug": "fieldstream",
        "uuid": _id("dashboard", "Fieldstream"),
        "position": position,
        "metadata": {"native_filter_configuration": _filters(), "color_scheme": "supersetColors"},
        "version": _VERSION,
        "published": True,
    }


def _filters() -> list[dict[str, Any]]:
    """Period and asset at the side of the dashboard; the asset narrows charts that have one."""
    scope = {"rootPath": ["ROOT_ID"], "excluded": []}
    period = {
        "id": "NATIVE_FILTER-period",
        "name": "Period",
        "filterType": "filter_time",
        "type": "NATIVE_FILTER",
        "targets": [{}],
        "defaultDataMask": {"extraFormData": {"time_range": _PERIOD}, "filterState": {"value": _PERIOD}},
        "cascadeParentIds": [],
        "scope": scope,
        "controlValues": {},
    }
    asset = period | {
        "id": "NATIVE_FILTER-asset",
        "name": "Asset",
        "filterType": "filter_select",
        "targets": [{"datasetUuid": _id("dataset", HOURS.name), "column": {"name": "asset_id"}}],
        "defaultDataMask": {"extraFormData": {}, "filterState": {}},
        "controlValues": {"multiSelect": True, "enableEmptyFilter": False, "searchAllOptions": False},
    }
    return [period, asset]
