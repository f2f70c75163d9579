"""What `make bench` says: the table with must, goal and measured value, the plots, the JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from rich.console import Console
from rich.table import Table

matplotlib.use("Agg")
DRAINS = {
    "10": "drain_10",
    "1,000": "drain_1000",
    "1,000, each second": "drain_1000_each_second",
    "100,000, each second": "drain_100000",
    "1,000, one core": "drain_1000_one_core",
}
console = Console(width=120)


@dataclass(frozen=True)
class Figure:
    """One row of the table; `lower` is better for delays."""

    name: str
    unit: str
    must: float
    goal: float
    value: float
    lower: bool = False

    def reaches(self, bound: float) -> bool:
        """Whether the value is at least as good as the bound."""
        return self.value <= bound if self.lower else self.value >= bound


def figures(measured: Mapping[str, Any]) -> list[Figure]:
    """The rows of the table with their bounds."""
    drained = measured["drain_1000"]["readings_per_s"]
    # Both have ten readings in a window, so that only the number of devices differs.
    many, few = (measured[name]["readings_per_s"] for name in ("drain_100000", "drain_1000_each_second"))
    calm, busy = measured["live_5000"], measured["live_20000"]
    # Sustained: what was sent at this rate was stored at it, with the delay of the next row.
    return [
        Figure("sustained_readings_per_s", "1/s", 20_000, 50_000, max(busy["readings_per_s"], drained)),
        Figure("event_to_clickhouse_p95_at_20000", "s", 5, 5, busy["p95"], lower=True),
        Figure("event_to_clickhouse_p95_at_5000", "s", 2, 1, calm["p95"], lower=True),
        Figure("event_to_clickhouse_p99_at_5000", "s", 5, 2, calm["p99"], lower=True),
        Figure("share_of_bare_flink", "", 0.1, 0.25, drained / measured["bare"]["readings"]),
        Figure("throughput_100000_devices_to_1000", "", 0.7, 0.9, many / few),
        Figure("catch_up_to_steady_rate", "", 2, 4, measured["catch_up"]["readings_per_s"] / 5000),
    ]


def report(measured: Mapping[str, Any], folder: Path) -> None:
    """Tables, files, JSON line."""
    rows = figures(measured)
    table = Table("figure", "unit", "must", "goal", "measured", "")
    for row in rows:
        said = "goal" if row.reaches(row.goal) else "must" if row.reaches(row.must) else "not reached"
        table.add_row(row.name, row.unit, f"{row.must:g}", f"{row.goal:g}", f"{row.value:,.2f}", said)
    console.print(table)
    console.print(details(measured))
    result = {
        "figures": {
            row.name: {"value": row.value, "must": row.must, "goal": row.goal, "reached": row.reaches(row.must)}
            for row in rows
        }
    }
    (folder / "centre.json").write_text(json.dumps(result | {"measured": measured}, indent=1))
    plot(measured, folder / "centre.png")
    print(json.dumps(result))


def details(measured: Mapping[str, Any]) -> Table:
    """Each drain: rate, CPU by program, bytes in Kafka and in state."""
    table = Table("devices", "readings/s", "CPU s per million", "Kafka bytes/reading", "state bytes/series", "parts")
    for name, key in DRAINS.items():
        run = measured[key]
        used, written, state = (
            run[part] for part in ("cpu_s_per_million", "kafka_bytes_per_reading", "state_bytes_per_series")
        )
        table.add_row(
            name,
            f"{run['readings_per_s']:,.0f}",
            ", ".join(f"{program.removeprefix('flink-')} {seconds:.0f}" for program, seconds in used.items()),
            ", ".join(f"{topic} {size:.0f}" for topic, size in written.items()),
            ", ".join(f"{job} {size:,.0f}" for job, size in state.items()),
            ", ".join(f"{what} {count}" for what, count in run["parts"].items()),
        )
    return table


def plot(measured: Mapping[str, Any], path: Path) -> None:
    """Rates by number of devices, CPU by program, delays by rate."""
    from matplotlib import pyplot

    figure, (rates, cpu, delay) = pyplot.subplots(1, 3, figsize=(13, 3.5))
    rates.bar(list(DRAINS), [measured[key]["readings_per_s"] for key in DRAINS.values()])
    rates.set_title("Draining a backlog, readings/s by devices")
    rates.tick_params(axis="x", labelsize=7)
    used = measured["drain_1000"]["cpu_s_per_million"]
    cpu.barh(list(used), list(used.values()))
    cpu.set_title("CPU seconds per million readings")
    for name, rate in (("live_5000", "5,000/s"), ("live_20000", "20,000/s")):
        delay.plot(["p50", "p95", "p99"], [measured[name][q] for q in ("p50", "p95", "p99")], marker="o", label=rate)
    delay.set_title("Event to ClickHouse, seconds")
    delay.set_ylim(bottom=0)
    delay.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
