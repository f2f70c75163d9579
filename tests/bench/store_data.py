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
_DAY_MS = 86_400_000
BLOCK_MS = BLOCK_DAYS * _DAY_MS
PERIOD_MS = 100_600  # four weeks of 320 sensors, thirteen times: 100 million
GATEWAYS = 8
LATE_GATEWAY, LATE_DAYS = "gw-3", (10, 11)
_LATE_BLOCK = 1
LOSING_GATEWAY, LOST = 5, (5000, 5019)  # places that never arrive, of each four weeks
# One big part of each month in place of many small ones, so that merges have little to do afterwards.
_SETTINGS: dict[str, object] = {
    "max_execution_time": 7200,
    "max_bytes_before_external_group_by": 600_000_000,
    "max_bytes_before_external_sort": 600_000_000,
    "max_memory_usage": 3_500_000_000,
    "max_partitions_per_insert_block": 0,
    "min_insert_block_size_rows": 2_000_000,
    "min_insert_block_size_bytes": 0,
    "insert_deduplicate": 0,
    "max_threads": 1,
}

# As somebody would write it down at first: no codecs, plain strings, ordered by time.
NAIVE = """
CREATE TABLE naive (device_id String, metric String, ts DateTime64(3, 'UTC'), value Float64, unit Nullable(String),
    quality String, flags Int32, gateway_id String, epoch Int64, seq Int64, received_at DateTime64(3, 'UTC'),
    site String, area String, asset_id String, asset_type String, operator_pseudonym Nullable(String),
    processed_at DateTime64(3, 'UTC'), lateness_ms Nullable(Int64), stored_at DateTime64(3, 'UTC'))
ENGINE = MergeTree ORDER BY ts
"""
_WORDS = "device_id, metric, gateway_id, site, area, asset_id, asset_type, unit"
# `places`: how many the gateway of a reading gives in four weeks.
_SEED = f"""
CREATE TABLE seed ({" LowCardinality(String), ".join(_WORDS.split(", "))} LowCardinality(Nullable(String)),
    low_low Nullable(Float64), low Nullable(Float64), high Nullable(Float64), high_high Nullable(Float64),
    ts Int64 CODEC(Delta, ZSTD), value Float64 CODEC(Delta, ZSTD), seq Int64, places Int64, received Int64,
    processed Int64, stored Int64, lateness Int64)
ENGINE = MergeTree ORDER BY (device_id, metric, ts)
"""
_SHIFTED = """
    device_id, metric, fromUnixTimestamp64Milli(s.ts + {shift:Int64}, 'UTC') AS at, value, unit, 'good' AS quality,
    0 AS flags, gateway_id, 1700000000000 AS epoch, seq + {block:Int64} * places AS place,
    fromUnixTimestamp64Milli(s.received + {shift:Int64}, 'UTC') AS received, site, area, asset_id, asset_type,
    NULL AS operator, fromUnixTimestamp64Milli(s.processed + {shift:Int64}, 'UTC') AS processed, lateness
"""
_COLUMNS = (
    "device_id, metric, ts, value, unit, quality, flags, gateway_id, epoch, seq, received_at, site, area, asset_id, "
    "asset_type, operator_pseudonym, processed_at, lateness_ms"
)
_FROM_SEED = "FROM seed AS s WHERE s.ts >= {from:Int64} AND s.ts < {to:Int64}"
_BY_SENSOR = " ORDER BY device_id, metric, s.ts"
# With one reading each 100 s no window of 10 s holds two: its statistics are the reading itself.
_WINDOWS = f"""
INSERT INTO fieldstream.windows_data (device_id, metric, window_start, window_end, site, area, asset_id, asset_type,
    unit, low_low, low, high, high_high, revision, count, mean, stddev, min, max, first, last, first_ts, last_ts)
WITH fromUnixTimestamp64Milli(s.ts + {{shift:Int64}}, 'UTC') AS at,
    toDateTime64(toStartOfInterval(at, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC') AS w
SELECT device_id, metric, w, w + INTERVAL 10 SECOND, site, area, asset_id, asset_type, unit, low_low, low, high,
    high_high, 1, 1, value, 0, value, value, value, value, at, at {_FROM_SEED}"""
_ROLLUP_COLUMNS = """width_s, device_id, metric, bucket_start, asset_id, unit, windows, count, mean, stddev, min, max,
    first, last, first_ts, last_ts"""
_ROLLUPS = f"""
INSERT INTO fieldstream.rollups_data ({_ROLLUP_COLUMNS})
WITH parts AS (SOURCE AND at >= {{day:Date}} AND at < {{end:Date}})
SELECT {{width:UInt32}}, device_id, metric, bucket_start, asset, unit_, windows_, n, mean_, stddev_, lowest, highest,
    first_, last_, first_ts_, last_ts_
FROM (SELECT MERGED FROM parts AS p GROUP BY device_id, metric, bucket_start)
"""
# Whole days further back buckets are the same ones, whatever their width.
_ROLLUPS_AGAIN = f"""
INSERT INTO fieldstream.rollups_data ({_ROLLUP_COLUMNS})
WITH toIntervalMillisecond({{back:Int64}}) AS back
SELECT width_s, device_id, metric, r.bucket_start - back, asset_id, unit, windows, count, mean, stddev, min, max, first,
    last, r.first_ts - back, r.last_ts - back
FROM fieldstream.rollups_data AS r WHERE width_s = {{width:UInt32}}
    AND r.bucket_start >= fromUnixTimestamp64Milli({{begin:Int64}})
    AND r.bucket_start < fromUnixTimestamp64Milli({{end:Int64}})
    AND NOT (r.bucket_start >= fromUnixTimestamp64Milli({{cut_from:Int64}})
        AND r.bucket_start < fromUnixTimestamp64Milli({{cut_to:Int64}})
        AND device_id IN (SELECT device_id FROM seed WHERE gateway_id = '{LATE_GATEWAY}'))
ORDER BY width_s, device_id, metric, bucket_start
"""
# A beat every ten minutes of the year, and every ten seconds of the last two days.
_BEATS = """
INSERT INTO fieldstream.gateways_data (gateway_id, epoch, ts, state, version, started_at, last_seq, last_sent_seq,
    spool_readings, spool_bytes, accepted_total, duplicates_total, clock_offset_ms, disk_free_bytes, memory_bytes)
SELECT gateway_id, 1700000000000, at, 'online', '0.1.0', {start:DateTime64(3)},
    intDiv({blocks:Int64} * places * dateDiff('second', {start:DateTime64(3)}, at),
        dateDiff('second', {start:DateTime64(3)}, {end:DateTime64(3)})) AS place, place, rand(1) % 30, 4096, place,
    intDiv(place, 2000), rand(2) % 20, 1e10, 5e7
FROM (SELECT gateway_id, max(places) AS places FROM seed GROUP BY gateway_id) AS g CROSS JOIN
    (SELECT {start:DateTime64(3)} + toIntervalSecond(number * {step:UInt32} + {from:UInt32}) AS at
     FROM numbers({n:UInt64})) AS t
"""
_LETTERS = """
INSERT INTO fieldstream.dead_letters_data (reason, detail, origin, source, payload, payload_size, gateway_id,
    received_at)
SELECT ['not-json', 'no-value', 'unknown-topic'][number % 3 + 1], 'made up', 'pipeline',
    concat('readings.raw/0/', toString(number)), '{', 1, concat('gw-', toString(number % 8)),
    {end:DateTime64(3)} - toIntervalSecond(number * 3000) FROM numbers(10000)
"""
_MERGING = "SELECT count() FROM system.merges WHERE database = 'fieldstream'"
Say = Callable[[str], None]


class Year:
    """Fills a store with blocks of four weeks, from the one that ends at `end_ms`, a midnight, back in time.

    Places in the spools are numbered in that order too, so that the store is whole after any block.
    """

    def __init__(self, clickhouse: ClickHouse, weeks: Path, *, end_ms: int, say: Say) -> None:
        self._clickhouse, self._weeks, self._say = clickhouse, weeks, say
        self._end_ms = end_ms
        self._seed_start = 0

    def begin(self) -> None:
        """Four weeks of the simulator, which all blocks are made from."""
        self._clickhouse.execute("DROP TABLE IF EXISTS seed")
        self._seed()
        self._clickhouse.execute(NAIVE)

    def resume(self, blocks: int) -> None:
        """Goes on behind so many blocks; what an interrupted run left of the next one is replaced."""
        self._seed_start = int(self._clickhouse.value("SELECT min(ts) FROM seed")) // _DAY_MS * _DAY_MS
        self._clickhouse.execute(
            "DELETE FROM naive WHERE ts < fromUnixTimestamp64Milli({begin:Int64})", {"begin": self.begin_of(blocks - 1)}
        )

    def add(self, block: int) -> None:
        """The block of four weeks that ends `block` blocks before the end; the second has a gateway that comes late."""
        started = time.monotonic()
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(part, block) for part in (self._naive, self._readings, self._windows)]:
                done.result()
            if block:
                list(pool.map(lambda width: self._rollups_again(block, width), [width for width, _ in LEVELS]))
            else:
                self._rollups_first()
        self._clickhouse.execute("TRUNCATE TABLE fieldstream.rollup_touches")
        if block == _LATE_BLOCK:
            self._late()
        self._say(f"block {block + 1} of four weeks in {time.monotonic() - started:.0f} s")

    def finish(self, blocks: int) -> None:
        """Heartbeats, dead letters and anomalies of so many blocks; then waits until merges are at rest."""
        self._plant_events(blocks)
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 10:
            time.sleep(1)
            if self._clickhouse.value(_MERGING):
                quiet_since = time.monotonic()
        self._say("merges are at rest")

    def begin_of(self, block: int) -> int:
        """When a block begins, epoch milliseconds."""
        return self._end_ms - (block + 1) * BLOCK_MS

    def _seed(self) -> None:
        self._clickhouse.execute(_SEED)
        assets = list(csv.DictReader((self._weeks / "assets.csv").open()))
        lines = [
            {name: row[name] for name in ("device_id", "metric", "asset_id", "asset_type", "unit")}
            | {name: float(row[name]) if row[name] else None for name in ("low_low", "low", "high", "high_high")}
            | {"site": "north", "area": f"hall-{number // 80 + 1}"}
            for number, row in enumerate(assets)
        ]
        told = {"period_ms": PERIOD_MS, "updated_at": "2026-01-01 00:00:00", "kafka_ts": 1}
        body = "\n".join(json.dumps(line | told | {"label": line["metric"]}) for line in lines).encode()
        self._clickhouse.insert("INSERT INTO fieldstream.assets_data FORMAT JSONEachRow", body)
        table = on_the_way(pyarrow.csv.read_csv(self._weeks / "readings.csv"))
        table = table.join(pa.Table.from_pylist(lines), ["device_id", "metric"])
        self._seed_start = int(pa.compute.min(table["ts"]).as_py()) // _DAY_MS * _DAY_MS
        for batch in _arrow_bodies(table):
            self._clickhouse.insert("INSERT INTO seed FORMAT ArrowStream", batch)
        self._clickhouse.execute("OPTIMIZE TABLE seed FINAL", settings=_SETTINGS)
        self._say(f"{table.num_rows:,} readings of four weeks from the simulator")

    def _params(self, block: int) -> dict[str, object]:
        span = {"from": self._seed_start, "to": self._seed_start + BLOCK_MS}
        return {"shift": self.begin_of(block) - self._seed_start, "block": block, **span}

    def _readings(self, block: int) -> None:
        sql = f"INSERT INTO fieldstream.readings_data ({_COLUMNS}, stored_after_ds) SELECT {_SHIFTED}, "
        sql += f"intDiv(s.stored - s.received, 100) {_FROM_SEED}{self._on_time(block)}{_BY_SENSOR}"
        self._clickhouse.execute(sql, self._params(block), _SETTINGS)

    def _naive(self, block: int) -> None:
        """Week by week, as it would have come."""
        sql = f"INSERT INTO naive ({_COLUMNS}, stored_at) SELECT {_SHIFTED}, "
        sql += f"fromUnixTimestamp64Milli(s.stored + {{shift:Int64}}, 'UTC') {_FROM_SEED}"
        for first in range(self._seed_start, self._seed_start + BLOCK_MS, BLOCK_MS // 4):
            span = {"from": first, "to": first + BLOCK_MS // 4}
            self._clickhouse.execute(sql, self._params(block) | span, _SETTINGS)

    def _windows(self, block: int) -> None:
        sql = _WINDOWS + self._on_time(block) + _BY_SENSOR
        self._clickhouse.execute(sql, self._params(block), _SETTINGS)

    def _rollups_first(self) -> None:
        """By the same arithmetic as upkeep's, from windows and from level to level."""
        begin = self.begin_of(0)
        for width, below in LEVELS:
            days = 28 if below > 60 else 4
            for at in range(begin, self._end_ms, days * _DAY_MS):
                day, end = (datetime.fromtimestamp(ms / 1000, UTC).date() for ms in (at, at + days * _DAY_MS))
                self._clickhouse.execute(
                    _ROLLUPS.replace("SOURCE", source(below)).replace("MERGED", MERGED),
                    {"width": width, "below": below, "day": day, "end": end},
                    _SETTINGS,
                )

    def _rollups_again(self, block: int, width: int) -> None:
        begin = self.begin_of(0)
        cut_from, cut_to = (begin + day * _DAY_MS for day in (LATE_DAYS if block == _LATE_BLOCK else (0, 0)))
        params = {"width": width, "back": begin - self.begin_of(block), "begin": begin, "end": self._end_ms}
        self._clickhouse.execute(_ROLLUPS_AGAIN, params | {"cut_from": cut_from, "cut_to": cut_to}, _SETTINGS)

    def _on_time(self, block: int) -> str:
        return f" AND NOT {self._cut_off()}" if block == _LATE_BLOCK else ""

    def _cut_off(self) -> str:
        first, last = (self._seed_start + day * _DAY_MS for day in LATE_DAYS)
        return f"(gateway_id = '{LATE_GATEWAY}' AND s.ts >= {first} AND s.ts < {last})"

    def _late(self) -> None:
        """The gateway that was cut off delivers; repair and roll-up correct what it touches."""
        self._clickhouse.execute("TRUNCATE TABLE fieldstream.late_touches")
        sql = f"INSERT INTO fieldstream.readings_data ({_COLUMNS}) SELECT {_SHIFTED} {_FROM_SEED} AND {self._cut_off()}"
        self._clickhouse.execute(sql, self._params(_LATE_BLOCK), _SETTINGS)
        written = 0
        for upkeep in (Repair(self._clickhouse, settled_after_s=0), Rollup(self._clickhouse, settled_after_s=0)):
            while (step := upkeep.step()).touches:
                written += step.rows
        self._say(f"{written:,} windows and roll-ups corrected for readings that came late")

    def _plant_events(self, blocks: int) -> None:
        start, end = self.begin_of(blocks - 1) / 1000, self._end_ms / 1000
        year = {"start": start, "end": end, "blocks": blocks}
        self._clickhouse.execute("TRUNCATE TABLE fieldstream.gateways_data")
        seconds = round(end - start)
        for step, first, count in ((600, 0, seconds // 600), (10, seconds - 172_800, 17_280)):
            self._clickhouse.execute(_BEATS, year | {"step": step, "from": first, "n": count}, _SETTINGS)
        self._clickhouse.execute(_LETTERS, {"end": end}, _SETTINGS)
        lines = "\n".join(json.dumps(line) for line in self._anomalies(blocks))
        self._clickhouse.insert("INSERT INTO fieldstream.anomaly_steps_data FORMAT JSONEachRow", lines.encode())

    def _anomalies(self, blocks: int) -> Iterator[dict[str, Any]]:
        for block in range(blocks):
            shift = self.begin_of(block) - self._seed_start
            for number, fault in enumerate(csv.DictReader((self._weeks / "truth.csv").open())):
                begin, end = (int(fault[name]) + shift for name in ("start", "end"))
                if end > self._end_ms:
                    continue
                row: dict[str, Any] = {"anomaly_id": f"a-{block}-{number}", "site": "north", "score": 9.0}
                row |= {name: fault[name] for name in ("device_id", "metric", "asset_id", "kind")}
                row |= {"severity": ("info", "warning", "critical")[number % 3], "reason": "made up", "shadow": False}
                row |= {"detector": fault["kind"], "started_at": begin / 1000, "detected_at": begin / 1000 + 30}
                row |= {"evidence_start": begin / 1000, "evidence_end": end / 1000}
                yield row | {"state": "open", "revision": 1}
                if block or number % 20:
                    yield row | {"state": "close", "ended_at": end / 1000, "revision": 2}


def simulate(folder: Path) -> None:
    """Four weeks by the simulator's dataset command; nothing if they are there already."""
    if not (folder / "truth.csv").exists():
        command = [str(Path(sys.executable).with_name("fieldstream-sim")), "dataset", "--out", str(folder)]
        amounts = ["--days", str(BLOCK_DAYS), "--sensors", str(SENSORS), "--period-ms", str(PERIOD_MS)]
        subprocess.run([*command, "--seed", "8", *amounts], check=True, stdout=subprocess.DEVNULL)


def on_the_way(readings: pa.Table) -> pa.Table:
    """What the hops add: delays, and the place in the gateway's spool; doubled ones the gateway drops."""
    readings = readings.group_by(["device_id", "metric", "ts"], use_threads=False).aggregate([("value", "first")])
    readings = readings.select(["device_id", "metric", "ts", "value_first"])
    readings = readings.rename_columns(["device_id", "metric", "ts", "value"])
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
    seq, places = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for one in range(GATEWAYS):
        mine = np.flatnonzero(gateway == one)
        seq[mine[np.argsort(received[mine], kind="stable")]] = np.arange(1, len(mine) + 1)
        places[mine] = len(mine)
    added = {"seq": seq, "places": places, "received": received, "processed": processed, "stored": stored}
    added["lateness"] = np.rint(rng.normal(-1000, 400, count)).astype(np.int64)
    labels = pa.array([f"gw-{n}" for n in range(GATEWAYS)])
    table = readings.append_column("gateway_id", labels.take(pa.array(gateway)))
    for name, values in added.items():
        table = table.append_column(name, pa.array(values))
    return table.filter(pa.array(~((gateway == LOSING_GATEWAY) & (seq >= LOST[0]) & (seq <= LOST[1]))))


def _arrow_bodies(table: pa.Table) -> Iterator[bytes]:
    for first in range(0, table.num_rows, 500_000):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.slice(first, 500_000))
        yield sink.getvalue().to_pybytes()
