"""What is done to a running stack: kills, absences, full disks, power cuts, cuts of the network, upgrades."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from fieldstream_schemas.topics import READINGS_RAW
from local.layout import VENV

from chaos.disks import full
from chaos.network import Proxy
from chaos.world import World

Hurt = Callable[[World, random.Random], None]
WINDOW_S = 10
UNTIL_S = 300.0  # a bound, not a promise: in a storm, three other things are broken at the same time


class DrillError(Exception):
    """Something that the drill itself looks at is not as it should be."""


@dataclass(frozen=True)
class Drill:
    """One drill. `fleet`: options for the simulator; `short`: part of `make test`; `storm`: may be mixed with others.

    `calm`: it looks at something that only a healthy stack shows, so in a storm it waits for that.
    `alone`: it needs a stack of its own, with these settings of a World. `needs`: mounts, proxy, or nothing.
    """

    name: str
    what: str
    hurt: Hurt
    fleet: tuple[str, ...] = ()
    silent_from_s: float | None = None
    short: bool = False
    storm: bool = False
    calm: bool = False
    alone: dict[str, Any] | None = None
    needs: str = ""

    def lacks(self, world: World) -> str:
        """Why it cannot be done here; empty if it can."""
        if self.needs == "mounts" and not world.can_mount:
            return "needs root and loop devices"
        if self.needs == "proxy" and world.proxy is None:
            return "needs Toxiproxy, which Go builds"
        return ""


def until(what: str, true: Callable[[], bool], timeout_s: float = UNTIL_S) -> None:
    """Asks until the answer is yes. Raises DrillError."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise DrillError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.5)


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


def restart(program: str, seconds: float) -> Hurt:
    """Stopped in good order, and started again after a while."""

    def hurt(world: World, _chance: random.Random) -> None:
        world.supervisor.stop(program)
        time.sleep(seconds)
        world.supervisor.start(program)

    return hurt


def nothing(_world: World, _chance: random.Random) -> None:
    """The fleet itself is the drill."""


def kill_python_worker(world: World, _chance: random.Random) -> None:
    """The worker process of the detect job."""
    if not world.kill_python_workers():
        raise DrillError("no Python worker was found below the TaskManager")


def registry_dead_while_a_job_restarts(world: World, _chance: random.Random) -> None:
    """The jobs must come back without any registry."""
    world.supervisor.stop("registry")
    world.kill("flink-taskmanager")
    time.sleep(25)
    world.supervisor.start("registry")


def power_cut(world: World, _chance: random.Random) -> None:
    """The gateway's host loses power twice: what was not synced to its disk is gone."""
    assert world.gateway_disk is not None
    for _ in range(2):
        pid = world.pid("gateway")
        os.kill(pid, signal.SIGSTOP)  # at this instant: what it has acknowledged must be in the copy
        copy = world.gateway_disk.copy_as_it_is()
        os.kill(pid, signal.SIGKILL)
        world.supervisor.stop("gateway")
        world.gateway_disk.replace_by(copy)
        world.supervisor.start("gateway")
        time.sleep(4)


def disk_full(folder: str, seconds: float, *, kill_meanwhile: str = "") -> Hurt:
    """The file system below a folder of the stack is full for a while."""

    def hurt(world: World, _chance: random.Random) -> None:
        with full(world.folder / folder):
            time.sleep(seconds / 2)
            if kill_meanwhile:
                world.kill(kill_meanwhile)
            time.sleep(seconds / 2)

    return hurt


def network(cut: Callable[[Proxy], None]) -> Hurt:
    """Something happens to the way between gateway and Kafka."""

    def hurt(world: World, _chance: random.Random) -> None:
        assert world.proxy is not None
        cut(world.proxy)

    return hurt


def slow(proxy: Proxy) -> None:
    """A second each way with jitter, and 40 KB/s."""
    with (
        proxy.toxic("latency", "upstream", latency=1000, jitter=500),
        proxy.toxic("latency", "downstream", latency=1000, jitter=500),
        proxy.toxic("bandwidth", "upstream", rate=40),
    ):
        time.sleep(30)


def lossy(proxy: Proxy) -> None:
    """Answers get lost and connections break off in mid-record, again and again."""
    for _ in range(6):
        with proxy.toxic("timeout", "downstream", timeout=2000):  # Kafka hears, the gateway does not: then closed
            time.sleep(3)
        with proxy.toxic("limit_data", "upstream", bytes=20_000):
            time.sleep(2)
        time.sleep(1)


def ends(world: World) -> dict[int, int]:
    """The next offset of each partition of readings.raw."""
    consumer = Consumer({"bootstrap.servers": world.settings.kafka, "group.id": "chaos"})
    try:
        partitions = [TopicPartition(READINGS_RAW.name, number) for number in range(READINGS_RAW.partitions)]
        return {p.partition: consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions}
    finally:
        consumer.close()


def read_to(world: World, end: dict[int, int]) -> bool:
    """Whether the pipeline's newest checkpoint has all before these offsets."""
    admin = AdminClient({"bootstrap.servers": world.settings.kafka})
    partitions = [TopicPartition(READINGS_RAW.name, number) for number in end]
    group = ConsumerGroupTopicPartitions("fieldstream-pipeline", partitions)
    answer = next(iter(admin.list_consumer_group_offsets([group]).values())).result()
    return all(partition.offset >= end[partition.partition] for partition in answer.topic_partitions)


def delete_records(world: World, before: dict[int, int]) -> None:
    """Kafka forgets all of readings.raw before these offsets."""
    admin = AdminClient({"bootstrap.servers": world.settings.kafka})
    cut = [TopicPartition(READINGS_RAW.name, partition, offset) for partition, offset in before.items()]
    for future in admin.delete_records(cut).values():
        future.result()


def retention_then_kill(world: World, _chance: random.Random) -> None:
    """Kafka deletes what the pipeline has read, and the TaskManager dies: only a checkpoint knows the open windows.

    It deletes from early in a window on, so that the state of that window lies in the checkpoint alone. Where no
    checkpoint follows within the window it tries the next ones, and then goes ahead: that is the sabotage.
    """
    read = False
    for _ in range(6):
        time.sleep(WINDOW_S - (time.time() - 3) % WINDOW_S)
        end = ends(world)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not (read := read_to(world, end)):
            time.sleep(0.2)
        if read:
            break
    delete_records(world, end)
    world.kill("flink-taskmanager")


def second_loader(world: World, _chance: random.Random) -> None:
    """Started by mistake beside the first; both go on for a while."""
    text = world.layout.settings_file.read_text()
    port = world.layout.ports["loader"]
    path = world.layout.config / "second.toml"
    # With another metrics port, so that it really starts.
    path.write_text(text.replace(f"loader_metrics_port = {port}", f"loader_metrics_port = {port + 5000}"))
    environment = {"FIELDSTREAM_CONFIG": str(path), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen([VENV / "bin/fieldstream", "loader"], env=environment)
    time.sleep(15)
    process.kill()
    process.wait()


def second_gateway(world: World, _chance: random.Random) -> None:
    """Started by mistake on the same spool: it must refuse and say why."""
    port = world.layout.ports["gateway"]
    path = world.layout.config / "second-gateway.toml"
    path.write_text(
        (world.layout.config / "gateway.toml").read_text().replace(f"port = {port}", f"port = {port + 5000}")
    )
    command = [str(VENV / "bin/fieldstream-gateway"), "run", "--config", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired as error:
        raise DrillError("a second gateway runs on the same spool") from error
    if done.returncode == 0 or "spool" not in done.stderr + done.stdout:
        raise DrillError(f"a second gateway ended with {done.returncode}: {done.stderr[-500:]}")
