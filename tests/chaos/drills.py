"""The drills: what is broken, while a fleet sends. Each is one function on a world.

A drill passes when the oracle finds nothing missing, doubled or wrong afterwards, without anybody's help.
"""

import json
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Producer
from fieldstream_central.stream import operate
from fieldstream_schemas.registry import SchemaRegistry, frame_header
from fieldstream_schemas.topics import READINGS_RAW
from local.layout import VENV

from chaos.world import World

Hurt = Callable[[World, random.Random], None]


@dataclass(frozen=True)
class Drill:
    """One drill. `fleet`: options for the simulator; `short`: part of `make test`."""

    name: str
    what: str
    hurt: Hurt
    fleet: tuple[str, ...] = ()
    short: bool = False


def kill(*programs: str) -> Hurt:
    """kill -9, one after the other, a random while apart."""

    def hurt(world: World, chance: random.Random) -> None:
        for program in programs:
            world.kill(program)
            time.sleep(chance.uniform(1, 4))

    return hurt


def away(program: str, seconds: float) -> Hurt:
    """Killed and kept down."""
    return lambda world, _chance: world.away(program, seconds)


def nothing(_world: World, _chance: random.Random) -> None:
    """The fleet itself is the drill."""


def kill_python_worker(world: World, _chance: random.Random) -> None:
    """The worker process of the detect job."""
    if not world.kill_python_workers():
        raise RuntimeError("no Python worker was found below the TaskManager")


def registry_dead_while_a_job_restarts(world: World, _chance: random.Random) -> None:
    """The jobs must come back without any registry."""
    world.supervisor.stop("registry")
    world.kill("flink-taskmanager")
    time.sleep(25)
    world.supervisor.start("registry")


def poison(world: World, _chance: random.Random) -> None:
    """Bytes that are no Avro, an unknown schema id, cut and damaged records, on every partition."""
    header = frame_header(SchemaRegistry(world.settings.registry, world.settings.schema_cache).id_of(READINGS_RAW))
    producer = Producer({"bootstrap.servers": world.settings.kafka})
    for partition in range(READINGS_RAW.partitions):
        for value in (b"no avro", b"", frame_header(99_999) + b"x", header, header + b"\xff" * 40, b"\0" * 900_000):
            producer.produce(READINGS_RAW.name, value, b"poison", partition=partition)
    producer.flush(30)
    time.sleep(3)
    rows = world.store.query("SELECT uniqExact(source) AS n FROM fieldstream.dead_letters WHERE origin = 'pipeline'")
    deadline = time.monotonic() + 30
    while rows[0]["n"] < 6 * READINGS_RAW.partitions and time.monotonic() < deadline:
        time.sleep(1)
        rows = world.store.query(
            "SELECT uniqExact(source) AS n FROM fieldstream.dead_letters WHERE origin = 'pipeline'"
        )
    if rows[0]["n"] != 6 * READINGS_RAW.partitions:
        raise RuntimeError(f"{rows[0]['n']} of {6 * READINGS_RAW.partitions} poisoned records became dead letters")


def backdated(*ages_s: float) -> Hurt:
    """Readings of a device that was away, this long ago, sent now; into a truth folder of their own."""

    def hurt(world: World, chance: random.Random) -> None:
        folder = world.folder / "truth" / "backdated"
        folder.mkdir(parents=True)
        lines = ["device_id,metric,ts,value,published_at_ms,acked_at_ms"]
        for age_s in ages_s:
            now = time.time_ns() // 1_000_000
            device = f"away-{age_s:.0f}"
            readings = [(now - round(age_s * 1000) + 250 * n, round(chance.uniform(0, 100), 3)) for n in range(200)]
            chance.shuffle(readings)
            subprocess.run(
                [
                    "mosquitto_pub",
                    "-p",
                    str(world.layout.ports["mqtt"]),
                    "-q",
                    "1",
                    "-t",
                    f"sensors/{device}/level",
                    "-l",
                ],
                input="\n".join(json.dumps({"ts": ts, "value": value}) for ts, value in readings),
                text=True,
                check=True,
                timeout=60,
            )
            lines += [f"{device},level,{ts},{value},{now},{now}" for ts, value in readings]
        (folder / "published.csv").write_text("\n".join(lines) + "\n")

    return hurt


def second_loader(world: World, _chance: random.Random) -> None:
    """Started by mistake beside the first; both go on for a while."""
    environment = {"FIELDSTREAM_CONFIG": str(second_settings(world)), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen([VENV / "bin/fieldstream", "loader"], env=environment)
    time.sleep(15)
    process.kill()
    process.wait()


def second_settings(world: World) -> str:
    """The same settings with another metrics port, so that the second loader really starts."""
    text = world.layout.settings_file.read_text()
    port = world.layout.ports["loader"]
    path = world.layout.config / "second.toml"
    path.write_text(text.replace(f"loader_metrics_port = {port}", f"loader_metrics_port = {port + 5000}"))
    return str(path)


def upgrade(world: World, _chance: random.Random) -> None:
    """Both jobs replaced in mid-stream, with a savepoint each."""
    for job in ("pipeline", "detect"):
        operate.upgrade(world.settings, job)


DRILLS = [
    Drill("gateway-kill", "gateway kill -9, three times", kill("gateway", "gateway", "gateway"), short=True),
    Drill("mqtt-broker-restart", "MQTT broker kill -9", kill("mosquitto")),
    Drill("kafka-kill", "Kafka kill -9", kill("kafka")),
    Drill("kafka-away", "Kafka away for 30 s", away("kafka", 30)),
    Drill("registry-dead", "registry away for 40 s", away("registry", 40)),
    Drill("registry-dead-at-restart", "registry dead while a job restarts", registry_dead_while_a_job_restarts),
    Drill("taskmanager-kill", "TaskManager kill -9", kill("flink-taskmanager"), short=True),
    Drill("jobmanager-kill", "JobManager kill -9", kill("flink-jobmanager"), short=True),
    Drill("python-worker-kill", "Python worker of detect kill -9", kill_python_worker),
    Drill("loader-kill", "loader kill -9, five times", kill(*["loader"] * 5), short=True),
    Drill("clickhouse-kill", "ClickHouse kill -9, three times", kill(*["clickhouse"] * 3), short=True),
    Drill("clickhouse-away", "ClickHouse away for 60 s", away("clickhouse", 60)),
    Drill("alerter-kill", "alerter kill -9, twice", kill("alerter", "alerter")),
    Drill("alertmanager-away", "Alertmanager away for 30 s", away("alertmanager", 30)),
    Drill("upgrade", "both jobs upgraded in mid-stream", upgrade),
    Drill("two-loaders", "a second loader by mistake", second_loader),
    Drill("poison", "records that nobody can read", poison),
    Drill("everything-twice", "every reading sent twice", nothing, ("--duplicate-share", "1")),
    Drill("disorder", "random order within 60 s", nothing, ("--disorder-s", "60")),
    Drill("late", "late by 5 min, 9 min 59 s, 11 min, 3 days", backdated(300, 599, 660, 3 * 86_400), short=True),
    Drill("burst", "ten times the rate", nothing, ("--rate-factor", "50")),
]
