"""What goes on while the store's bench asks: readings that come, callers side by side, an API on one core."""

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import aiohttp
import httpx
import psutil
from bench.store_questions import Questions
from fieldstream_central.store.blocks import TABLES, container
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError
from fieldstream_schemas.topics import READINGS_CLEAN
from integration.store.rig import Process, encode, eventually, free_port, reading

_EVERY_S = 0.5  # as the loader with little flow
_RATE = 1600
_BLOCK_ROWS = 10_000
_REFUSED_MS = 60_000.0  # a question that is not answered counts as answered after a minute


@contextmanager
def api_process(clickhouse: str) -> Iterator[tuple[str, int]]:
    """The API in a process of its own: its address and pid."""
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "settings.toml"
        config.write_text(f'clickhouse = "{clickhouse}"\napi_tokens_file = "{name}/none"\n')
        port = free_port()
        program = f"from fieldstream_central.serve.cli import api; api(port={port})"
        process = Process([sys.executable, "-c", program], Path(name) / "log", {"FIELDSTREAM_CONFIG": str(config)})
        url = f"http://127.0.0.1:{port}"
        try:
            eventually(lambda: httpx.get(f"{url}/healthz").status_code == 200)
            yield url, process.pid
        finally:
            process.stop()


def _insert(clickhouse: ClickHouse, rows: list[dict[str, object]]) -> None:
    columns = ", ".join(rows[0])
    body = "\n".join(json.dumps(row) for row in rows).encode()
    clickhouse.insert(f"INSERT INTO fieldstream.readings_data ({columns}) FORMAT JSONEachRow", body)


def go_on_inserting(url: str, stop: threading.Event) -> None:
    """1,600 readings a second in blocks of half a second, as the loader stores them."""
    seq, epoch = 0, time.time_ns() // 1_000_000  # of each run its own, or its numbers would come again
    with ClickHouse(url) as clickhouse:
        while not stop.wait(_EVERY_S):
            now = time.time()
            rows: list[dict[str, object]] = []
            for number in range(int(_RATE * _EVERY_S)):
                seq += 1
                ts = round(now - _EVERY_S + number * _EVERY_S / _RATE / _EVERY_S, 3)
                rows.append({"device_id": f"live-{number % 320}", "metric": "m", "ts": ts, "value": number / 10})
                rows[-1] |= {
                    "gateway_id": "gw-live",
                    "epoch": epoch,
                    "seq": seq,
                    "received_at": ts,
                    "processed_at": now,
                }
            _insert(clickhouse, rows)


def insert_rate(url: str, blocks: int = 12) -> float:
    """Readings stored a second, in blocks as the loader makes them of Kafka's records, with all that hangs on them."""
    table = TABLES[READINGS_CLEAN.name]
    now_ms = int(time.time() * 1000)
    live = {"gateway_id": "gw-live", "epoch": now_ms, "asset_id": "live", "asset_type": "m", "area": "", "site": ""}
    bodies = []
    for block in range(blocks):
        rows = [
            reading(seq, device_id=f"live-{seq % 320}", metric="n", ts=now_ms + seq // 320, received_at=now_ms, **live)
            for seq in range(block * _BLOCK_ROWS + 1, (block + 1) * _BLOCK_ROWS + 1)
        ]
        payloads = [encode(READINGS_CLEAN, row | {"processed_at": now_ms}) for row in rows]
        bodies.append(container(READINGS_CLEAN.schema_text, payloads))
    with ClickHouse(url) as clickhouse:
        started = time.perf_counter()
        for body in bodies:
            clickhouse.insert(table.insert, body)
        return blocks * _BLOCK_ROWS / (time.perf_counter() - started)


def visible_after(url: str, times: int) -> list[float]:
    """Seconds from a reading's event to its being seen by the newest-value question of a dashboard.

    The reading waits for the loader's next half second as all do; the way to the loader (gateway, Kafka, Flink) is
    not in it: the demo measures that, 0.2 s.
    """
    found = []
    question = "SELECT argMax(value, ts) AS v FROM fieldstream.readings WHERE device_id = 'probe' AND metric = 'm'"
    with ClickHouse(url) as clickhouse:
        for number in range(times):
            event = time.time()
            time.sleep(_EVERY_S * ((number * 7) % 10) / 10)
            _insert(clickhouse, [{"device_id": "probe", "metric": "m", "ts": event, "value": number + 1}])
            while clickhouse.value(question) != number + 1:
                time.sleep(0.01)
            found.append(time.time() - event)
    return found


def asked_by_eight(
    open_questions: Callable[[], AbstractContextManager[Questions]],
) -> dict[str, list[float]]:
    """How long each question took for each of eight callers at once, who all go through all of them."""
    found: dict[str, list[float]] = {}
    with open_questions() as first:
        names = list(first.dashboards() | first.documented())

        def ask(offset: int) -> None:
            questions = Questions(
                ClickHouse(first.clickhouse.url),
                httpx.Client(base_url=first.api.base_url, timeout=60),
                first.start_ms,
                first.end_ms,
            )
            asks = questions.dashboards() | questions.documented()
            begin = offset * len(names) // 8
            for name in names[begin:] + names[:begin]:
                started = time.perf_counter()
                try:
                    asks[name]()
                    took_ms = (time.perf_counter() - started) * 1000
                except (AssertionError, ClickHouseError):
                    took_ms = _REFUSED_MS
                found.setdefault(name, []).append(took_ms)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


def api_rate(clickhouse: str, questions: Questions, seconds: float = 8.0) -> tuple[float, int]:
    """Answers a second of a mixed load on an API that has one core, and how many were errors."""
    row = questions.clickhouse.rows("SELECT device_id, metric FROM fieldstream.assets LIMIT 1")[0]
    hour = {"from": str(questions.end_ms - 3_600_000), "to": str(questions.end_ms)} | row
    mix = [("readings", hour), ("series", hour), ("assets", {"limit": "100"}), ("anomalies", {"limit": "20"})]
    with api_process(clickhouse) as (url, pid):
        psutil.Process(pid).cpu_affinity([0])
        statuses = asyncio.run(_ask_all(f"{url}/api/v1/", mix, seconds))
    good = sum(status == 200 for status in statuses)
    return good / seconds, len(statuses) - good


async def _ask_all(url: str, mix: list[tuple[str, dict[str, str]]], seconds: float) -> list[int]:
    statuses: list[int] = []
    until = time.monotonic() + seconds

    async def caller(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < until:
            for path, query in mix:
                async with session.get(url + path, params=query) as answer:
                    await answer.read()
                    statuses.append(answer.status)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(caller(session) for _ in range(8)))
    return statuses
