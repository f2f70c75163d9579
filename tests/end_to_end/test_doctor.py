"""The doctor on a running stack in which things are broken on purpose: each must be named, and with what to do."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from fieldstream_central.settings import load_settings
from fieldstream_central.stream import checkpoints
from fieldstream_schemas.topics import READINGS_CLEAN
from local.layout import Layout
from local.stack import Supervisor, all_programs, wait_until

from end_to_end.conftest import Stack
from end_to_end.test_contract import eventually, publish

Found = list[dict[str, str | bool | None]]


def doctor(stack: Stack) -> Found:
    """All that the doctor says, after a look at its exit status."""
    done = stack.run("fieldstream", "doctor", "--json")
    found: Found = json.loads(done.stdout)
    assert done.returncode == any(one["remedy"] for one in found), done.stderr
    return found


def named(found: Found, part: str, said: str) -> bool:
    """Whether a fault of this part, told in these words, is among them."""
    return any(one["part"] == part and one["remedy"] and said in str(one["said"]) for one in found)


@contextmanager
def stopped(stack: Stack, *names: str) -> Iterator[None]:
    """These programs do not run meanwhile."""
    supervisor = Supervisor(stack.layout)
    for name in names:
        supervisor.stop(name)
    try:
        yield
    finally:
        for program in all_programs(stack.layout):
            if program.name in names:
                supervisor.start(program.name)
                wait_until(program.name, program.ready, timeout_s=120)


@contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    """The file has another content meanwhile."""
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Everybody may read the file meanwhile."""
    path.chmod(0o644)
    try:
        yield
    finally:
        path.chmod(0o600)


@contextmanager
def without(path: Path) -> Iterator[None]:
    """The file is away meanwhile."""
    aside = path.rename(path.with_suffix(".aside"))
    try:
        yield
    finally:
        aside.rename(path)


def retain(layout: Layout, milliseconds: int) -> None:
    """Changes a topic's retention."""
    entry = ConfigEntry("retention.ms", str(milliseconds), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, READINGS_CLEAN.name, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": layout.address("kafka")})
    admin.incremental_alter_configs([resource])[resource].result()


def test_a_whole_stack_has_no_fault_but_what_its_devices_do(stack: Stack) -> None:
    faults = found = doctor(stack)
    for _ in range(20):  # an alarm of the start may still stand for a moment
        faults = [one for one in found if one["remedy"] and one["part"] != "data"]
        if not faults:
            break
        time.sleep(5)
        found = doctor(stack)
    assert faults == []
    assert len({one["part"] for one in found}) > 14


def test_the_doctor_names_each_of_what_is_broken_at_once(stack: Stack) -> None:
    settings = load_settings(stack.layout.settings_file)
    publish(stack, "sensors/stranger/level", [json.dumps({"ts": time.time_ns() // 1_000_000, "value": 1.5})])
    publish(stack, "sensors/stranger/level", ["no reading at all"])
    stack.store.query(
        "INSERT INTO fieldstream.gateways_data (gateway_id, epoch, ts, state, last_seq, last_sent_seq, "
        "spool_hours_left, clock_offset_ms) SELECT 'gw-lost', 1, now64(3) - 300, 'running', 1000, 1000, 1.5, 90000 --"
    )
    stack.store.query("DELETE FROM fieldstream.migrations WHERE number = 18 --")
    eventually(lambda: named(doctor(stack), "data", "stranger/level is in no asset registry"))
    admin = AdminClient({"bootstrap.servers": settings.kafka})
    admin.delete_topics(["forget"])["forget"].result()
    retain(stack.layout, 60_000)
    with ExitStack() as until:
        until.enter_context(stopped(stack, "mosquitto", "registry", "alertmanager", "prometheus", "api", "console"))
        until.enter_context(without(settings.pseudonym_key_file))
        until.enter_context(readable(settings.link_key_file))
        found = doctor(stack)
    for part, said in (
        ("mqtt", "refused"),
        ("registry", "does not answer"),
        ("alertmanager", "refused"),
        ("prometheus", "refused"),
        ("api", "does not answer"),
        ("console", "does not answer"),
        ("secrets", "is missing"),
        ("secrets", "may be read by others"),
        ("kafka", "topic forget is missing"),
        ("kafka", "retention.ms=60000"),
        ("clickhouse", "1 migrations are not applied, the first is 18"),
        ("gateways", "gw-lost has been silent for"),
        ("gateways", "gw-lost has room for 1.5 h"),
        ("gateways", "gw-lost is 90 s off"),
        ("completeness", "missing 1,000"),
    ):
        assert named(found, part, said), (part, said, found)

    retain(stack.layout, READINGS_CLEAN.retention_ms)
    stack.store.query("ALTER TABLE fieldstream.gateways_data DELETE WHERE gateway_id = 'gw-lost' --")
    for command in (("topics",), ("store", "migrate")):
        assert stack.run("fieldstream", *command).returncode == 0


def test_what_depends_on_an_ill_part_is_not_called_ill_too(stack: Stack) -> None:
    settings = load_settings(stack.layout.settings_file)
    with stopped(stack, "clickhouse", "jobs", "alerter"):
        found = doctor(stack)
    assert named(found, "clickhouse", "refused")
    assert named(found, "jobs", "refused")
    assert named(found, "alerter", "refused")
    later = {one["part"] for one in found if not one["well"] and not one["remedy"]}
    assert later >= {"loader", "gateways", "completeness", "data"}

    checkpoints.hold(settings, "detect")
    with changed(settings.notify_file or Path(), 'first = "nobody"\n'), stopped(stack, "loader"):
        found = doctor(stack)
    checkpoints.release(settings, "detect")
    assert named(found, "loader", "refused")
    assert named(found, "flink", "detect was stopped by somebody")
    assert named(found, "alerter", "there is no receiver 'nobody'")
