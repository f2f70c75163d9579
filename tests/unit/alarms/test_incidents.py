"""Which alarms are one incident, without a broker: what people are told of, and that a restart changes nothing."""

from typing import Any

from fieldstream_central.alarms.gateways import AWAY_MS, RETURN_MS, SUSPECT_MS, GatewayWatch
from fieldstream_central.alarms.incidents import JOIN_MS, Incidents, Step, incident_of
from fieldstream_central.alarms.life import alarm_id_of
from hypothesis import given
from hypothesis import strategies as st

T = 1_700_000_000_000


def step(name: str, state: str = "open", *, at: int = 0, asset: str = "pump", **changes: Any) -> Step:
    return {
        **{"anomaly_id": name, "device_id": f"d-{name}", "metric": "temperature", "detector": "limit"},
        **{"kind": "limit-high", "severity": "warning", "state": state, "site": "north", "area": "hall"},
        **{"asset_id": asset, "started_at": T, "detected_at": T + at, "evidence_start": T, "evidence_end": T + at},
        **{"ended_at": T + at if state == "close" else None, "revision": 2 if state == "close" else 1},
        **{"members": [], "score": 1.0, "reason": "above H", "shadow": False},
    } | changes


def settle(incidents: Incidents, *steps: Step, aside: frozenset[str] = frozenset()) -> list[Step]:
    for one in steps:
        incidents.take(one)
    return incidents.settle(lambda one: alarm_id_of(one) not in aside, lambda _: False, {})


def alarm(name: str) -> str:
    return f"d-{name}/temperature/limit"


def test_fifty_alarms_of_an_asset_are_one_incident_with_the_first_ones_name_and_end_together() -> None:
    incidents = Incidents()
    settle(incidents, step("a0"))
    assert list(incidents.heads()) == ["a0"]
    (parent,) = settle(incidents, *(step(f"a{n}", at=n * 1000) for n in range(1, 50)))
    assert list(incidents.heads()) == ["a0"]
    assert incidents.heads()["a0"]["members"] == [alarm(f"a{n}") for n in range(50)]
    assert alarm_id_of(parent) == "pump//incident"
    assert settle(incidents, *(step(f"a{n}", "close", at=90_000) for n in range(49))) == []
    assert incidents.ended() == []
    (closed,) = settle(incidents, step("a49", "close", at=95_000))
    assert (closed["state"], closed["ended_at"]) == ("close", T + 95_000)
    assert [incident_of(one) for one in incidents.ended()] == ["a0"]
    assert incidents.heads() == {}


def test_another_asset_another_cause_and_another_minute_are_incidents_of_their_own() -> None:
    incidents = Incidents()
    steps = settle(
        incidents,
        step("a"),
        step("b", asset="mixer"),
        step("c", detector="gap"),
        step("d", at=JOIN_MS + 1),
    )
    assert steps == []
    assert set(incidents.heads()) == set("abcd")


def test_a_second_incident_beside_one_that_stands_is_another_alarm() -> None:
    incidents = Incidents()
    settle(incidents, step("a"), step("b"))
    began = T + 9 * JOIN_MS
    later = [step(name, at=9 * JOIN_MS, started_at=began) for name in "cd"]
    (second,) = settle(incidents, *later)
    assert alarm_id_of(second) == "pump//incident-2"
    assert set(incidents.heads()) == {"a", "c"}


def test_what_somebody_has_dealt_with_takes_nothing_new_in() -> None:
    incidents = Incidents()
    settle(incidents, step("a"))
    assert settle(incidents, step("b"), aside=frozenset({alarm("a")})) == []
    assert set(incidents.heads()) == {"a", "b"}


def test_a_worse_member_makes_the_incident_worse_and_nothing_makes_it_better() -> None:
    incidents = Incidents()
    settle(incidents, step("a"), step("b"))
    (worse,) = settle(incidents, step("b", "update", severity="critical", detector="mates", revision=2))
    assert worse["severity"] == "critical"
    assert worse["members"] == [alarm("a"), alarm("b")]  # the alarm keeps its name when another detector takes over
    settle(incidents, step("b", "update", severity="warning", revision=3))
    assert incidents.heads()["a"]["severity"] == "critical"


def test_what_came_and_went_while_nobody_listened_is_still_one_incident() -> None:
    incidents = Incidents()
    opened, closed = settle(incidents, *(step(n, s) for n in "abc" for s in ("open", "close")))
    assert (opened["state"], closed["state"]) == ("open", "close")
    assert [incident_of(one) for one in incidents.ended()] == ["a"]


@given(st.integers(0, 12), st.permutations(range(8)), st.data())
def test_whoever_reads_the_topic_again_tells_of_the_same_incidents(
    cut: int, order: list[int], data: st.DataObject
) -> None:
    log: list[Step] = [step(f"a{n}", at=n * 1000) for n in order]
    log += [step(f"a{n}", "close", at=20_000 + n) for n in data.draw(st.lists(st.sampled_from(order), unique=True))]
    incidents, written = Incidents(), []
    for one in log[:cut]:
        written += [one, *settle(incidents, one)]
    told = set(incidents.heads())
    again = Incidents()
    for one in data.draw(st.permutations(written)):  # partitions are read in any order
        again.take(one, told=True)
    assert settle(again) == []
    assert set(again.heads()) == told
    assert again.ended() == []


def heartbeat(at: int, state: str = "running") -> dict[str, Any]:
    return {"gateway_id": "gw", "ts": T + at, "state": state}


def test_a_silent_gateway_is_one_incident_and_its_devices_gaps_belong_to_it() -> None:
    watch, incidents = GatewayWatch(), Incidents()
    watch.heard(heartbeat(0), T)
    assert watch.unknown(T + SUSPECT_MS) == {}
    assert watch.unknown(T + SUSPECT_MS + 1) == {"gw": T}
    watch.tell_devices("gw", ["d-g1", "d-g2"])
    gap = step("g1", at=30_000, detector="gap")
    incidents.take(gap)
    assert incidents.settle(lambda _: True, lambda one: one["device_id"] in watch.suspected(T + 30_000), {}) == []
    assert incidents.heads() == {}  # it waits
    assert watch.steps(incidents, T + AWAY_MS) == []
    now = T + AWAY_MS + 1
    (opened,) = watch.steps(incidents, now)
    assert opened["kind"] == "gateway-offline"
    (named,) = incidents.settle(lambda _: True, lambda _: False, watch.parents(incidents))
    assert named["members"] == ["d-g1/temperature/gap"]
    assert list(incidents.heads()) == [opened["anomaly_id"]]
    assert settle(incidents, step("x", detector="gap"), step("g1", "update", revision=2)) == []  # another gateway's
    watch.heard(heartbeat(now - T), now)
    assert watch.steps(incidents, now) == []  # what it kept is on its way
    settle(incidents, step("g1", "close", revision=3))
    (closed,) = watch.steps(incidents, now + 1)
    assert closed["state"] == "close"


def test_a_gap_that_outlasts_its_gateways_return_speaks_for_itself() -> None:
    watch, incidents = GatewayWatch(), Incidents()
    watch.heard(heartbeat(0), T)
    watch.tell_devices("gw", ["d-g1"])
    watch.steps(incidents, T + AWAY_MS + 1)
    incidents.take(step("g1", detector="gap"))
    incidents.settle(lambda _: True, lambda _: False, watch.parents(incidents))
    watch.heard(heartbeat(70_000), T + 70_000)
    watch.steps(incidents, T + 70_000)
    (closed,) = watch.steps(incidents, T + 70_001 + RETURN_MS)
    settle(incidents)
    assert [incident_of(one) for one in incidents.ended()] == [closed["anomaly_id"]]
    assert list(incidents.heads()) == ["g1"]


def test_a_gateway_that_was_stopped_is_not_missed() -> None:
    watch, incidents = GatewayWatch(), Incidents()
    watch.heard(heartbeat(0, "stopping"), T)
    assert watch.steps(incidents, T + 10 * AWAY_MS) == []
