"""`make bench`: how fast the centre is, from Kafka to ClickHouse, beside Flink's own limit in the same session.

The bare job reads the same readings and filters them, nothing else: the share that the whole centre keeps of its rate
does not depend on the machine. Prints a table, writes var/bench/centre.json and centre.png, and ends with one JSON
line. Takes about twelve minutes; READINGS=n makes the backlogs smaller or larger.
"""

import os
import subprocess
import sys
import threading
import time
from typing import Any

import psutil
from bench.centre_report import report
from bench.load import Load
from chaos.world import World
from fieldstream_central.stream.cluster import Cluster
from local import stack
from local.layout import ROOT, VENV
from local.programs import ours
from rich.console import Console

BACKLOG = int(os.environ.get("READINGS") or 2_000_000)
EACH_SECOND = 480_000  # readings of 1,000 devices: as many in a window as each of 100,000 devices has
STEADY = 5000  # readings/s that the plant is taken to send when catching up is measured
STOP_S = 25.0
JOBS = ("pipeline", "detect")
PASSED = ("kafka", "flink-taskmanager", "loader", "clickhouse")  # programs that a reading passes behind Kafka
console = Console()


def stored(world: World, gateway_id: str) -> int:
    """Readings of one load that are in ClickHouse."""
    rows = world.store.query(f"SELECT count() AS n FROM fieldstream.readings_data WHERE gateway_id = '{gateway_id}'")
    return int(rows[0]["n"])


def wait_stored(world: World, load: Load, timeout_s: float = 600) -> float:
    """Waits until a load is stored. Returns the wall clock at which it was. Raises StackError."""
    deadline = time.monotonic() + timeout_s
    while stored(world, load.gateway_id) < load.sent:
        if time.monotonic() > deadline:
            raise stack.StackError(f"{stored(world, load.gateway_id)} of {load.sent} readings stored in {timeout_s} s")
        time.sleep(0.2)
    return time.time()


def stop_jobs(world: World) -> None:
    """Cancels both jobs and keeps them from coming back."""
    world.supervisor.stop("jobs")
    cluster = Cluster(world.settings)
    for name in JOBS:
        if job := cluster.running(name):
            cluster.cancel(job)
    stack.wait_until("cancelled jobs", lambda: not any(map(cluster.running, JOBS)), timeout_s=60)


def cpu_seconds(world: World) -> dict[str, float]:
    """CPU seconds so far of the programs that a reading passes behind Kafka."""
    used = {}
    for name in PASSED:
        times = [process.cpu_times() for process in stack.family_of(world.pid(name))]
        used[name] = sum(each.user + each.system for each in times)
    return used


def memory_mb(world: World) -> dict[str, float]:
    """Resident memory of every program."""
    return {
        name: sum(process.memory_info().rss for process in stack.family_of(info["pid"])) / 1e6
        for name, info in world.supervisor.programs().items()
        if info["pid"] and psutil.pid_exists(info["pid"])
    }


def kafka_bytes(world: World) -> dict[str, int]:
    """Bytes of each topic that a reading gives rise to."""
    return {
        topic: sum(log.stat().st_size for log in world.folder.glob(f"kafka/{topic}-[0-9]*/*.log"))
        for topic in ("readings.raw", "readings.clean", "windows")
    }


def drain(world: World, gateway_id: str, devices: int, readings: int) -> dict[str, Any]:
    """A backlog that is in Kafka before the jobs start: readings/s from first to last stored, and what it takes."""
    console.print(f"  {readings:,} readings of {devices:,} devices in Kafka, then the jobs start ...")
    stop_jobs(world)
    before_bytes = kafka_bytes(world)
    load = Load(world.settings, gateway_id, devices)
    load.backlog(readings)
    before = cpu_seconds(world)
    world.supervisor.start("jobs")
    while not stored(world, gateway_id):
        time.sleep(0.1)
    first_stored, first_at = stored(world, gateway_id), time.time()
    rate = (load.sent - first_stored) / (wait_stored(world, load) - first_at)
    used = {name: (seconds - before[name]) / load.sent * 1e6 for name, seconds in cpu_seconds(world).items()}
    written = {topic: (size - before_bytes[topic]) / load.sent for topic, size in kafka_bytes(world).items()}
    cluster = Cluster(world.settings)
    time.sleep(12)  # a checkpoint that has seen all of it
    state = {name: cluster.state_bytes(str(cluster.running(name))) / devices for name in JOBS}
    [parts] = world.store.query(
        "SELECT countIf(table = 'readings_data') AS readings, countIf(table = 'windows_data') AS windows, "
        "(SELECT count() FROM system.merges) AS merging FROM system.parts WHERE active AND database = 'fieldstream'"
    )
    return {"readings_per_s": rate, "cpu_s_per_million": used, "kafka_bytes_per_reading": written,
            "state_bytes_per_series": state, "parts": parts}  # fmt: skip


def pin(world: World, cores: list[int]) -> None:
    """All threads of the stack to these cores; programs started from now on by supervisord too."""
    supervisor = int((world.folder / "run" / "supervisord.pid").read_text())
    wanted = ",".join(map(str, cores))
    for process in stack.family_of(supervisor):
        subprocess.run(["taskset", "-a", "-c", "-p", wanted, str(process.pid)], capture_output=True, check=False)


def bare(world: World) -> dict[str, float]:
    """Records/s of a job that reads readings.raw and filters, nothing else: by its Avro format, as mere bytes."""
    console.print("  bare Flink: source and filter over the same readings ...")
    environment = os.environ | ours(world.layout, "jobs")
    rates = {}
    for form in ("readings", "bytes"):
        done = subprocess.run([VENV / "bin/python", "-m", "bench.bare_job", form], env=environment,
                              capture_output=True, text=True, check=True)  # fmt: skip
        rates[form] = float(done.stdout.strip().splitlines()[-1])
    return rates


def delays(world: World, gateway_id: str) -> dict[str, float]:
    """Seconds from event to ClickHouse."""
    [row] = world.store.query(
        "SELECT quantilesExact(0.5, 0.95, 0.99)(dateDiff('millisecond', ts, stored_at) / 1000) AS q "
        f"FROM fieldstream.readings_data WHERE gateway_id = '{gateway_id}'"
    )
    return dict(zip(("p50", "p95", "p99"), row["q"], strict=True))


def live(world: World, gateway_id: str, rate: int, seconds: float) -> dict[str, float]:
    """Delay from event to ClickHouse at a steady rate, and the rate at which all of it was stored."""
    console.print(f"  {rate:,} readings/s for {seconds:.0f} s ...")
    load = Load(world.settings, gateway_id, 1000)
    started = time.time()
    load.live(rate, seconds)
    sustained = load.sent / (wait_stored(world, load) - started)
    return delays(world, gateway_id) | {"readings_per_s": sustained}


def catch_up(world: World) -> dict[str, float]:
    """Readings go on at the steady rate while both jobs are stopped; then how fast what has piled up is stored."""
    console.print(f"  the jobs stopped for {STOP_S:.0f} s at {STEADY:,} readings/s, then catching up ...")
    load = Load(world.settings, "stopped", 1000)
    sender = threading.Thread(target=load.live, args=(STEADY, STOP_S + 60))
    sender.start()
    time.sleep(5)
    stop_jobs(world)
    before = stored(world, "stopped")
    time.sleep(STOP_S)
    world.supervisor.start("jobs")
    while stored(world, "stopped") == before:
        time.sleep(0.1)
    first_at, first_stored = time.time(), stored(world, "stopped")
    while load.sent - stored(world, "stopped") > STEADY:  # within a second of now
        time.sleep(0.1)
    took_s, done = time.time() - first_at, stored(world, "stopped") - first_stored
    sender.join()
    return {"readings_per_s": done / took_s, "seconds": took_s}


def main() -> int:
    """Runs the bench on a stack of its own."""
    folder = ROOT / "var" / "bench"
    world = World(folder / "stack", breakable=False)
    world.start()
    try:
        measured: dict[str, Any] = {"drain_10": drain(world, "few", 10, BACKLOG // 8)}  # warms the cluster up, too
        measured["drain_1000"] = drain(world, "some", 1000, BACKLOG)
        measured["bare"] = bare(world)
        measured["live_5000"] = live(world, "calm", 5000, 30)
        measured["live_20000"] = live(world, "busy", 20_000, 30)
        measured["catch_up"] = catch_up(world)
        measured["drain_1000_each_second"] = drain(world, "second", 1000, min(BACKLOG, EACH_SECOND))
        measured["drain_100000"] = drain(world, "many", 100_000, BACKLOG // 2)
        measured["memory_mb"] = memory_mb(world)
        pin(world, [0])
        measured["drain_1000_one_core"] = drain(world, "pinned", 1000, BACKLOG // 10)
    finally:
        world.stop()
    report(measured, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
