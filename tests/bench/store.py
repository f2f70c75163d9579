"""`make bench-store`: a year of readings, the questions people ask of it, beside a naive table in the same run.

Prints a table of figures with must and goal, then one JSON object as its last line; the same and a plot in var/bench.
The store it builds stays in var/bench/store and is taken up again by the next run, also where a run was broken off:
`--rows` builds a smaller one, or only so far; `--rebuild` makes it anew.
"""

import argparse
import json
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from bench.store_data import BLOCK_MS, REPEATS, Year, simulate
from bench.store_load import api_process, api_rate, asked_by_eight, go_on_inserting, insert_rate, visible_after
from bench.store_questions import Ask, Questions
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.migrate import migrate
from fieldstream_central.store.status import column_status, table_status
from fieldstream_central.store.verify import disagreements, spans
from integration.store.rig import Store
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "var" / "bench"
console = Console(width=130)

# Each with its must, its goal, and whether smaller is better. One caller, warm: the slowest question's p95. Cold, and
# eight callers at once: the p95 of all answers; each question's own is in the table.
FIGURES = {
    "query_p95_ms": (500.0, 100.0, True),
    "query_p95_ms_8_callers": (500.0, 100.0, True),
    "query_cold_p95_ms": (500.0, 100.0, True),
    "ratio_to_naive_median": (0.2, 0.05, True),
    "bytes_per_reading": (8.0, 4.0, True),
    "rollups_wrong": (0.0, 0.0, True),
    "visible_p95_s": (5.0, 1.5, True),
    "api_requests_per_s": (200.0, 500.0, False),
    "api_errors": (0.0, 0.0, True),
    "resident_mb": (2048.0, 1024.0, True),
    "insert_rows_per_s": (20_000.0, 50_000.0, False),
}


def timed(ask: Ask, times: int) -> list[float]:
    """Milliseconds of each turn."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        ask()
        found.append((time.perf_counter() - started) * 1000)
    return found


def cpu_ms(pid: int, ask: Ask, times: int) -> float:
    """Milliseconds of CPU that the store needs for an answer: what other work on the machine does not change."""
    before = psutil.Process(pid).cpu_times()
    for _ in range(times):
        ask()
    after = psutil.Process(pid).cpu_times()
    return (after.user + after.system - before.user - before.system) * 1000 / times


def p95(values: list[float]) -> float:
    """The 95th percentile, the largest of fewer than twenty."""
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def small(clickhouse: ClickHouse, end_ms: int) -> dict[str, Any]:
    """What is compared at the first four weeks and at the whole."""
    questions = Questions(clickhouse, httpx.Client(), end_ms - BLOCK_MS, end_ms)
    times = {name: statistics.median(timed(ours, 5)) for name, (ours, _) in questions.pairs().items()}
    held = {row["table"]: row for row in table_status(clickhouse)}["readings_data"]
    return {"rows": held["rows"], "bytes_per_row": held["bytes_per_row"], "p50_ms": times}


def build(folder: Path, rows: int) -> None:
    """The store of a year, or what it lacks of so many readings. How far it has come stands in `made.json`."""
    marks = folder / "made.json"
    blocks = max(2, round(REPEATS * rows / 100_000_000))
    made = json.loads(marks.read_text()) if marks.exists() else {"blocks": 0}
    if made["blocks"] >= blocks and "wrong" in made:
        return
    made.setdefault("end_ms", (int(time.time()) // 86_400 + 1) * 86_400_000)
    folder.mkdir(parents=True, exist_ok=True)
    marks.write_text(json.dumps(made))
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - started:6.0f} s  {text}")

    simulate(OUT / "weeks")
    store = Store(folder, memory_mb=6000)
    try:
        migrate(store.url)
        with ClickHouse(store.url, timeout_s=7200.0) as clickhouse:
            year = Year(clickhouse, OUT / "weeks", end_ms=made["end_ms"], say=say)
            if clickhouse.value("EXISTS TABLE naive"):
                year.resume(made["blocks"])
            else:
                year.begin()
            for block in range(made["blocks"], blocks):
                year.add(block)
                made |= {"blocks": block + 1, "start_ms": year.begin_of(block)}
                if not block:
                    made["first"] = small(clickhouse, made["end_ms"])
                marks.write_text(json.dumps(made))
            year.finish(made["blocks"])
            # Every tenth run of days, and the newest: all of a year takes an hour.
            days = spans(clickhouse)
            looked_at = sorted({*days[::10], *days[-8:]})
            made["wrong"] = disagreements(clickhouse, looked_at, settled_s=0)
            found = made["wrong"] or "all right"
            say(f"roll-ups and windows compared in {len(looked_at)} of {len(days)} runs of days: {found}")
    finally:
        store.process.stop()
    marks.write_text(json.dumps(made))


@contextmanager
def questions_of(store: Store, made: Mapping[str, Any]) -> Iterator[Questions]:
    """Questions of a running store and an API process of its own."""
    with (
        api_process(store.url) as (url, _),
        ClickHouse(store.url, timeout_s=600.0) as clickhouse,
        httpx.Client(base_url=url, timeout=60) as api,
    ):
        yield Questions(clickhouse, api, made["start_ms"], min(made["end_ms"], int(time.time() * 1000)))


def measure(folder: Path, turns: int) -> tuple[dict[str, float], dict[str, Any]]:
    """All figures, and details."""
    made = json.loads((folder / "made.json").read_text())
    store = Store(folder, memory_mb=1500)
    try:
        with questions_of(store, made) as questions:
            return _measure(store, questions, made, turns)
    finally:
        store.process.stop()


def _measure(
    store: Store, questions: Questions, made: Mapping[str, Any], turns: int
) -> tuple[dict[str, float], dict[str, Any]]:
    clickhouse = questions.clickhouse
    status = {row["table"]: row for row in table_status(clickhouse)}
    asked = questions.dashboards() | questions.documented()
    cold = {name: timed(ask, 1)[0] for name, ask in asked.items()}
    cpu = {name: cpu_ms(store.process.pid, ask, 3) for name, ask in asked.items()}
    stop = threading.Event()
    feeder = threading.Thread(target=go_on_inserting, args=(store.url, stop))
    feeder.start()
    try:
        warm = {name: timed(ask, turns) for name, ask in asked.items()}
        crowd = asked_by_eight(lambda: questions_of(store, made))
        visible = visible_after(store.url, 20)
        inserted = insert_rate(store.url)
        rate, errors = api_rate(store.url, questions)
        resident = psutil.Process(store.process.pid).memory_info().rss / 1e6
        pairs = {name: (timed(ours, 5), timed(naive, 2)) for name, (ours, naive) in questions.pairs().items()}
    finally:
        stop.set()
        feeder.join()
    ratios = {name: statistics.median(ours) / statistics.median(naive) for name, (ours, naive) in pairs.items()}
    figures = {
        "query_p95_ms": max(map(p95, warm.values())),
        "query_p95_ms_8_callers": p95([took for times in crowd.values() for took in times]),
        "query_cold_p95_ms": p95(list(cold.values())),
        "ratio_to_naive_median": statistics.median(ratios.values()),
        "bytes_per_reading": status["readings_data"]["bytes_per_row"],
        "rollups_wrong": float(len(made["wrong"])),
        "visible_p95_s": p95(visible),
        "api_requests_per_s": rate,
        "api_errors": float(errors),
        "resident_mb": resident,
        "insert_rows_per_s": inserted,
    }
    details = {
        "rows": status["readings_data"]["rows"],
        "warm_ms": {name: {"p50": statistics.median(t), "p95": p95(t)} for name, t in warm.items()},
        "cold_ms": cold,
        "cpu_ms": cpu,
        "eight_callers_p95_ms": {name: p95(times) for name, times in crowd.items()},
        "pairs_ms": {name: [statistics.median(one) for one in both] for name, both in pairs.items()},
        "ratios": ratios,
        "growth": {
            "from": made["first"],
            "to_ms": {name: statistics.median(ours) for name, (ours, _) in pairs.items()},
        },
        "columns": {row["column"]: row["bytes_per_row"] for row in column_status(clickhouse, "readings_data")},
        "tables": status,
        "problems": made["wrong"],
    }
    return figures, details


def report(figures: Mapping[str, float], details: Mapping[str, Any]) -> None:
    """The tables, the plot, the file, and the JSON as the last line."""
    table = Table(
        "question", "CPU ms", "cold ms", "p50 ms", "p95 ms", "8 callers p95", title=f"{details['rows']:,} readings"
    )
    slowest = sorted(details["warm_ms"].items(), key=lambda item: -item[1]["p95"])
    shown = [item for number, item in enumerate(slowest) if number < 15 or item[0].startswith("API")]
    for name, times in shown:
        crowd = details["eight_callers_p95_ms"].get(name)
        row = (
            details["cpu_ms"][name],
            details["cold_ms"][name],
            times["p50"],
            times["p95"],
            crowd if crowd is not None else float("nan"),
        )
        table.add_row(name, *(f"{value:.1f}" for value in row))
    console.print(table, f"(the 15 slowest of {len(slowest)} and the API's)")
    table = Table("question", "ours ms", "naive ms", "ratio", "ours at the first four weeks")
    for name, (ours, naive) in details["pairs_ms"].items():
        first = details["growth"]["from"]["p50_ms"][name]
        table.add_row(name, f"{ours:.1f}", f"{naive:.1f}", f"{details['ratios'][name]:.3f}", f"{first:.1f}")
    console.print(table)
    summary: dict[str, Any] = {}
    table = Table("figure", "must", "goal", "measured", "")
    for name, (must, goal, smaller) in FIGURES.items():
        value = figures[name]
        reached = value <= must if smaller else value >= must
        best = value <= goal if smaller else value >= goal
        word = "goal" if best else "must" if reached else "MISSED"
        table.add_row(name, f"{must:g}", f"{goal:g}", f"{value:.4g}", word)
        summary[name] = {"value": round(value, 4), "must": must, "goal": goal, "reached": reached}
    console.print(table)
    plot(details)
    (OUT / "store.json").write_text(json.dumps({"figures": summary, "details": details}, indent=1, default=str))
    sys.stdout.write(json.dumps({"figures": summary}) + "\n")


def plot(details: Mapping[str, Any]) -> None:
    """Every question's p95, and ours beside the naive table's."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5))
    left.hist([times["p95"] for times in details["warm_ms"].values()], bins=40)
    left.set(title=f"{len(details['warm_ms'])} questions, {details['rows']:,} readings", xlabel="p95, ms")
    names = list(details["pairs_ms"])
    for offset, label in ((0, "ours"), (1, "naive")):
        values = [details["pairs_ms"][name][offset] for name in names]
        right.barh([number + 0.4 * offset for number in range(len(names))], values, 0.4, label=label)
    right.set_yticks(range(len(names)), names, fontsize=7)
    right.set(xscale="log", xlabel="median, ms")
    right.legend()
    figure.tight_layout()
    figure.savefig(OUT / "store.png", dpi=90)


def main() -> None:
    """Entry of `make bench-store`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--only-build", action="store_true", help="build, measure another time")
    parser.add_argument("--turns", type=int, default=20, help="times that each question is asked")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    folder = OUT / "store"
    if args.rebuild:
        shutil.rmtree(folder, ignore_errors=True)
    build(folder, args.rows)
    if not args.only_build:
        report(*measure(folder, args.turns))


if __name__ == "__main__":
    main()
