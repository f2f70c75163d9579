"""`make bench-store`: a year of readings, the questions people ask of it, beside a naive table in the same run.

Prints a table of figures with must and goal, then one JSON object as its last line; the same in var/bench.
`--rows` makes it smaller; figures for growth need the full 100 million.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from bench.store_data import NAIVE, SENSORS, YEAR_S, fill, make_rollups, make_windows
from fieldstream_central.serve.api.params import Span
from fieldstream_central.serve.series import load_series
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.store.audit import audit
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.migrate import migrate
from fieldstream_central.store.status import column_status, table_status
from fieldstream_central.store.verify import verify
from integration.store.rig import Process, Store, eventually, free_port
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
console = Console(width=120)

# Each with its must, its goal, and whether smaller is better.
FIGURES = {
    "query_p95_ms": (500.0, 100.0, True),
    "query_p95_ms_8_callers": (500.0, 100.0, True),
    "ratio_to_naive_median": (0.2, 0.05, True),
    "bytes_per_reading": (8.0, 4.0, True),
    "rollups_wrong": (0.0, 0.0, True),
    "api_requests_per_s": (200.0, 500.0, False),
    "resident_mb": (2048.0, 1024.0, True),
    "insert_rows_per_s": (20_000.0, 50_000.0, False),
}
_SENSOR = "device_id = 'device-{device:03d}' AND metric = 'temperature'"


class Questions:
    """The ten questions, each asked of our tables and, where it makes sense, of the naive one."""

    def __init__(self, url: str, end_s: float) -> None:
        self._url = url
        self._end = end_s
        self._turn = 0

    def _device(self) -> int:
        self._turn += 7
        return self._turn % (SENSORS // 4)

    def _where(self, seconds: float) -> str:
        sensor = _SENSOR.format(device=self._device())
        return f"{sensor} AND ts >= toDateTime64({self._end - seconds}, 3) AND ts < toDateTime64({self._end}, 3)"

    def _series(self, days: float) -> Callable[[], object]:
        from datetime import UTC, datetime

        def ask() -> object:
            span = Span(datetime.fromtimestamp(self._end - days * 86_400, UTC), datetime.fromtimestamp(self._end, UTC))

            async def run() -> object:
                store = StoreReader(self._url)
                try:
                    return await load_series(store, f"device-{self._device():03d}", "temperature", span, 500)
                finally:
                    await store.close()

            return asyncio.run(run())

        return ask

    def ours(self, clickhouse: ClickHouse) -> dict[str, Callable[[], object]]:
        """Name to question."""
        rows = clickhouse.rows
        end = f"toDateTime64({self._end}, 3)"
        return {
            "readings, 1 hour": lambda: rows(
                f"SELECT * FROM fieldstream.readings WHERE {self._where(3600)} ORDER BY ts LIMIT 1000"
            ),
            "readings, 1 day": lambda: rows(
                f"SELECT * FROM fieldstream.readings WHERE {self._where(86400)} ORDER BY ts LIMIT 1000"
            ),
            "series, 1 day": self._series(1),
            "series, 30 days": self._series(30),
            "series, 1 year": self._series(365),
            "windows, 1 hour": lambda: rows(
                f"SELECT * FROM fieldstream.windows WHERE {self._where(3600).replace('ts ', 'window_start ')}"
            ),
            "last value of all sensors": lambda: rows(
                "SELECT device_id, metric, argMax(last, window_start) FROM fieldstream.windows "
                f"WHERE window_start >= {end} - INTERVAL 30 MINUTE GROUP BY device_id, metric"
            ),
            "all sensors by the day, 1 year": lambda: rows(
                "SELECT device_id, metric, bucket_start, mean, min, max FROM fieldstream.rollups WHERE width_s = 86400 "
                f"AND asset_id = 'asset-{self._device() // 2}'"
            ),
            "ten highest, 30 days": lambda: rows(
                "SELECT device_id, metric, max(r.max) AS top FROM fieldstream.rollups AS r WHERE width_s = 3600 AND "
                f"bucket_start >= {end} - INTERVAL 30 DAY GROUP BY device_id, metric ORDER BY top DESC LIMIT 10"
            ),
            "completeness": lambda: audit(clickhouse, duplicate_hours=1),
        }

    def naive(self, clickhouse: ClickHouse) -> dict[str, Callable[[], object]]:
        """The same questions of the naive table."""
        rows = clickhouse.rows
        end = f"toDateTime64({self._end}, 3)"

        def series(days: float) -> Callable[[], object]:
            width = days * 86_400 / 499
            return lambda: rows(
                f"SELECT intDiv(toUnixTimestamp64Milli(ts), {int(width * 1000)}) AS b, avg(value), min(value), "
                f"max(value) FROM naive WHERE {self._where(days * 86_400)} GROUP BY b ORDER BY b"
            )

        return {
            "readings, 1 hour": lambda: rows(f"SELECT * FROM naive WHERE {self._where(3600)} ORDER BY ts LIMIT 1000"),
            "readings, 1 day": lambda: rows(f"SELECT * FROM naive WHERE {self._where(86400)} ORDER BY ts LIMIT 1000"),
            "series, 1 day": series(1),
            "series, 30 days": series(30),
            "series, 1 year": series(365),
            "all sensors by the day, 1 year": lambda: rows(
                "SELECT device_id, metric, toDate(ts) AS day, avg(value), min(value), max(value) FROM naive WHERE "
                f"asset_id = 'asset-{self._device() // 2}' GROUP BY ALL"
            ),
            "ten highest, 30 days": lambda: rows(
                f"SELECT device_id, metric, max(value) AS top FROM naive WHERE ts >= {end} - INTERVAL 30 DAY "
                "GROUP BY device_id, metric ORDER BY top DESC LIMIT 10"
            ),
            "completeness": lambda: rows("SELECT gateway_id, epoch, uniqExact(seq), max(seq) FROM naive GROUP BY ALL"),
        }


def timed(ask: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each turn."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        ask()
        found.append((time.perf_counter() - started) * 1000)
    return found


def p95(values: list[float]) -> float:
    """The 95th percentile, the largest of fewer than twenty."""
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def build(clickhouse: ClickHouse, rows: int, end_s: int) -> float:
    """Fills both tables month by month; rows per second into ours."""
    step_ms = YEAR_S * 1000 * SENSORS // rows
    start_ms = end_s * 1000 - (rows // SENSORS) * step_ms
    clickhouse.execute(NAIVE)
    spent = 0.0
    part = max(rows // 24 // SENSORS * SENSORS, SENSORS)
    for first in range(0, rows, part):
        count = min(part, rows - first)
        started = time.monotonic()
        fill(clickhouse, "fieldstream.readings_data", first, count, start_ms=start_ms, step_ms=step_ms)
        spent += time.monotonic() - started
        fill(clickhouse, "naive", first, count, start_ms=start_ms, step_ms=step_ms)
        span = [start_ms // 1000 + turn // SENSORS * step_ms // 1000 for turn in (first, first + count)]
        make_windows(clickhouse, span[0] // 10 * 10, span[1] // 10 * 10 + 10)
        console.print(f"  {first + count:,} readings", end="\r")
    # One in a hundred comes late with another value: the first accepted must stand, and reading must fold.
    late = rows // 100 // SENSORS * SENSORS
    fill(
        clickhouse,
        "fieldstream.readings_data",
        rows // 2 // SENSORS * SENSORS,
        late,
        start_ms=start_ms,
        step_ms=step_ms,
    )
    make_rollups(clickhouse)
    return rows / spent


def go_on_inserting(clickhouse: ClickHouse, stop: threading.Event, end_s: int) -> None:
    """Readings go on coming while questions are asked: 1,600 a second."""
    first = 0
    while not stop.wait(0.2):
        fill(clickhouse, "fieldstream.readings_data", first, SENSORS, start_ms=end_s * 1000, step_ms=1000)
        first += SENSORS


def measure(store: Store, rows: int) -> tuple[dict[str, float], dict[str, Any]]:
    """All figures, and details."""
    end_s = int(time.time()) // 86_400 * 86_400 - 3600
    memory = psutil.Process(store.process.pid)
    with ClickHouse(store.url, timeout_s=7200.0) as clickhouse:
        rate = build(clickhouse, rows, end_s)
        clickhouse.execute("OPTIMIZE TABLE fieldstream.windows_data", settings={"max_execution_time": 7200})
        status = {row["table"]: row for row in table_status(clickhouse)}
        columns = column_status(clickhouse, "readings_data")
        questions = Questions(store.url, end_s)
        stop = threading.Event()
        feeder = threading.Thread(target=go_on_inserting, args=(ClickHouse(store.url), stop, end_s), daemon=True)
        feeder.start()
        ours = {name: timed(ask, 20) for name, ask in questions.ours(clickhouse).items()}
        crowd = eight_callers(questions, store.url)
        requests = api_load(store)
        resident = memory.memory_info().rss / 1e6
        naive = {name: timed(ask, 5) for name, ask in questions.naive(clickhouse).items()}
        stop.set()
        feeder.join()
        wrong = [problem for problem in verify(clickhouse, settled_s=0) if "rollups" in problem]
    ratios = {name: statistics.median(ours[name]) / statistics.median(times) for name, times in naive.items()}
    figures = {
        "query_p95_ms": max(p95(times) for times in ours.values()),
        "query_p95_ms_8_callers": p95(crowd),
        "ratio_to_naive_median": statistics.median(ratios.values()),
        "bytes_per_reading": status["readings_data"]["bytes_per_row"],
        "rollups_wrong": float(len(wrong)),
        "api_requests_per_s": requests,
        "resident_mb": resident,
        "insert_rows_per_s": rate,
    }
    details = {
        "rows": rows,
        "queries_ms": {name: {"p50": statistics.median(t), "p95": p95(t)} for name, t in ours.items()},
        "naive_ms": {name: statistics.median(times) for name, times in naive.items()},
        "ratios": ratios,
        "columns": {row["column"]: row["bytes_per_row"] for row in columns},
        "tables": status,
        "problems": wrong,
    }
    return figures, details


def eight_callers(questions: Questions, url: str) -> list[float]:
    """All questions from eight threads at once."""
    found: list[float] = []

    def ask() -> None:
        with ClickHouse(url) as clickhouse:
            for question in questions.ours(clickhouse).values():
                found.extend(timed(question, 3))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def api_load(store: Store, seconds: float = 8.0) -> float:
    """Answered requests a second of a mixed load on one API process."""
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "settings.toml"
        config.write_text(f'clickhouse = "{store.url}"\napi_tokens_file = "{name}/none"\n')
        port = free_port()
        program = f"from fieldstream_central.serve.cli import api; api(port={port})"
        process = Process([sys.executable, "-c", program], Path(name) / "log", {"FIELDSTREAM_CONFIG": str(config)})
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: httpx.get(f"{url}/healthz").status_code == 200)
        sensor = {"device_id": "device-001", "metric": "temperature"}
        paths = [
            ("/api/v1/readings", sensor),
            ("/api/v1/series", sensor),
            ("/api/v1/assets", {}),
            ("/api/v1/anomalies", {}),
        ]
        until = time.monotonic() + seconds
        answered: list[int] = []

        def ask() -> None:
            with httpx.Client(base_url=url, timeout=30) as client:
                while time.monotonic() < until:
                    for path, query in paths:
                        answered.append(client.get(path, params=query).status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        process.stop()
    assert set(answered) <= {200, 429}, set(answered)
    return answered.count(200) / seconds


def report(figures: dict[str, float], details: dict[str, Any]) -> None:
    """The tables, the file, and the JSON as the last line."""
    table = Table("question", "p50 ms", "p95 ms", "naive ms", "ratio", title=f"{details['rows']:,} readings")
    for name, times in details["queries_ms"].items():
        naive, ratio = details["naive_ms"].get(name), details["ratios"].get(name)
        last = (f"{naive:.0f}", f"{ratio:.3f}") if naive is not None else ("", "")
        table.add_row(name, f"{times['p50']:.1f}", f"{times['p95']:.1f}", *last)
    console.print(table)
    summary: dict[str, Any] = {}
    table = Table("figure", "must", "goal", "measured", "")
    for name, (must, goal, smaller) in FIGURES.items():
        value = figures[name]
        reached = value <= must if smaller else value >= must
        best = value <= goal if smaller else value >= goal
        table.add_row(
            name, f"{must:g}", f"{goal:g}", f"{value:.4g}", "goal" if best else "must" if reached else "MISSED"
        )
        summary[name] = {"value": round(value, 4), "must": must, "goal": goal, "reached": reached}
    console.print(table)
    out = ROOT / "var" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "store.json").write_text(json.dumps({"figures": summary, "details": details}, indent=1, default=str))
    sys.stdout.write(json.dumps({"figures": summary}) + "\n")


def main() -> None:
    """Entry of `make bench-store`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000)
    rows = parser.parse_args().rows // SENSORS * SENSORS
    with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
        store = Store(Path(folder))
        try:
            migrate(store.url)
            report(*measure(store, rows))
        finally:
            store.process.stop()


if __name__ == "__main__":
    main()
