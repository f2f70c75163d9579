"""Alarms over HTTP: who may do what, in bulk, and what the answer says."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fieldstream_central.notify.links import signed
from fieldstream_central.serve.api.access import add_token
from fieldstream_central.serve.api.app import create_app
from integration.alarms.conftest import Plant
from integration.store.rig import eventually


class Api:
    """The app with tokens of every role."""

    def __init__(self, plant: Plant, tokens: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self.tokens = {role: add_token(tokens, f"the-{role}", role) for role in ("viewer", "operator", "admin")}
        self.link_key = b"a key of the tests, long enough"
        (tokens.parent / "link.key").write_bytes(self.link_key)
        settings = replace(plant.settings, api_tokens_file=tokens, link_key_file=tokens.parent / "link.key")
        app = create_app(replace(settings, latching=("critical",)))
        self._life = app.router.lifespan_context(app)
        self._loop.run_until_complete(self._life.__aenter__())
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api/api/v1")

    def call(self, method: str, path: str, *, role: str = "operator", **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        return self._loop.run_until_complete(self._http.request(method, path, headers=headers, **request))

    def follow(self, link: str, method: str = "GET", **form: str) -> httpx.Response:
        """A link of a message, as a browser without a token follows it."""
        return self._loop.run_until_complete(self._http.request(method, link, data=form or None))

    def act(self, action: str, *alarm_ids: str, role: str = "operator", **more: Any) -> httpx.Response:
        body = {"action": action, "alarms": [{"alarm_id": alarm_id} for alarm_id in alarm_ids]} | more
        return self.call("POST", "/alarms/actions", role=role, json=body)

    def alarms(self, **query: Any) -> dict[str, dict[str, Any]]:
        answer = self.call("GET", "/alarms", params=query)
        return {alarm["alarm_id"]: alarm for alarm in answer.json()} if answer.status_code == 200 else {}

    def close(self) -> None:
        self._loop.run_until_complete(self._http.aclose())
        self._loop.run_until_complete(self._life.__aexit__(None, None, None))
        self._loop.close()


@pytest.fixture(scope="module")
def api(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    made = Api(plant, tmp_path_factory.mktemp("tokens") / "tokens.toml")
    yield made
    made.close()


def test_many_are_acknowledged_at_once_and_each_gets_its_own_answer(plant: Plant, api: Api) -> None:
    ids = [plant.episode(f"bulk-{n}", device=f"bulk-{n}") for n in range(20)]
    eventually(lambda: set(ids) <= api.alarms().keys())
    answer = api.act("acknowledge", *ids, "no/such/alarm", comment="power cut in hall 1")
    results = {one["alarm_id"]: one for one in answer.json()}
    assert [results[alarm_id]["result"] for alarm_id in ids] == ["done"] * 20
    assert results["no/such/alarm"]["result"] == "refused"
    assert "GET /api/v1/alarms" in results["no/such/alarm"]["detail"]
    acknowledged = api.alarms(state="acknowledged")
    assert set(ids) <= acknowledged.keys()
    assert acknowledged[ids[0]]["acknowledged"]["who"] == "the-operator"


def test_who_saw_an_older_alarm_is_told_what_happened_meanwhile(plant: Plant, api: Api) -> None:
    alarm_id = plant.episode("seen-1", device="seen")
    eventually(lambda: alarm_id in api.alarms())
    assert api.act("comment", alarm_id, comment="smells hot").json()[0]["result"] == "done"
    body = {"action": "acknowledge", "alarms": [{"alarm_id": alarm_id, "revision": 0}]}
    (answer,) = api.call("POST", "/alarms/actions", role="admin", json=body).json()
    assert answer["result"] == "conflict"
    assert "the-operator was first: comment (smells hot)" in answer["detail"]


@pytest.mark.parametrize(
    ("role", "action", "status"),
    [
        ("viewer", "acknowledge", 403),
        ("viewer", "shelve", 403),
        ("operator", "out-of-service", 403),
        ("operator", "in-service", 403),
    ],
)
def test_a_role_that_is_too_low_is_refused(api: Api, role: str, action: str, status: int) -> None:
    answer = api.act(action, "pump-1/temperature/limit", role=role, comment="x")
    assert answer.status_code == status
    assert f"the-{role}" in answer.json()["detail"]


def test_a_shelf_needs_a_reason_and_an_end(plant: Plant, api: Api) -> None:
    alarm_id = plant.episode("shelf-1", device="shelf")
    eventually(lambda: alarm_id in api.alarms())
    until = time.time_ns() // 1_000_000 + 3_600_000
    assert "reason" in api.act("shelve", alarm_id, until=until).json()[0]["detail"]
    assert "24 hours" in api.act("shelve", alarm_id, comment="valve").json()[0]["detail"]
    (done,) = api.act("shelve", alarm_id, comment="valve", until=until).json()
    assert done["alarm"]["state"] == "shelved"
    assert api.alarms(state="shelved")[alarm_id]["shelf"]["comment"] == "valve"


def test_the_worst_comes_first(plant: Plant, api: Api) -> None:
    minor = plant.episode("order-1", device="order-minor", severity="info")
    major = plant.episode("order-2", device="order-major", severity="critical")
    eventually(lambda: {minor, major} <= api.alarms().keys())
    order = list(api.alarms())
    assert order.index(major) < order.index(minor)


@pytest.mark.parametrize(
    "body", [{"action": "delete", "alarms": [{"alarm_id": "x"}]}, {"action": "comment", "alarms": []}]
)
def test_a_request_that_makes_no_sense_names_its_field(api: Api, body: dict[str, Any]) -> None:
    answer = api.call("POST", "/alarms/actions", json=body)
    assert answer.status_code == 422
    assert answer.json()["field"] in ("action", "alarms")


def test_a_mark_holds_for_one_person_and_episode_and_the_newest_counts(plant: Plant, api: Api) -> None:
    alarm_id = plant.episode("mark-1", device="mark")
    eventually(lambda: alarm_id in api.alarms())
    assert "useful, false, expected" in api.act("mark", alarm_id).json()[0]["detail"]
    for role, mark in (("operator", "useful"), ("admin", "expected"), ("operator", "false")):
        (done,) = api.act("mark", alarm_id, role=role, mark=mark).json()
    assert done["alarm"]["marks"] == {"the-operator": "false", "the-admin": "expected"}
    assert done["alarm"]["state"] == "unacknowledged"
    plant.episode("mark-2", device="mark")  # another episode: nobody has said anything about it
    eventually(lambda: api.alarms()[alarm_id]["anomaly_id"] == "mark-2")
    assert api.alarms()[alarm_id]["marks"] == {}


def test_a_member_is_suppressed_while_its_incident_lasts_and_free_afterwards(plant: Plant, api: Api) -> None:
    members = [plant.episode(f"member-{n}", device=f"member-{n}") for n in range(3)]
    incident = plant.episode("incident-1", device="hall", metric="", detector="incident", members=members)
    eventually(lambda: all(api.alarms().get(member, {}).get("state") == "suppressed" for member in members))
    alarms = api.alarms()
    assert {alarms[member]["parent"] for member in members} == {incident}
    assert alarms[incident]["members"] == members
    assert alarms[incident]["state"] == "unacknowledged"
    plant.episode("member-0", "close", revision=2, device="member-0")
    eventually(lambda: members[0] not in api.alarms())  # it came and went within the incident
    plant.episode("incident-1", "close", revision=2, device="hall", metric="", detector="incident", members=members)
    eventually(lambda: api.alarms()[members[1]]["state"] == "unacknowledged")
    assert api.alarms()[members[1]]["parent"] is None


def link(api: Api, alarm_id: str, episode: str, by: str = "on-call") -> str:
    said = {"alarm": alarm_id, "episode": episode, "by": by}
    return signed(api.link_key, "http://api", "acknowledge", said, time.time_ns() // 1_000_000)


def test_a_link_acknowledges_only_when_its_button_is_pressed(plant: Plant, api: Api) -> None:
    alarm_id = plant.episode("linked-1", device="linked", reason="<b>hot</b>")
    eventually(lambda: alarm_id in api.alarms())
    address = link(api, alarm_id, "linked-1")
    page = api.follow(address)  # as a mail scanner does
    assert page.status_code == 200
    assert "&lt;b&gt;hot" in page.text
    assert "form-action" in page.headers["content-security-policy"]
    assert api.alarms()[alarm_id]["state"] == "unacknowledged"
    assert "Thank you" in api.follow(address, "POST", name="Ann").text
    acknowledged = api.alarms()[alarm_id]
    assert acknowledged["acknowledged"]["who"] == "Ann (link to on-call)"
    again = api.follow(address, "POST", name="Bob")
    assert again.status_code == 409
    assert "Ann (link to on-call) has acknowledged it already" in again.text


def test_a_link_that_was_changed_or_is_of_an_earlier_episode_does_nothing(plant: Plant, api: Api) -> None:
    alarm_id = plant.episode("earlier-1", device="earlier")
    eventually(lambda: alarm_id in api.alarms())
    assert api.follow(link(api, alarm_id, "earlier-1").replace("earlier%2F", "later%2F"), "POST").status_code == 403
    assert api.follow("http://api/link/acknowledge", "POST").status_code == 403
    assert api.follow("http://api/link/plot.png").status_code == 403
    plant.episode("earlier-2", device="earlier")
    eventually(lambda: api.alarms()[alarm_id]["anomaly_id"] == "earlier-2")
    assert api.follow(link(api, alarm_id, "earlier-1"), "POST").status_code == 409
    assert api.alarms()[alarm_id]["state"] == "unacknowledged"


def test_a_severity_that_latches_stays_until_it_is_reset(plant: Plant, api: Api) -> None:
    alarm_id = plant.episode("latch-1", device="latch", severity="critical")
    eventually(lambda: alarm_id in api.alarms())
    api.act("acknowledge", alarm_id)
    plant.episode("latch-1", "close", revision=2, device="latch", severity="critical")
    eventually(lambda: api.alarms()[alarm_id]["state"] == "latched")
    assert api.act("reset", alarm_id).json()[0]["alarm"]["state"] == "cleared"


def test_an_episode_keeps_its_alarm_when_a_worse_detector_joins_it(plant: Plant, api: Api) -> None:
    alarm_id = plant.episode("joined-1", device="joined", detector="level-shift")
    eventually(lambda: alarm_id in api.alarms())
    plant.episode("joined-1", "update", revision=2, device="joined", detector="limit", severity="critical")
    eventually(lambda: api.alarms()[alarm_id]["severity"] == "critical")
    assert "joined/temperature/limit" not in api.alarms()
