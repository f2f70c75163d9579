"""What one shift hands to the next, planned work and the alarm system's own health, over HTTP."""

import time
from typing import Any

import httpx
import pytest
from integration.serve.conftest import Scene
from integration.serve.shift import Shift
from integration.store.rig import eventually

HOUR_MS = 3_600_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def refused(error: httpx.HTTPStatusError) -> tuple[int, str, str]:
    said = error.response.json()
    return error.response.status_code, said.get("field", ""), said["detail"]


def handover(shift: Shift, **more: Any) -> dict[str, Any]:
    query = {"from": now_ms() - 8 * HOUR_MS} | more
    found: dict[str, Any] = shift.api("GET", "/handover", role="viewer", params=query)
    return found


def test_the_handover_tells_what_happened_what_was_done_and_which_numbers_changed(shift: Shift, scene: Scene) -> None:
    report = handover(shift)
    assert report["away"] == []
    assert report["happened"][0]["alarm_id"] == "feed-pump-2/temperature/limit"
    assert report["happened"][0]["active"]
    assert {"chiller/pressure/gap", "mixer/vibration/limit"} <= {one["alarm_id"] for one in report["happened"]}
    (corrected,) = report["corrected"]
    assert (corrected["device_id"], corrected["windows"]) == ("feed-pump-2", 1)
    assert report["dead_letters"]["malformed"] == 2
    assert {one["gateway_id"]: one["missing"] for one in report["gateways"]}["gw-east"] == 1
    assert handover(shift, site="nowhere")["happened"] == []


def test_what_is_shelved_and_by_whom_is_in_the_handover(shift: Shift, scene: Scene) -> None:
    alarm_id = shift.episode("handed-1", device="handed")
    eventually(lambda: shift.state(alarm_id))
    body = {"action": "shelve", "alarms": [{"alarm_id": alarm_id}], "comment": "seal is worn"}
    shift.api("POST", "/alarms/actions", json=body | {"until": now_ms() + HOUR_MS})
    report = handover(shift)
    assert [(one["alarm_id"], one["shelf"]["who"]) for one in report["aside"]] == [(alarm_id, "the-operator")]
    assert alarm_id not in {one["alarm_id"] for one in report["open"]}
    deeds = eventually(lambda: handover(shift)["deeds"], what="the loader has brought the event")
    assert [(one["action"], one["who"], one["comment"]) for one in deeds] == [
        ("shelve", "the-operator", "seal is worn")
    ]


def test_planned_work_is_listed_with_who_planned_it_and_ends_when_told(shift: Shift) -> None:
    start = now_ms() - 1000
    work = {"asset_id": "mixer", "start": start, "end": start + HOUR_MS, "note": "gearbox"}
    assert shift.api("PUT", "/maintenance/gearbox-1", json=work)["who"] == "the-operator"
    later = work | {"start": start + HOUR_MS, "end": start + 2 * HOUR_MS}
    shift.api("PUT", "/maintenance/gearbox-2", json=later)
    planned = {one["maintenance_id"]: one for one in shift.api("GET", "/maintenance", role="viewer")}
    assert planned["gearbox-1"]["note"] == "gearbox"
    assert {"gearbox-1", "gearbox-2"} <= {one["maintenance_id"] for one in handover(shift)["maintenance"]}
    shift.api("POST", "/maintenance/gearbox-1/end")
    after = {one["maintenance_id"]: one for one in shift.api("POST", "/maintenance/gearbox-2/end")}
    assert after["gearbox-1"]["end"] <= now_ms()  # it had begun: it stays, as the past
    assert "gearbox-2" not in after
    with pytest.raises(httpx.HTTPStatusError) as error:
        shift.api("POST", "/maintenance/gearbox-1/end")
    assert refused(error.value)[0] == 409


@pytest.mark.parametrize(
    ("change", "field"),
    [({"asset_id": ""}, "asset_id"), ({"end": 5}, "end"), ({"note": " "}, "note"), ({"start": "soon"}, "start")],
)
def test_work_that_makes_no_sense_is_refused_by_field(shift: Shift, change: dict[str, Any], field: str) -> None:
    work = {"asset_id": "mixer", "start": 1_000, "end": 2_000, "note": "gearbox"} | change
    with pytest.raises(httpx.HTTPStatusError) as error:
        shift.api("PUT", "/maintenance/gearbox-3", json=work)
    assert refused(error.value)[:2] == (422, field)


def test_a_viewer_plans_nothing(shift: Shift) -> None:
    work = {"asset_id": "mixer", "start": 1_000, "end": 2_000, "note": "gearbox"}
    with pytest.raises(httpx.HTTPStatusError) as error:
        shift.api("PUT", "/maintenance/gearbox-4", role="viewer", json=work)
    assert refused(error.value)[0] == 403


def test_an_alarm_that_chatters_counts_each_time_and_leads_the_top_ten(shift: Shift, scene: Scene) -> None:
    begun = now_ms() - 30_000
    for number in range(4):
        times: dict[str, Any] = {"started_at": begun, "detected_at": begun, "evidence_end": begun + number * 5_000}
        alarm_id = shift.episode("chatters", device="loose-wire", revision=2 * number + 1, **times)
        shift.episode("chatters", "close", device="loose-wire", revision=2 * number + 2, **times)

    def chattering() -> list[dict[str, Any]]:
        health = shift.api("GET", "/alarm-health", role="viewer", params={"from": now_ms() - 8 * HOUR_MS})
        assert health["alarms"] == sum(bucket["alarms"] for bucket in health["buckets"])
        assert health["severities"]["critical"] == 1
        first = health["top"][0]
        return [first, *health["chattering"]] if first["alarms"] == 4 else []

    first, chatters = eventually(chattering, what="the loader has brought all steps")
    assert chatters["alarm_id"] == first["alarm_id"] == alarm_id
    assert chatters["most_in_a_minute"] == 4
    assert first["share_percent"] > 30


def test_settings_are_tried_on_what_is_stored_and_the_answer_counts_marks(shift: Shift, scene: Scene) -> None:
    asked = {"layer": "metric", "name": "vibration", "settings": {"high": 2.0}, "asset_id": "mixer", "hours": 2}
    made = shift.api("POST", "/detection/comparisons", json=asked)
    assert made["toml"] == '[shadow.metric."vibration"]\nhigh = 2.0'

    def done() -> dict[str, Any] | None:
        newest: dict[str, Any] = shift.api("GET", "/detection/comparisons", role="viewer")[0]
        return newest if newest["state"] != "running" else None

    ended = eventually(done, what="the trial has ended")
    assert ended["state"] == "done", ended["detail"]
    assert ended["verdict"]["windows"] > 1000
    assert ended["verdict"]["added"] > 0
    assert {one["device_id"] for one in ended["verdict"]["changes"]} == {"mixer"}
    with pytest.raises(httpx.HTTPStatusError) as error:
        shift.api("POST", "/detection/comparisons", json=asked | {"settings": {"hihg": 2.0}})
    assert "did you mean 'high'" in refused(error.value)[2]
