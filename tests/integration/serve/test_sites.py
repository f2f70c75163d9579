"""A token that sees some sites only: every path of the API is asked about another site, and tells nothing of it."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fieldstream_central.audit_log.log import AuditLog
from fieldstream_central.serve.api.access import BY_SITE, add_token
from fieldstream_central.serve.api.app import create_app
from fieldstream_central.serve.api.examples import ANOMALY, DEVICE, METRIC, example_of
from fieldstream_central.serve.sites import table_filters
from fieldstream_central.settings import Settings
from integration.serve.conftest import Scene, Visitor
from integration.serve.shift import Shift
from integration.store.rig import eventually
from playwright.sync_api import Browser, expect

# South's press: its texts and its value appear nowhere else, and no question names them.
PRESS, EPISODE, ALARM = "south-press", "south-1", "south-press/force/limit"
MARKS = ("hidden", "31337")
PREFIX = "/api/v1"
WORK = {"asset_id": "hidden-asset", "start": 1, "end": 1 + 3_600_000, "note": "hidden work"}
PATHS = {
    (f"{method.upper()} {path}"): path for path, methods in create_app(Settings()).openapi()["paths"].items()
    for method in methods
}  # fmt: skip
# What has no example, as it needs Kafka; and what changes something: south may, north may not.
KAFKA = {"/alarms": "/alarms", "/incidents/{alarm_id}": f"/incidents/{ALARM}", "/maintenance": "/maintenance"}
ACTS: dict[str, tuple[str, Any]] = {
    "POST /alarms/actions": (
        "/alarms/actions",
        {"action": "comment", "comment": "seen", "alarms": [{"alarm_id": ALARM}]},
    ),
    "PUT /maintenance/{maintenance_id}": ("/maintenance/press", WORK | {"note": "hidden work again"}),
    "POST /maintenance/{maintenance_id}/end": ("/maintenance/press/end", None),
}


@pytest.fixture(scope="module")
def south(shift: Shift, scene: Scene) -> Iterator[Shift]:
    """The plant in the north, and a press in the south behind one of its gateways."""
    for name in ("north", "south"):
        file = shift.settings.api_tokens_file
        shift.tokens[name] = add_token(file, f"the-{name}", "admin", sites=[name])
    sensor, place = "'south-press', 'force'", "'south', 'hall-2', 'hidden-asset', 'press'"
    hour = "toStartOfHour(now64(3)) - INTERVAL 3 HOUR"
    with scene.store.client() as clickhouse:
        for sql in (
            "assets_data (device_id, metric, site, area, asset_id, asset_type, label, unit, updated_at, kafka_ts) "
            f"VALUES ({sensor}, {place}, 'hidden press', 'N', now64(3), 1)",
            "readings_data (device_id, metric, site, area, asset_id, asset_type, ts, value, unit, gateway_id, epoch, "
            f"seq, received_at) SELECT {sensor}, {place}, now64(3) - INTERVAL number + 1 SECOND, 31337, 'hidden N', "
            f"'gw-east', {scene.plant.plant.epoch}, 1000000 + number, now64(3) FROM numbers(60)",
            "windows_data (device_id, metric, site, area, asset_id, asset_type, window_start, window_end, count, mean, "
            "stddev, min, max, first, last, first_ts, last_ts, revision, origin) SELECT "
            f"{sensor}, {place}, now64(3) - INTERVAL 1 MINUTE AS at, at + INTERVAL 10 SECOND, 10, 31337, 0, 31337, "
            "31337, 31337, 31337, at, at, 10, 'repair'",
            "rollups_data (width_s, device_id, metric, bucket_start, asset_id, windows, count, mean, stddev, min, max, "
            f"first, last, first_ts, last_ts) SELECT 3600, {sensor}, {hour} AS at, 'hidden-asset', 1, 10, 31337, 0, "
            "31337, 31337, 31337, 31337, at, at",
        ):
            clickhouse.execute(f"INSERT INTO fieldstream.{sql}")
    about: dict[str, Any] = {"metric": "force", "asset_id": "hidden-asset", "site": "south", "area": "hall-2"}
    shift.episode(EPISODE, device=PRESS, severity="critical", reason="hidden reason", **about)
    eventually(lambda: shift.state(ALARM))
    mark = {"action": "mark", "mark": "useful", "alarms": [{"alarm_id": ALARM}], "comment": "hidden comment"}
    shift.api("POST", "/alarms/actions", json=mark)
    now = time.time_ns() // 1_000_000
    shift.api("PUT", "/maintenance/press", json=WORK | {"start": now, "end": now + 3_600_000})
    eventually(lambda: ask(shift, "south", "/caller").is_success, what="the API has read the new tokens")
    eventually(lambda: "hidden" in ask(shift, "south", f"/anomalies/{EPISODE}").text, what="the episode is stored")
    eventually(lambda: ALARM in ask(shift, "south", "/alarms/feedback").text, what="the mark is stored")
    yield shift


def ask(shift: Shift, role: str, path: str, method: str = "GET", body: Any = None) -> httpx.Response:
    """The answer; of one that does not end the beginning."""
    headers = {"Authorization": f"Bearer {shift.tokens[role]}"}
    url = f"{shift.settings.api}{PREFIX}{path}"
    with httpx.stream(method, url, headers=headers, json=body, timeout=30) as answer:
        answer._content = next(answer.iter_raw()) if "/live/" in path and answer.is_success else answer.read()
    return answer


def about_south(path: str) -> str:
    """The question that the reference shows, about the press."""
    example = KAFKA.get(path) or example_of(PREFIX + path).removeprefix(PREFIX)
    for ours, theirs in ((DEVICE, PRESS), (METRIC, "force"), (ANOMALY, EPISODE), ("north", "south")):
        example = example.replace(ours, theirs)
    return example


READS = sorted(path.removeprefix(PREFIX) for call, path in PATHS.items() if call.startswith("GET /api"))


def known(path: str) -> bool:
    return path.replace("{alarm_id}", "{alarm_id:path}") in BY_SITE


@pytest.mark.parametrize("path", [path for path in READS if known(path)])
def test_another_sites_token_learns_nothing_and_its_own_reads_it(south: Shift, path: str) -> None:
    question = about_south(path)
    mine = ask(south, "south", question)
    assert mine.status_code == 200, mine.text
    tells = any(mark in mine.text for mark in (*MARKS, "south"))
    assert tells or path == "/live/readings" or mine.json()["readings" if path == "/trust" else "alarms"] > 0
    for asked in {question, question.partition("?")[0], question.replace("site=south", "")}:
        other = ask(south, "north", asked)
        if PRESS in asked or EPISODE in asked:
            assert other.status_code in (403, 404) or other.json() == {"items": [], "next_cursor": None}, other.text
        else:
            assert PRESS not in other.text
        assert not any(mark in other.text for mark in MARKS), other.text


@pytest.mark.parametrize("path", [path for path in READS if not known(path)])
def test_what_is_of_the_whole_plant_is_refused_in_words(south: Shift, path: str) -> None:
    answer = ask(south, "south", about_south(path))
    assert answer.status_code == 403
    assert "the token of the-south is for its sites alone: south" in answer.json()["detail"]


def test_whole_answers_of_both_sites_differ_by_the_other_site_alone(south: Shift) -> None:
    def alarms(role: str) -> set[str]:
        return {one["alarm_id"] for one in ask(south, role, "/alarms").json()}

    def load(role: str) -> int:
        return int(ask(south, role, "/alarm-health").json()["severities"].get("critical", 0))

    assert alarms("south") == {ALARM}
    assert alarms("operator") == alarms("north") | alarms("south")
    assert load("operator") == load("north") + load("south") == 2
    assert ask(south, "north", "/alarms").headers["X-Total-Count"] == str(len(alarms("north")))
    assert len(ask(south, "north", "/assets").json()["items"]) == 24


def test_long_ranges_and_verdicts_tell_nothing_either(south: Shift) -> None:
    sensor = "device_id=south-press&metric=force"
    wide = f"/series?{sensor}&points=100&from=2026-01-01T00:00:00Z"
    assert '"source": "rollups"' in ask(south, "south", wide).text
    assert ask(south, "north", wide).status_code == 403
    verdict = ask(south, "south", f"/trust?{sensor}").json()
    assert verdict["gateways"] == []
    assert "some readings of all that gw-east accepted have not arrived" in verdict["reasons"]
    assert ask(south, "north", f"/trust?{sensor}").status_code == 403


@pytest.mark.parametrize("call", sorted(call for call in PATHS if not call.startswith("GET ")))
def test_another_sites_token_changes_nothing(south: Shift, call: str) -> None:
    method, _, path = call.replace(PREFIX, "").partition(" ")
    if not known(path):
        assert ask(south, "south", path, method, {}).status_code == 403
        return
    target, body = ACTS[f"{method} {path}"]
    before = [ask(south, "south", path).text for path in ("/alarms", "/maintenance")]
    refused = ask(south, "north", target, method, body)
    assert refused.status_code in (403, 404), refused.text
    assert not any(mark in refused.text for mark in MARKS)
    assert [ask(south, "south", path).text for path in ("/alarms", "/maintenance")] == before
    allowed = ask(south, "south", target, method, body)
    assert allowed.status_code == 200, allowed.text


def test_work_that_reaches_beyond_the_sites_is_not_theirs_to_plan(south: Shift) -> None:
    everywhere = {"metric": "temperature", "start": 1, "end": 2, "note": "calibration"}
    south.api("PUT", "/maintenance/everywhere", json=everywhere)
    assert "everywhere" in ask(south, "north", "/maintenance").text  # it silences sensors of theirs, so they know
    for method, path, body in (
        ("PUT", "/maintenance/all-mine", everywhere),
        ("PUT", "/maintenance/all-mine", everywhere | {"metric": "no-such-metric"}),
        ("PUT", "/maintenance/everywhere", everywhere | {"asset_id": "mixer"}),
        ("POST", "/maintenance/everywhere/end", None),
    ):
        assert ask(south, "north", path, method, body).status_code == 403, path
    assert ask(south, "north", "/maintenance/mine", "PUT", everywhere | {"asset_id": "mixer"}).is_success


def test_what_was_refused_is_in_the_audit_log(south: Shift) -> None:
    ask(south, "north", "/dead-letters/actions", "POST", {"action": "replay", "letter_ids": ["x"]})
    entries = [stored.entry or {} for stored in AuditLog(south.settings).records()]
    assert ("the-north", "403 Not for one site") in {(entry.get("who"), entry.get("outcome")) for entry in entries}


def test_every_table_of_the_store_is_named_in_the_filter(scene: Scene) -> None:
    with scene.store.client() as clickhouse:
        kept = "SELECT name FROM system.tables WHERE database = 'fieldstream' AND engine NOT LIKE '%View'"
        tables = {str(row["name"]) for row in clickhouse.rows(kept)}
    assert len(tables) > 10
    assert {name for name in tables if f"'fieldstream.{name}'" not in table_filters(["a"])} == set()


@pytest.mark.parametrize("name", ["it's", "back\\slash", "'), 1, ('"])
def test_any_name_of_a_site_is_only_a_name(south: Shift, name: str) -> None:
    south.tokens[name] = add_token(south.settings.api_tokens_file, f"odd-{len(name)}", "viewer", sites=[name])
    answer = eventually(lambda: (found := ask(south, name, "/assets")).is_success and found)
    assert answer.json()["items"] == []


def test_the_console_says_that_it_shows_the_whole_plant(browser: Browser, south: Shift) -> None:
    visitor = Visitor(browser, south, "north")
    visitor.page.goto(f"{south.url}/alarms")
    expect(visitor.page.get_by_text("your token is for north alone")).to_be_visible()
    assert visitor.page.locator(".fs-panel").count() == 0
    visitor.leave()
