"""`make bench`: how fast the centre is, from Kafka to ClickHouse, beside Flink's own limit in the same session.

The bare job reads the same records and filters them, nothing else: the share that the whole centre keeps of
its rate does not depend on the machine. Prints a table, writes var/bench/centre.json and centre.png, and ends
with one JSON line.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import psutil
from bench.load import Load
from chaos.world import World
from fieldstream_central.stream.cluster import Cluster
from local import stack
from local.layout import ROOT, VENV
from local.programs import ours
from rich.console import Console
from rich.table import Table

matplotlib.use("Agg")
BACKLOG = int(os.environ.get("READINGS") or 1_500_000)
console = Console()


@dataclass(frozen=True)
class Figure:
    """One row of the table; `lower` is better for delays."""

    name: str
    unit: str
    must: float
    goal: float
    value: float | None
    lower: bool = False

    def reaches(self, bound: float) -> bool:
        """Whether the value is at least as good as the bound."""
        return self.value is not None and (self.value <= bound if self.lower else self.value >= bound)


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
    cluster = Cluster(world.layout.url("flink"))
    for name in ("pipeline", "detect"):
        if job := cluster.running(name):
            cluster.cancel(job)
    stack.wait_until("cancelled jobs", lambda: not any(map(cluster.running, ("pipeline", "detect"))), timeout_s=60)


def cpu_seconds(world: World) -> dict[str, float]:
    """CPU seconds so far of the programs that a reading passes behind Kafka."""
    names = ("kafka", "flink-taskmanager", "loader", "clickhouse")
    used = {}
    for name in names:
        times = [process.cpu_times() for process in stack.family_of(world.pid(name))]
        used[name] = sum(each.user + each.system for each in times)
    return used


def drain(world: World, gateway_id: str, devices: int) -> dict[str, Any]:
    """A backlog that is in Kafka before the jobs start: readings/s from first to last stored, CPU per million."""
    console.print(f"  {BACKLOG:,} readings of {devices:,} devices in Kafka, then the jobs start ...")
    stop_jobs(world)
    load = Load(world.settings, gateway_id, devices)
    load.backlog(BACKLOG)
    before = cpu_seconds(world)
    world.supervisor.start("jobs")
    while not stored(world, gateway_id):
        time.sleep(0.1)
    first_stored, first_at = stored(world, gateway_id), time.time()
    rate = (load.sent - first_stored) / (wait_stored(world, load) - first_at)
    used = {name: (seconds - before[name]) / load.sent * 1e6 for name, seconds in cpu_seconds(world).items()}
    return {"readings_per_s": rate, "cpu_s_per_million": used}


def bare(world: World) -> float:
    """Records/s of a job that reads readings.raw and filters, nothing else."""
    console.print("  bare Flink: source and filter over the same records ...")
    environment = os.environ | ours(world.layout)
    done = subprocess.run(
        [VENV / "bin/python", "-m", "bench.bare_job"], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.strip().splitlines()[-1])


def live(world: World, gateway_id: str, rate: int, seconds: float) -> dict[str, float]:
    """Delay from event to ClickHouse at a steady rate, seconds."""
    console.print(f"  {rate:,} readings/s for {seconds:.0f} s ...")
    load = Load(world.settings, gateway_id, 1000)
    load.live(rate, seconds)
    wait_stored(world, load)
    [row] = world.store.query(
        "SELECT quantilesExact(0.5, 0.95, 0.99)(dateDiff('millisecond', ts, stored_at) / 1000) AS q "
        f"FROM fieldstream.readings_data WHERE gateway_id = '{gateway_id}'"
    )
    return dict(zip(("p50", "p95", "p99"), row["q"], strict=True))


def figures(measured: dict[str, Any]) -> list[Figure]:
    """The rows of the table with their bounds."""
    few, many = measured["drain_1000"]["readings_per_s"], measured["drain_100000"]["readings_per_s"]
    return [
        Figure("drain_readings_per_s", "1/s", 20_000, 50_000, few),
        Figure("event_to_clickhouse_p95_at_20000", "s", 5, 2, measured["live_20000"]["p95"], lower=True),
        Figure("event_to_clickhouse_p95_at_5000", "s", 2, 1, measured["live_5000"]["p95"], lower=True),
        Figure("event_to_clickhouse_p99_at_5000", "s", 5, 2, measured["live_5000"]["p99"], lower=True),
        Figure("share_of_bare_flink", "", 0.1, 0.25, few / measured["bare_records_per_s"]),
        Figure("throughput_100000_devices_to_1000", "", 0.7, 0.9, many / few),
    ]


def main() -> int:
    """Runs the bench on a stack of its own."""
    world = World(ROOT / "var" / "bench" / "stack")
    world.start()
    try:
        measured: dict[str, Any] = {"drain_1000": drain(world, "few", 1000), "bare_records_per_s": bare(world)}
        measured["live_5000"] = live(world, "calm", 5000, 30)
        measured["live_20000"] = live(world, "busy", 20_000, 30)
        measured["drain_100000"] = drain(world, "many", 100_000)
        measured["memory_mb"] = {
            name: sum(p.memory_info().rss for p in stack.family_of(info["pid"])) / 1e6
            for name, info in world.supervisor.programs().items()
            if info["pid"] and psutil.pid_exists(info["pid"])
        }
    finally:
        world.stop()
    report(figures(measured), measured, ROOT / "var" / "bench")
    return 0


def report(rows: Sequence[Figure], measured: dict[str, Any], folder: Path) -> None:
    """Table, files, JSON line."""
    table = Table("figure", "unit", "must", "goal", "measured", "")
    for row in rows:
        said = "goal" if row.reaches(row.goal) else "must" if row.reaches(row.must) else "not reached"
        table.add_row(row.name, row.unit, f"{row.must:g}", f"{row.goal:g}", f"{row.value:,.2f}", said)
    console.print(table)
    result = {
        "figures": {
            row.name: {"value": row.value, "must": row.must, "goal": row.goal, "reached": row.reaches(row.must)}
            for row in rows
        }
    }
    (folder / "centre.json").write_text(json.dumps(result | {"measured": measured}, indent=1))
    plot(measured, folder / "centre.png")
    print(json.dumps(result))


def plot(measured: dict[str, Any], path: Path) -> None:
    """CPU seconds per million readings of each program."""
    from matplotlib import pyplot

    used = measured["drain_1000"]["cpu_s_per_million"]
    figure, axes = pyplot.subplots(figsize=(7, 3))
    axes.barh(list(used), list(used.values()))
    axes.set_xlabel("CPU seconds per million readings")
    axes.set_title(f"Draining a backlog: {measured['drain_1000']['readings_per_s']:,.0f} readings/s")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
