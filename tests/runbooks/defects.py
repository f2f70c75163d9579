"""Defects, each made on a running stack and mended again, and what the doctor must say of it.

docs/deploy.md lists them; tests/unit/test_runbooks.py compares.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import httpx
from chaos.disks import full
from chaos.harm import until
from confluent_kafka.admin import AdminClient
from end_to_end.test_doctor import changed, readable, retain, without
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.stream import operate
from fieldstream_central.stream.cluster import Cluster
from fieldstream_schemas.topics import READINGS_CLEAN
from local.programs import ours

from runbooks.watched import Device, Watched, fill, gateway_dead, parts_that_nothing_merges, small_spool, well

Make = Callable[[Watched, Device], AbstractContextManager[None]]
CANCEL_S = 60


@dataclass(frozen=True)
class Defect:
    """`made`: the defect, as long as the context lasts; `part` and `said`: what the doctor names it by."""

    name: str
    part: str
    said: str
    made: Make
    mounts: bool = False


def away(program: str) -> Make:
    """The program is stopped."""

    @contextmanager
    def made(world: Watched, _device: Device) -> Iterator[None]:
        world.supervisor.stop(program)
        yield
        world.supervisor.start(program)

    return made


def reloaded(program: str, before: str, after: str) -> Make:
    """The program's configuration is another one, and it has read it."""

    @contextmanager
    def made(world: Watched, _device: Device) -> Iterator[None]:
        file = world.layout.config / f"{program}.yml"
        text = file.read_text()
        assert before in text
        with changed(file, text.replace(before, after)):
            os.kill(world.pid(program), signal.SIGHUP)
            yield
        os.kill(world.pid(program), signal.SIGHUP)

    return made


@contextmanager
def topic_missing(world: Watched, _device: Device) -> Iterator[None]:
    admin = AdminClient({"bootstrap.servers": world.settings.kafka})
    admin.delete_topics(["forget"])["forget"].result()
    yield
    well(world, "fieldstream topics")


@contextmanager
def topic_keeps_too_little(world: Watched, _device: Device) -> Iterator[None]:
    retain(world.layout, 60_000)
    yield
    retain(world.layout, READINGS_CLEAN.retention_ms)


@contextmanager
def schema_missing(world: Watched, _device: Device) -> Iterator[None]:
    httpx.delete(f"{world.settings.registry[0]}/subjects/forget-value").raise_for_status()
    yield
    well(world, "fieldstream schemas register")


@contextmanager
def job_stopped(world: Watched, _device: Device) -> Iterator[None]:
    operate.stop(world.settings, "detect")
    yield
    operate.deploy(world.settings, "detect")


@contextmanager
def job_twice(world: Watched, _device: Device) -> Iterator[None]:
    cluster = Cluster(world.settings)
    [first] = cluster.alive("detect")
    submit = [sys.executable, "-m", "fieldstream_central.stream.submit", "detect"]
    subprocess.run(submit, env=os.environ | ours(world.layout, "jobs"), check=True, capture_output=True)
    yield
    for job_id in cluster.alive("detect"):
        if job_id != first:
            cluster.cancel(job_id)
    until("the second one is gone", lambda: cluster.alive("detect") == [first], CANCEL_S)


@contextmanager
def migration_missing(world: Watched, _device: Device) -> Iterator[None]:
    with ClickHouse(world.settings.clickhouse) as store:
        store.execute("DELETE FROM fieldstream.migrations WHERE number = 18")
    yield
    well(world, "fieldstream store migrate")


@contextmanager
def store_without_room(world: Watched, _device: Device) -> Iterator[None]:
    backup = world.folder / "clickhouse/an-old-backup"
    fill(backup, world.folder / "clickhouse", 0.95)
    yield
    backup.unlink()


@contextmanager
def clock_wrong(_world: Watched, device: Device) -> Iterator[None]:
    device.ahead_s = -90
    yield
    device.ahead_s = 0


@contextmanager
def unreadable(_world: Watched, device: Device) -> Iterator[None]:
    device.say(["no reading"])
    yield


@contextmanager
def stranger(_world: Watched, device: Device) -> Iterator[None]:
    device.say([f'{{"ts": {time.time_ns() // 1_000_000}, "value": 1.5}}'], "sensors/stranger/level")
    yield


# What stays for a quarter of an hour stands last.
DEFECTS = (
    Defect("the MQTT broker is away", "mqtt", "refused", away("mosquitto")),
    Defect("the registry is away", "registry", "does not answer", away("registry")),
    Defect("a schema is not registered", "registry", "does not know forget-value", schema_missing),
    Defect("a topic is missing", "kafka", "topic forget is missing", topic_missing),
    Defect("a topic keeps its records too short", "kafka", "retention.ms=60000", topic_keeps_too_little),
    Defect("a job was stopped", "flink", "detect was stopped by somebody", job_stopped),
    Defect("a job runs twice", "flink", "detect runs 2 times", job_twice),
    Defect("the TaskManager is away", "flink", "does not run", away("flink-taskmanager")),
    Defect("checkpoints have no room", "disks", "has 0% of its disk left",
           lambda world, _: full(world.folder / "flink/checkpoints"), mounts=True),
    Defect("nobody keeps the jobs", "jobs", "refused", away("jobs")),
    Defect("ClickHouse is away", "clickhouse", "refused", away("clickhouse")),
    Defect("a migration is missing", "clickhouse", "1 migrations are not applied, the first is 18", migration_missing),
    Defect("nothing merges parts", "clickhouse", "parts in", lambda world, _: parts_that_nothing_merges(world)),
    Defect("ClickHouse's disk is filling", "clickhouse", "disk default has", store_without_room, mounts=True),
    Defect("the loader is away", "loader", "refused", away("loader")),
    Defect("the alerter is away", "alerter", "refused", away("alerter")),
    Defect("the notify file names nobody", "alerter", "there is no receiver 'nobody'",
           lambda world, _: changed(world.layout.config / "notify.toml", 'first = "nobody"\n')),
    Defect("Alertmanager is away", "alertmanager", "refused", away("alertmanager")),
    Defect("Alertmanager lacks our receiver", "receivers", "does not know on-call",
           reloaded("alertmanager", "on-call", "somebody")),
    Defect("Prometheus is away", "prometheus", "refused", away("prometheus")),
    Defect("Prometheus lacks our rules", "prometheus", "does not have our alert rules",
           reloaded("prometheus", "rules.yml", "none.yml")),
    Defect("Prometheus knows no Alertmanager", "prometheus", "knows no Alertmanager",
           reloaded("prometheus", "\nalerting:", "\n# alerting:")),
    Defect("the API is away", "api", "does not answer", away("api")),
    Defect("the console is away", "console", "does not answer", away("console")),
    Defect("a key is missing", "secrets", "is missing", lambda world, _: without(world.settings.pseudonym_key_file)),
    Defect("a key may be read by others", "secrets", "may be read by others",
           lambda world, _: readable(world.settings.link_key_file)),
    Defect("a gateway is silent", "gateways", "has been silent for", lambda world, _: gateway_dead(world)),
    Defect("a gateway's spool is too small", "gateways", "has room for", lambda world, _: small_spool(world)),
    Defect("the devices' clocks are wrong", "gateways", "-90 s off its devices", clock_wrong),
    Defect("a message cannot be read", "data", "dead letters in 15 minutes: not-json", unreadable),
    Defect("a sensor is in no asset registry", "data", "stranger/level is in no asset registry", stranger),
)  # fmt: skip
