"""Grafana's dashboards without Grafana: every question on the real engines, every JSON through the SDK's types."""

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fieldstream_central.grafana.macros import MacroError, TimeRange, expand
from fieldstream_central.grafana.provision import Addresses, PushError, push, write
from fieldstream_central.grafana.queries import Question, all_queries, dashboards
from fieldstream_central.grafana.render import Sources, render
from fieldstream_central.grafana.variables import NoSensorError, choose
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from integration.serve.conftest import Scene

QUESTIONS = all_queries()
ADDRESSES = Addresses("127.0.0.1", 8123, "http://127.0.0.1:9090", "http://127.0.0.1:9093")


def named(question: Question) -> str:
    return f"{question.dashboard}-{question.part}-{question.name}"


def last(hours: float, points: int = 1000) -> TimeRange:
    now = time.time_ns() // 1_000_000
    return TimeRange(now - round(hours * 3_600_000), now, points)


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q.sql], ids=named)
@pytest.mark.parametrize("hours", [1 / 12, 1.5, 24 * 30, 24 * 366], ids=["5min", "90min", "month", "year"])
def test_every_sql_question_answers_on_the_engine(scene: Scene, question: Question, hours: float) -> None:
    clickhouse = scene.plant.plant.clickhouse
    rows = clickhouse.rows(question.expanded(last(hours), choose(clickhouse)))
    if hours == 1.5:
        assert rows, question.sql
        assert any(value is not None for value in rows[0].values())


@pytest.mark.parametrize("question", [q for q in QUESTIONS if q.promql], ids=named)
def test_every_promql_question_is_taken_by_prometheus(scene: Scene, question: Question) -> None:
    answer = httpx.get(f"{scene.prometheus}/api/v1/query", params={"query": question.promql}).json()
    assert answer["status"] == "success", answer


def test_every_dashboard_survives_the_sdks_types() -> None:
    register_default_plugins()
    for uid, board in dashboards().items():
        again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(board)))
        for one in (board, again):  # the SDK has no type for a data source's own annotation query
            for annotation in one.get("annotations", {}).get("list", []):
                annotation.pop("target")
        assert again == board, uid


def test_no_panel_overlaps_another_and_ids_are_unique() -> None:
    for uid, board in dashboards().items():
        cells = [
            (x, y)
            for panel in board["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells)), uid
        assert max(x for x, _ in cells) < 24
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]), uid


def test_every_link_between_dashboards_names_one_that_exists() -> None:
    text = json.dumps(dashboards())
    linked = set(re.findall(r"/d/([a-z-]+)", text))
    assert linked
    assert linked <= dashboards().keys()


def test_provisioning_files_hold_every_part_and_no_password(tmp_path: Path) -> None:
    import yaml

    written = {path.relative_to(tmp_path).as_posix(): path for path in write(tmp_path, ADDRESSES)}
    assert {f"dashboards/fieldstream/{uid}.json" for uid in dashboards()} <= written.keys()
    sources = yaml.safe_load(written["datasources/fieldstream.yaml"].read_text())["datasources"]
    known = {source["uid"] for source in sources} | {"__expr__"}
    assert sources[0]["secureJsonData"]["password"].startswith("$")
    (group,) = yaml.safe_load(written["alerting/rules.yaml"].read_text())["groups"]
    for rule in group["rules"]:
        assert {query["datasourceUid"] for query in rule["data"]} <= known
        assert rule["condition"] in {query["refId"] for query in rule["data"]}
        assert rule["annotations"]["runbook_url"].endswith(rule["uid"].removeprefix("fieldstream-"))
    (point,) = yaml.safe_load(written["alerting/contact-points.yaml"].read_text())["contactPoints"]
    (policy,) = yaml.safe_load(written["alerting/policies.yaml"].read_text())["policies"]
    assert policy["receiver"] == point["name"]


def test_pushing_names_the_dashboard_that_grafana_refuses_and_an_address_nobody_answers(scene: Scene) -> None:
    with pytest.raises(PushError, match="refused the dashboard 'Plant overview' with status 40"):
        push(scene.prometheus, "no-token")  # a server that is not Grafana
    with pytest.raises(PushError, match="cannot be reached"):
        push("http://127.0.0.1:9", "no-token")


def test_what_every_panel_shows_can_be_drawn(scene: Scene, tmp_path: Path) -> None:
    clickhouse = scene.plant.plant.clickhouse
    drawn = render(Sources(clickhouse, scene.prometheus), tmp_path, last(1.5), choose(clickhouse))
    assert {path.stem for path in drawn} == {
        board["title"].lower().replace(" ", "-") for board in dashboards().values()
    }
    assert all(path.stat().st_size > 20_000 for path in drawn)


def test_a_sensor_that_nobody_registered_is_named(scene: Scene) -> None:
    with pytest.raises(NoSensorError, match="feed-pump-9/speed"):
        choose(scene.plant.plant.clickhouse, "feed-pump-9/speed")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("$__timeFilter(ts)", "ts >= toDateTime(1000) AND ts <= toDateTime(4600)"),
        ("$__timeFilter_ms(ts)", "ts >= fromUnixTimestamp64Milli(1000500) AND ts <= fromUnixTimestamp64Milli(4600500)"),
        ("$__timeInterval(ts)", "toStartOfInterval(toDateTime(ts), INTERVAL 5 second)"),
        ("$__timeInterval_ms(ts)", "toStartOfInterval(toDateTime64(ts, 3), INTERVAL 5000 millisecond)"),
        ("$__interval_s", "5"),
        ("$__fromTime, $__toTime_ms", "toDateTime(1000), fromUnixTimestamp64Milli(4600500)"),
        ("${site:sqlstring}", "'north','o''hara'"),
    ],
)
def test_macros_are_expanded_as_the_plugin_does(sql: str, expected: str) -> None:
    variables: dict[str, Any] = {"site": ["north", "o'hara"]}
    assert expand(sql, TimeRange(1_000_500, 4_600_500), variables) == expected


def test_a_macro_that_is_not_known_is_named() -> None:
    with pytest.raises(MacroError, match="__timeFlter"):
        expand("$__timeFlter(ts)", TimeRange(0, 1), {})
