"""Every question that the dashboards and alert rules ask, as a list: for tests, the store's bench and plain plots."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from fieldstream_central.grafana import asset, gateways, pipeline, plant, quality, sensor
from fieldstream_central.grafana.alerts import ALERTS
from fieldstream_central.grafana.macros import TimeRange, expand
from fieldstream_central.grafana.source import CLICKHOUSE_TYPE

BOARDS = (plant, asset, sensor, gateways, pipeline, quality)


@dataclass(frozen=True)
class Question:
    """One question: where it is asked, its text (`sql` of ClickHouse, else PromQL), and the panel's JSON."""

    dashboard: str
    name: str
    part: Literal["panel", "variable", "annotation", "alert"]
    sql: str
    promql: str
    panel: dict[str, Any]
    single: frozenset[str] = frozenset()

    def expanded(self, span: TimeRange, variables: Mapping[str, Sequence[str]]) -> str:
        """The SQL as it reaches ClickHouse; a variable of one value on this dashboard takes the first."""
        chosen = {name: values[:1] if name in self.single else values for name, values in variables.items()}
        return expand(self.sql, span, chosen)


def dashboards() -> dict[str, dict[str, Any]]:
    """The JSON of every dashboard by uid."""
    built = [json.loads(JSONEncoder(sort_keys=True).encode(module.board().build())) for module in BOARDS]
    return {board["uid"]: board for board in built}


def all_queries() -> list[Question]:
    """Every question of every panel, variable, annotation and alert rule."""
    found = [question for board in dashboards().values() for question in _of_board(board)]
    found += [Question("alerts", alert.name, "alert", alert.sql, "", {}) for alert in ALERTS]
    return found


def _of_board(board: dict[str, Any]) -> Iterator[Question]:
    title = board["title"]
    variables = board.get("templating", {}).get("list", [])
    single = frozenset(variable["name"] for variable in variables if not variable.get("multi"))
    for variable in variables:
        yield Question(title, variable["name"], "variable", variable["query"]["rawSql"], "", {}, single)
    for annotation in board.get("annotations", {}).get("list", []):
        yield Question(title, annotation["name"], "annotation", annotation["target"]["rawSql"], "", {}, single)
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            is_sql = target["datasource"]["type"] == CLICKHOUSE_TYPE
            sql, promql = (target["rawSql"], "") if is_sql else ("", target["expr"])
            yield Question(title, panel["title"], "panel", sql, promql, panel, single)
