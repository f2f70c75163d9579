"""A year of readings of 320 sensors, in our tables and in a naive one.

Four weeks come from the simulator's dataset command; a model of the way adds what the hops add (delays, places in
the gateway's spool); the year is those weeks thirteen times over. One gateway is cut off for a day and delivers
late: its readings go in after windows and roll-ups were made, and repair has to correct both.
"""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute  # type: ignore[import-untyped]
import pyarrow.csv  # type: ignore[import-untyped]
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.repair import Repair
from fieldstream_central.store.rollup import LEVELS, MERGED, Rollup, source

SENSORS = 320
REPEATS = 13
BLOCK_DAYS = 28
BLOCK_MS = BLOCK_DAYS * 86_400_000
PERIOD_MS = 100_600  # four weeks of 320 sensors, thirteen times: 100 million
GATEWAYS = 8
LATE_GATEWAY, LATE_DAYS = "gw-3", (10, 11)
_SETTINGS: dict[str, object] = {
    "max_execution_time": 7200,
    "max_bytes_before_external_group_by": 300_000_000,
    "max_bytes_before_external_sort": 300_000_000,
    "max_memory_usage": 2_000_000_000,
    "max_partitions_per_insert_block": 0,
    "min_insert_block_size_rows": 1_000_000,
    "min_insert_block_size_bytes": 0,
}

# As somebody would write it down at first: no codecs, plain strings, ordered by time.
NAIVE = """
CREATE TABLE naive (device_id String, metric String, ts DateTime64(3, 'UTC'), value Float64, unit Nullable(String),
    quality String, flags Int32, gateway_id String, epoch Int64, seq Int64, received_at DateTime64(3, 'UTC'),
    site String, area String, asset_id String, asset_type String, operator_pseudonym Nullable(String),
    processed_at DateTime64(3, 'UTC'), lateness_ms Nullable(Int64), stored_at DateTime64(3, 'UTC'))
ENGINE = MergeTree ORDER BY ts
"""
_SEED = """
CREATE TABLE seed (device_id LowCardinality(String), metric LowCardinality(String), ts Int64, value Float64,
    gateway_id LowCardinality(String), seq Int64, received Int64, processed Int64, stored Int64, lateness Int64)
ENGINE = MergeTree ORDER BY (device_id, metric, ts)
"""
_SHIFTED = """
    device_id, metric, fromUnixTimestamp64Milli(s.ts + {shift:Int64}, 'UTC') AS at, s.value, a.unit, 'good' AS quality,
    0 AS flags, s.gateway_id, 1700000000000 AS epoch, s.seq + {seq:Int64} AS place,
    fromUnixTimestamp64Milli(s.received + {shift:Int64}, 'UTC') AS received, a.site, a.area, a.asset_id, a.asset_type,
    NULL AS operator, fromUnixTimestamp64Milli(s.processed + {shift:Int64}, 'UTC') AS processed, s.lateness
"""
_COLUMNS = (
    "device_id, metric, ts, value, unit, quality, flags, gateway_id, epoch, seq, received_at, site, area, asset_id, "
    "asset_type, operator_pseudonym, processed_at, lateness_ms"
)
_FROM_SEED = """FROM seed AS s LEFT JOIN fieldstream.assets AS a ON a.device_id = s.device_id AND a.metric = s.metric
    WHERE s.ts >= {from:Int64} AND s.ts < {to:Int64}"""
# With one reading each 100 s no window of 10 s and no minute holds two: their statistics are the reading itself.
_ALONE = "1, s.value, 0, s.value, s.value, s.value, s.value, at, at"
_WINDOWS = f"""
INSERT INTO fieldstream.windows_data (device_id, metric, window_start, window_end, site, area, asset_id, asset_type,
    unit, low_low, low, high, high_high, revision, count, mean, stddev, min, max, first, last, first_ts, last_ts)
WITH fromUnixTimestamp64Milli(s.ts + {{shift:Int64}}, 'UTC') AS at,
    toDateTime64(toStartOfInterval(at, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC') AS w
SELECT s.device_id, s.metric, w, w + INTERVAL 10 SECOND, a.site, a.area, a.asset_id, a.asset_type, a.unit, a.low_low,
    a.low, a.high, a.high_high, 1, {_ALONE} {_FROM_SEED}"""
_MINUTES = f"""
INSERT INTO fieldstream.rollups_data (width_s, device_id, metric, bucket_start, asset_id, unit, windows, count, mean,
    stddev, min, max, first, last, first_ts, last_ts)
WITH fromUnixTimestamp64Milli(s.ts + {{shift:Int64}}, 'UTC') AS at
SELECT 60, s.device_id, s.metric, toDateTime64(toStartOfMinute(at), 3, 'UTC'), a.asset_id, a.unit, 1, {_ALONE}
    {_FROM_SEED}"""
_ROLLUPS = """
INSERT INTO fieldstream.rollups_data (width_s, device_id, metric, bucket_start, asset_id, unit, windows, count, mean,
    stddev, min, max, first, last, first_ts, last_ts)
WITH parts AS (SOURCE AND at >= {day:Date} AND at < {end:Date})
SELECT {width:UInt32}, device_id, metric, bucket_start, asset, unit_, windows_, n, mean_, stddev_, lowest, highest,
    first_, last_, first_ts_, last_ts_
FROM (SELECT MERGED FROM parts AS p GROUP BY device_id, metric, bucket_start)
"""
# A beat every ten minutes of the year, and every ten seconds of the last two days.
_BEATS = """
INSERT INTO fieldstream.gateways_data (gateway_id, epoch, ts, state, version, started_at, last_seq, last_sent_seq,
    spool_readings, spool_bytes, accepted_total, duplicates_total, clock_offset_ms, disk_free_bytes, memory_bytes)
SELECT concat('gw-', toString(g)) AS gateway, 1700000000000, at, 'online', '0.1.0', {start:DateTime64(3)},
    intDiv({last:Int64} * dateDiff('second', {start:DateTime64(3)}, at), dateDiff('second', {start:DateTime64(3)},
        {end:DateTime64(3)})) AS place, place, rand(1) % 30, 4096, place, intDiv(place, 2000), rand(2) % 20, 1e10, 5e7
FROM (SELECT arrayJoin(range(8)) AS g,
    {start:DateTime64(3)} + toIntervalSecond(number * {step:UInt32} + {from:UInt32}) AS at FROM numbers({n:UInt64}))
"""
_LETTERS = """
INSERT INTO fieldstream.dead_letters_data (reason, detail, origin, source, payload, payload_size, gateway_id, epoch,
    seq, received_at)
SELECT ['not-json', 'no-value', 'unknown-topic'][number % 3 + 1], 'made up', 'gateway', 'sensors/x/y', '{', 1,
    concat('gw-', toString(number % 8)), 1700000000000, 1000000000 + number,
    {end:DateTime64(3)} - toIntervalSecond(number * 3000) FROM numbers(10000)
"""
Say = Callable[[str], None]


class Year:
    """Fills a store. `weeks` is the simulator's folder; blocks of four weeks end at `end_ms`, a midnight."""

    def __init__(self, clickhouse: ClickHouse, weeks: Path, *, rows: int, end_ms: int, say: Say) -> None:
        self._clickhouse, self._weeks, self._say = clickhouse, weeks, say
        self.blocks = max(1, round(REPEATS * rows / 100_000_000))
        self.start_ms = end_ms - self.blocks * BLOCK_MS
        self.end_ms = end_ms
        self._seed_start = 0
        self._seq_per_block = 0
        self.rows_per_s = 0.0

    def fill(self, after_first: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Everything; what `after_first` says when the newest four weeks are there."""
        self._seed()
        self._clickhouse.execute(NAIVE)
        first: dict[str, Any] = {}
        for block in reversed(range(self.blocks)):
            self._block(block)
            first = first or after_first()
        self._late()
        self._plant_events()
        self._clickhouse.execute("DROP TABLE seed")
        return first

    def _seed(self) -> None:
        self._clickhouse.execute(_SEED)
        assets = list(csv.DictReader((self._weeks / "assets.csv").open()))
        lines = [
            {name: row[name] for name in ("device_id", "metric", "asset_id", "asset_type", "unit")}
            | {name: float(row[name]) if row[name] else None for name in ("low_low", "low", "high", "high_high")}
            | {"site": "north", "area": f"hall-{number // 80 + 1}", "label": row["metric"], "period_ms": PERIOD_MS}
            | {"updated_at": "2026-01-01 00:00:00", "kafka_ts": 1}
            for number, row in enumerate(assets)
        ]
        body = "\n".join(json.dumps(line) for line in lines).encode()
        self._clickhouse.insert("INSERT INTO fieldstream.assets_data FORMAT JSONEachRow", body)
        table = on_the_way(pyarrow.csv.read_csv(self._weeks / "readings.csv"))
        self._seed_start = int(pa.compute.min(table["ts"]).as_py()) // 86_400_000 * 86_400_000
        self._seq_per_block = int(pa.compute.max(table["seq"]).as_py())
        for batch in _arrow_bodies(table):
            self._clickhouse.insert("INSERT INTO seed FORMAT ArrowStream", batch)
        self._say(f"{table.num_rows:,} readings of four weeks from the simulator")

    def _params(self, block: int) -> dict[str, object]:
        shift = self.start_ms + block * BLOCK_MS - self._seed_start
        span = {"from": self._seed_start, "to": self._seed_start + BLOCK_MS}
        return {"shift": shift, "seq": block * self._seq_per_block, **span}

    def _block(self, block: int) -> None:
        started = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            for done in [
                pool.submit(sql, block) for sql in (self._readings, self._naive, self._windows, self._minutes)
            ]:
                done.result()
        self._clickhouse.execute("TRUNCATE TABLE fieldstream.rollup_touches")
        first = (self.start_ms + block * BLOCK_MS) // 1000
        make_rollups(self._clickhouse, first, first + BLOCK_MS // 1000)
        took = time.monotonic() - started
        self._say(f"four weeks in {took:.0f} s, {self.blocks - block} of {self.blocks}")

    def _readings(self, block: int) -> None:
        sql = f"INSERT INTO fieldstream.readings_data ({_COLUMNS}, stored_after_ds) SELECT {_SHIFTED}, "
        sql += f"intDiv(s.stored - s.received, 100) {_FROM_SEED}{self._on_time(block)}"
        started = time.monotonic()
        self._clickhouse.execute(sql, self._params(block), _SETTINGS)
        count = self._clickhouse.value("SELECT count() FROM seed")
        self.rows_per_s = max(self.rows_per_s, count / (time.monotonic() - started))

    def _naive(self, block: int) -> None:
        sql = f"INSERT INTO naive ({_COLUMNS}, stored_at) SELECT {_SHIFTED}, "
        sql += f"fromUnixTimestamp64Milli(s.stored + {{shift:Int64}}, 'UTC') {_FROM_SEED}"
        self._clickhouse.execute(sql, self._params(block), _SETTINGS)

    def _windows(self, block: int) -> None:
        self._clickhouse.execute(_WINDOWS + self._on_time(block), self._params(block), _SETTINGS)

    def _minutes(self, block: int) -> None:
        self._clickhouse.execute(_MINUTES + self._on_time(block), self._params(block), _SETTINGS)

    def _on_time(self, block: int) -> str:
        return f" AND NOT {self._cut_off()}" if block == self.blocks - 1 else ""

    def _cut_off(self) -> str:
        first, last = (self._seed_start + day * 86_400_000 for day in LATE_DAYS)
        return f"(s.gateway_id = '{LATE_GATEWAY}' AND s.ts >= {first} AND s.ts < {last})"

    def _late(self) -> None:
        """The gateway that was cut off delivers; repair and roll-up correct what it touches."""
        self._clickhouse.execute("TRUNCATE TABLE fieldstream.late_touches")
        sql = f"INSERT INTO fieldstream.readings_data ({_COLUMNS}) SELECT {_SHIFTED} {_FROM_SEED} AND {self._cut_off()}"
        self._clickhouse.execute(sql, self._params(self.blocks - 1), _SETTINGS)
        written = 0
        for upkeep in (Repair(self._clickhouse, settled_after_s=0), Rollup(self._clickhouse, settled_after_s=0)):
            while (step := upkeep.step()).touches:
                written += step.rows
        self._say(f"{written:,} windows and roll-ups corrected for readings that came late")

    def _plant_events(self) -> None:
        start, end = self.start_ms / 1000, self.end_ms / 1000
        year = {"start": start, "end": end, "last": self.blocks * self._seq_per_block}
        seconds = round(end - start)
        for step, first, count in ((600, 0, seconds // 600), (10, seconds - 172_800, 17_280)):
            self._clickhouse.execute(_BEATS, year | {"step": step, "from": first, "n": count}, _SETTINGS)
        self._clickhouse.execute(_LETTERS, {"end": end}, _SETTINGS)
        lines = "\n".join(json.dumps(line) for line in self._anomalies())
        self._clickhouse.insert("INSERT INTO fieldstream.anomaly_steps_data FORMAT JSONEachRow", lines.encode())

    def _anomalies(self) -> Iterator[dict[str, Any]]:
        for block in range(self.blocks):
            shift = self.start_ms + block * BLOCK_MS - self._seed_start
            for number, fault in enumerate(csv.DictReader((self._weeks / "truth.csv").open())):
                begin, end = (int(fault[name]) + shift for name in ("start", "end"))
                if end > self.end_ms:
                    continue
                row: dict[str, Any] = {"anomaly_id": f"a-{block}-{number}", "site": "north", "score": 9.0}
                row |= {name: fault[name] for name in ("device_id", "metric", "asset_id", "kind")}
                row |= {"severity": ("info", "warning", "critical")[number % 3], "reason": "made up", "shadow": False}
                row |= {"detector": fault["kind"], "started_at": begin / 1000, "detected_at": begin / 1000 + 30}
                row |= {"evidence_start": begin / 1000, "evidence_end": end / 1000}
                yield row | {"state": "open", "revision": 1}
                if block < self.blocks - 1 or number % 20:
                    yield row | {"state": "close", "ended_at": end / 1000, "revision": 2}


def simulate(folder: Path) -> None:
    """Four weeks by the simulator's dataset command; nothing if they are there already."""
    if not (folder / "truth.csv").exists():
        command = [str(Path(sys.executable).with_name("fieldstream-sim")), "dataset", "--out", str(folder)]
        amounts = ["--days", str(BLOCK_DAYS), "--sensors", str(SENSORS), "--period-ms", str(PERIOD_MS)]
        subprocess.run([*command, "--seed", "8", *amounts], check=True, stdout=subprocess.DEVNULL)


def on_the_way(readings: pa.Table) -> pa.Table:
    """What the hops add: delays, and the place in the gateway's spool."""
    rng = np.random.default_rng(8)
    count = readings.num_rows
    ts = readings["ts"].to_numpy()
    devices = readings["device_id"].combine_chunks().dictionary_encode()
    # All devices of an asset (all but the last part of the name) hang on one gateway.
    names = [name.rpartition("-")[0] for name in devices.dictionary.to_pylist()]
    number = {name: place % GATEWAYS for place, name in enumerate(sorted(set(names)))}
    gateway = np.array([number[name] for name in names])[devices.indices.to_numpy()]
    received = ts + 3 + rng.lognormal(2.0, 0.8, count).astype(np.int64)
    processed = received + 60 + rng.lognormal(4.0, 0.7, count).astype(np.int64)
    stored = (processed // 500 + 1) * 500 + rng.integers(20, 100, count)  # the loader stores twice a second
    seq = np.empty(count, dtype=np.int64)
    for one in range(GATEWAYS):
        mine = np.flatnonzero(gateway == one)
        seq[mine[np.argsort(received[mine], kind="stable")]] = np.arange(1, len(mine) + 1)
    added = {"seq": seq, "received": received, "processed": processed, "stored": stored}
    added["lateness"] = np.rint(rng.normal(-1000, 400, count)).astype(np.int64)
    labels = pa.array([f"gw-{n}" for n in range(GATEWAYS)])
    table = readings.append_column("gateway_id", labels.take(pa.array(gateway)))
    for name, values in added.items():
        table = table.append_column(name, pa.array(values))
    return table


def _arrow_bodies(table: pa.Table) -> Iterator[bytes]:
    for first in range(0, table.num_rows, 500_000):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.slice(first, 500_000))
        yield sink.getvalue().to_pybytes()


def make_rollups(clickhouse: ClickHouse, from_s: int, to_s: int) -> None:
    """All roll-ups above the minute of a span of whole days, by the same arithmetic as upkeep's."""
    for width, below in LEVELS[1:]:
        days = 4 if below == 60 else 28
        for first in range(from_s, to_s, days * 86_400):
            day, end = (datetime.fromtimestamp(at, UTC).date() for at in (first, min(first + days * 86_400, to_s)))
            clickhouse.execute(
                _ROLLUPS.replace("SOURCE", source(below)).replace("MERGED", MERGED),
                {"width": width, "below": below, "day": day, "end": end},
                _SETTINGS,
            )
