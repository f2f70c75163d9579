"""From episodes to people on real parts: one incident is one message, whatever is killed in between."""

import time
from collections.abc import Iterator

import httpx
import pytest
from fieldstream_central.alarms.life import Action
from fieldstream_central.alarms.log import AlarmLog
from fieldstream_central.store.migrate import migrate
from fieldstream_schemas.topics import GATEWAYS
from integration.alarms.chain import Chain, break_incident_of_fifty, running_chain
from integration.alarms.conftest import Plant
from integration.store.rig import Store, eventually


@pytest.fixture(scope="module")
def chain(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    store = Store(tmp_path_factory.mktemp("store"))
    migrate(store.url)
    with running_chain(plant, tmp_path_factory.mktemp("chain"), store.url) as running:
        running.store = store
        yield running
    store.process.stop()


@pytest.fixture(scope="module")
def people(plant: Plant) -> Iterator[AlarmLog]:
    log = plant.log()
    yield log
    log.stop()


def told(chain: Chain, asset: str, to: str = "on-call") -> list[str]:
    return [subject for subject in chain.sink.subjects(to) if f"{asset}:" in subject]


def test_an_incident_of_fifty_sensors_is_one_message_and_one_resolution_with_both_killed(
    plant: Plant, chain: Chain
) -> None:
    break_incident_of_fifty(plant, chain)
    eventually(lambda: len(told(chain, "big")) == 2, timeout_s=90, what="its end is told")
    time.sleep(3)  # longer than Alertmanager waits between two messages of a group
    assert [subject.split("]")[0] for subject in told(chain, "big")] == ["[WARNING", "[RESOLVED"]
    posts = [post for post in chain.sink.posts["/webhook"] if post["commonLabels"].get("asset") == "big"]
    assert len({post["commonLabels"]["incident"] for post in posts}) == 1
    last = posts[-1]
    assert len(last["message"]["members"]) + last["message"]["more_members"] == 50


def test_an_alarm_that_others_joined_before_its_message_was_made_is_told_as_their_incident(
    plant: Plant, chain: Chain, people: AlarmLog
) -> None:
    first = plant.episode("late-1", device="late-1", asset_id="late")
    eventually(lambda: told(chain, "late"), what="the alerter takes the first alarm: the incident is named for it")
    plant.episode("late-2", device="late-2", asset_id="late", started_at=plant.started["late-1"])
    eventually(lambda: people.alarm(first).parent, what="the first alarm belongs to the incident of both")
    chain.alerter.kill()
    chain.start_alerter()  # one that runs may know it later than `people`; a new one reads all before it says anything
    # What Alertmanager sends when it had the first alarm alone and was slow.
    labels = {"alertname": "FieldstreamIncident", "incident": "late-1", "severity": "warning"}
    alert = {"status": "firing", "labels": labels, "annotations": {"alarm_id": first}}
    group = {"groupKey": "late", "commonLabels": labels, "alerts": [alert]}
    notify_boss = f"http://127.0.0.1:{chain.alerter_port}/notify/boss"
    eventually(lambda: httpx.post(notify_boss, json=group, timeout=20).is_success, what="the alerter has read its log")
    assert told(chain, "late", "boss") == ["[WARNING] late: 2 alarms at once (process)"]
    for name in ("late-1", "late-2"):
        plant.episode(name, "close", revision=2, device=name, asset_id="late")


def test_what_was_acknowledged_is_not_escalated_and_its_end_is_told(
    plant: Plant, chain: Chain, people: AlarmLog
) -> None:
    seen = plant.episode("seen", device="seen", severity="critical")
    ignored = plant.episode("ignored", device="ignored", severity="critical")
    eventually(lambda: told(chain, "seen") and told(chain, "ignored"), what="both are told")
    eventually(lambda: people.alarm(seen).episode)
    people.perform(seen, Action.ACKNOWLEDGE, "ann")
    eventually(lambda: told(chain, "ignored", "boss"), what="what nobody acknowledged goes to the next one")
    assert told(chain, "ignored", "boss")[0].startswith("[CRITICAL] [not acknowledged]")
    assert told(chain, "seen", "boss") == []
    people.perform(ignored, Action.ACKNOWLEDGE, "ann")
    for name in ("seen", "ignored"):
        plant.episode(name, "close", revision=2, device=name, severity="critical")
    eventually(lambda: len(told(chain, "seen")) == 2, what="the end is told")
    eventually(lambda: len(told(chain, "ignored", "boss")) == 2, what="the end is told to whoever was told")


def test_what_is_shelved_is_not_told_and_what_gets_worse_is_told_again(
    plant: Plant, chain: Chain, people: AlarmLog
) -> None:
    shelved = plant.episode("shelf-1", device="shelved")
    eventually(lambda: told(chain, "shelved"))
    people.perform(shelved, Action.SHELVE, "ann", comment="valve", until=time.time_ns() // 1_000_000 + 600_000)
    plant.episode("shelf-1", "close", revision=2, device="shelved")
    plant.episode("shelf-2", device="shelved", started_at=time.time_ns() // 1_000_000)
    worse = plant.episode("worse", device="worse")
    eventually(lambda: told(chain, "worse"))
    people.perform(worse, Action.ACKNOWLEDGE, "ann")
    plant.episode("worse", "update", revision=2, device="worse", severity="critical", kind="limit-high-high")
    eventually(lambda: len(told(chain, "worse")) == 2, what="what ann saw was a warning")
    assert told(chain, "worse")[1].startswith("[CRITICAL]")
    people.perform(worse, Action.ACKNOWLEDGE, "ann")
    assert len(told(chain, "shelved")) == 1


def test_a_test_message_goes_all_the_way_and_every_step_is_reported(chain: Chain) -> None:
    done = chain.run("notify", "test")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line[:2] for line in lines] == ["1.", "2.", "3.", "4.", "5."]
    assert "email (1), slack (1), teams (1), webhook (1)" in lines[0]
    assert "took it for on-call@localhost" in lines[3]
    assert chain.sink.subjects()[-1] == "[RESOLVED] A test of the notification"


def test_a_strangers_text_cannot_forge_a_header_or_a_page(plant: Plant, chain: Chain) -> None:
    evil = 'x"><script>alert(1)</script>\r\nBcc: all@example.com'
    plant.episode("evil", device="evil", asset_id="evil", kind=evil, reason=f"<!channel> {evil}")
    eventually(lambda: told(chain, "evil"))
    mail = next(mail for mail in chain.sink.mails if "evil:" in str(mail["Subject"]))
    assert mail["Bcc"] is None
    page = mail.get_body(("html",))
    assert page is not None
    assert "<script" not in page.get_content()
    eventually(lambda: any("evil" in str(post) for post in chain.sink.posts["/slack"]))
    slack = next(post for post in chain.sink.posts["/slack"] if "evil" in post["text"])
    assert "<!channel>" not in str(slack)


def heartbeat(plant: Plant, state: str) -> None:
    now = time.time_ns() // 1_000_000
    zero = ("last_seq", "last_sent_seq", "spool_readings", "spool_bytes", "accepted_total", "dead_letters_total",
            "duplicates_total", "disk_free_bytes", "memory_bytes")  # fmt: skip
    row = dict.fromkeys(zero, 0) | {"gateway_id": "gw-far", "epoch": 1, "ts": now, "state": state, "version": "1",
        "config_hash": "x", "started_at": now, "spool_oldest_age_s": 0.0, "counts": {}}  # fmt: skip
    plant.feed.send(GATEWAYS, [row])


def test_a_gateway_that_is_away_is_one_message_and_its_devices_gaps_are_its_members(
    plant: Plant, chain: Chain, people: AlarmLog
) -> None:
    with chain.store.client() as clickhouse:
        clickhouse.execute(
            "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, gateway_id) "
            "SELECT concat('far-', toString(number)), 'temperature', now64(3), 1, 'gw-far' FROM numbers(5)"
        )
    heartbeat(plant, "running")
    time.sleep(3)  # it is suspected, not known to be away: what now falls silent waits
    gaps = [plant.episode(f"gap-{n}", device=f"far-{n}", detector="gap", kind="gap") for n in range(5)]
    gateway = "Gateway gw-far is offline"
    eventually(lambda: any(gateway in one for one in chain.sink.subjects()), what="the gateway is told")
    eventually(lambda: all(people.alarm(gap).parent for gap in gaps), what="the gaps are its members")
    heartbeat(plant, "stopping")
    for n in range(5):
        plant.episode(f"gap-{n}", "close", revision=2, device=f"far-{n}", detector="gap", kind="gap")
    eventually(lambda: f"[RESOLVED] {gateway}" in chain.sink.subjects(), what="its return is told")
    assert [one for one in chain.sink.subjects() if "far" in one] == [f"[CRITICAL] {gateway}", f"[RESOLVED] {gateway}"]


def test_the_heartbeat_passes_through_the_whole_chain(chain: Chain) -> None:
    alert = {"labels": {"alertname": "FieldstreamWatchdog"}, "annotations": {}}
    httpx.post(f"http://127.0.0.1:{chain.alertmanager_port}/api/v2/alerts", json=[alert]).raise_for_status()
    eventually(lambda: chain.sink.posts.get("/heartbeat"), what="the heartbeat has come through")
