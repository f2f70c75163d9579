"""The loader between a real Kafka and a real engine, killed and fed with damaged records."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fieldstream_central.store.migrate import migrate
from fieldstream_schemas.registry import frame_header
from fieldstream_schemas.topics import ANOMALIES, ASSETS, GATEWAYS, READINGS_CLEAN, WINDOWS
from integration.store.rig import Feed, LoaderProcess, Store, encode, eventually, reading, schema_cache


@dataclass
class Chain:
    """Kafka, ClickHouse and what starts loaders between them."""

    folder: Path
    kafka: str
    store: Store
    cache: Path
    feed: Feed

    def loader(self, name: str = "loader") -> LoaderProcess:
        return LoaderProcess(self.folder, self.kafka, self.store.url, self.cache, name)

    def count(self, what: str, table: str = "readings") -> int:
        with self.store.client() as clickhouse:
            return int(clickhouse.value(f"SELECT count() AS n FROM fieldstream.{table} WHERE {what}"))

    def wait_for_more_than(self, seen: int, what: str) -> None:
        eventually(lambda: self.count(what) > seen)


@pytest.fixture(scope="module")
def chain(kafka: str, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    ids = schema_cache(folder / "schemas")
    migrate(store.url)
    return Chain(folder, kafka, store, folder / "schemas", Feed(kafka, ids))


@pytest.fixture
def loader(chain: Chain) -> Iterator[LoaderProcess]:
    process = chain.loader()
    yield process
    process.stop()


def test_each_reading_is_stored_once_however_often_it_is_delivered(chain: Chain, loader: LoaderProcess) -> None:
    rows = [reading(seq, epoch=1) for seq in range(1, 3001)]
    chain.feed.send(READINGS_CLEAN, rows)
    chain.feed.send(READINGS_CLEAN, rows[:1000])
    eventually(lambda: loader.metric("fieldstream_loader_rows_total") >= 4000, what="all delivered")
    assert chain.count("epoch = 1") == 3000


def test_the_first_accepted_of_two_values_stands(chain: Chain, loader: LoaderProcess) -> None:
    early = reading(1, device_id="two", epoch=2, value=1.0)
    later = early | {"value": 2.0, "received_at": early["received_at"] + 1, "seq": 2}
    chain.feed.send(READINGS_CLEAN, [later])
    eventually(lambda: chain.count("device_id = 'two'") == 1)
    chain.feed.send(READINGS_CLEAN, [early])
    eventually(lambda: chain.count("device_id = 'two' AND value = 1.0") == 1)
    assert chain.count("device_id = 'two'") == 1
    with chain.store.client() as clickhouse:
        (row,) = clickhouse.rows(
            "SELECT toUnixTimestamp64Milli(received_at) AS received, toUnixTimestamp64Milli(ts) AS ts, unit, quality, "
            "site, asset_type, seq FROM fieldstream.readings WHERE device_id = 'two'"
        )
    assert row == {
        **{"received": early["received_at"], "ts": early["ts"], "unit": "Cel", "quality": "good", "site": "north"},
        **{"asset_type": "pump", "seq": 1},
    }


@pytest.mark.parametrize("damage", ["cut", "noise", "too-long", "no-frame", "empty"])
def test_a_damaged_record_becomes_a_dead_letter_and_its_neighbours_are_stored(
    chain: Chain, loader: LoaderProcess, damage: str
) -> None:
    epoch = 10 + len(damage)
    good = [reading(seq, epoch=epoch, device_id="dmg") for seq in range(1, 101)]
    header = frame_header(chain_id(chain))
    body = encode(READINGS_CLEAN, reading(999, epoch=epoch, device_id="dmg"))
    damaged = {
        "cut": header + body[:-9],
        "noise": header + b"\xff" * 40,
        "too-long": header + body + body,
        "no-frame": b"not avro",
        "empty": header,
    }[damage]
    before = chain.count("origin = 'loader'", "dead_letters")
    for row in good[:50]:
        chain.feed.send(READINGS_CLEAN, [row], flush=False)
    chain.feed.flush()
    chain.feed.send_raw(READINGS_CLEAN, "dmg", damaged)
    chain.feed.send(READINGS_CLEAN, good[50:])
    eventually(lambda: chain.count(f"epoch = {epoch} AND seq <= 100") == 100, what="the neighbours")
    if damage == "too-long":  # a whole record with something behind it is that record
        eventually(lambda: chain.count(f"epoch = {epoch} AND seq = 999") == 1)
        return
    eventually(lambda: chain.count("origin = 'loader'", "dead_letters") == before + 1, what="the dead letter")
    with chain.store.client() as clickhouse:
        letter = clickhouse.rows("SELECT * FROM fieldstream.dead_letters WHERE origin='loader' ORDER BY stored_at")[-1]
    assert letter["reason"] == "undecodable"
    assert letter["source"].startswith("readings.clean/")
    assert letter["payload_size"] == len(damaged)


def chain_id(chain: Chain) -> int:
    return chain.feed._ids[READINGS_CLEAN.name]


def test_a_higher_revision_of_a_window_wins_in_either_order(chain: Chain, loader: LoaderProcess) -> None:
    def window(device: str, count: int) -> dict[str, object]:
        return {
            **{"device_id": device, "metric": "m", "window_start": 1_780_000_000_000, "window_end": 1_780_000_010_000},
            **{"unit": None, "count": count, "mean": 1.0, "stddev": 0.0, "min": 1.0, "max": 1.0, "first": 1.0},
            **{"last": 1.0, "first_ts": 1_780_000_000_000, "last_ts": 1_780_000_009_000, "revision": count},
        }

    chain.feed.send(WINDOWS, [window("w1", 9), window("w2", 10)])
    eventually(lambda: chain.count("device_id IN ('w1', 'w2')", "windows") == 2)
    chain.feed.send(WINDOWS, [window("w1", 10), window("w2", 9)])
    eventually(lambda: chain.count("device_id IN ('w1', 'w2') AND revision = 10", "windows") == 2)
    assert chain.count("device_id IN ('w1', 'w2')", "windows") == 2


def test_known_gaps_of_a_heartbeat_are_stored(chain: Chain, loader: LoaderProcess) -> None:
    numbers = dict.fromkeys(("epoch", "last_seq", "last_sent_seq", "spool_readings", "spool_bytes"), 500)
    numbers |= dict.fromkeys(("accepted_total", "dead_letters_total", "duplicates_total", "disk_free_bytes"), 0)
    beat = numbers | {"gateway_id": "gap", "state": "running", "version": "1", "config_hash": "x", "memory_bytes": 1}
    beat |= {"ts": 1_780_000_000_000, "started_at": 1_780_000_000_000, "spool_oldest_age_s": 0.0}
    gaps = [{"first": 1, "last": 90, "reason": "full"}, {"first": 400, "last": 400, "reason": "damaged"}]
    chain.feed.send(GATEWAYS, [beat, beat | {"ts": 1_780_000_010_000, "gaps": gaps}])
    eventually(lambda: chain.count("gateway_id = 'gap'", "gateways") == 2)
    with chain.store.client() as clickhouse:
        rows = clickhouse.rows("SELECT gaps FROM fieldstream.gateways WHERE gateway_id = 'gap' ORDER BY ts")
    assert [row["gaps"] for row in rows] == [[], gaps]


def test_the_latest_step_of_an_anomaly_is_shown_and_all_steps_are_kept(chain: Chain, loader: LoaderProcess) -> None:
    def step(revision: int, state: str) -> dict[str, object]:
        at = 1_780_000_000_000 + revision
        return {
            **{"anomaly_id": "a1", "device_id": "d", "metric": "m", "detector": "limit", "kind": "limit-high"},
            **{"severity": "critical", "state": state, "started_at": 1_780_000_000_000, "detected_at": at},
            **{"reason": "too hot", "evidence_start": 0, "evidence_end": at, "revision": revision},
        }

    chain.feed.send(ANOMALIES, [step(1, "open"), step(2, "update"), step(3, "close"), step(2, "update")])
    eventually(lambda: chain.count("anomaly_id = 'a1'", "anomaly_events") == 3)
    assert chain.count("anomaly_id = 'a1'", "anomalies") == 1
    assert chain.count("anomaly_id = 'a1' AND state = 'close' AND revision = 3", "anomalies") == 1


def test_a_null_value_removes_a_sensor_and_a_later_record_brings_it_back(chain: Chain, loader: LoaderProcess) -> None:
    row = {"device_id": "s1", "metric": "m/x", "site": "n", "asset_id": "a", "asset_type": "t", "high": 5.0}
    chain.feed.send(ASSETS, [row | {"updated_at": 1_780_000_000_000}])
    eventually(lambda: chain.count("device_id = 's1' AND high = 5 AND metric = 'm/x'", "assets") == 1)
    chain.feed.send_raw(ASSETS, "s1/m/x", None)
    eventually(lambda: chain.count("device_id = 's1'", "assets") == 0)
    chain.feed.send(ASSETS, [row | {"updated_at": 1_780_000_000_000, "high": 6.0}])
    eventually(lambda: chain.count("device_id = 's1' AND high = 6", "assets") == 1)


def test_nothing_is_lost_or_doubled_when_the_loader_is_killed_at_any_moment(chain: Chain) -> None:
    total = 20_000
    chain.feed.send(READINGS_CLEAN, [reading(seq, epoch=30) for seq in range(1, total + 1)])
    for number in range(4):
        loader = chain.loader(f"killed-{number}")
        seen = min(chain.count("epoch = 30"), total - 1)
        chain.wait_for_more_than(seen, "epoch = 30")
        loader.kill()
        chain.feed.send(READINGS_CLEAN, [reading(total + number + 1, epoch=30)])
    last = chain.loader("survivor")
    eventually(lambda: chain.count("epoch = 30") == total + 4, what="every reading")
    assert last.stop() == 0
    with chain.store.client() as clickhouse:
        row = clickhouse.rows("SELECT count() AS n, uniqExact(seq) AS seqs FROM fieldstream.readings WHERE epoch = 30")
        places = clickhouse.value(
            "SELECT groupBitmapMerge(places) AS n FROM fieldstream.arrived_data WHERE epoch = 30 AND kind = 'reading'"
        )
    assert row == [{"n": total + 4, "seqs": total + 4}]
    assert places == total + 4


def test_clickhouse_killed_in_mid_insert_and_away_for_a_while_costs_nothing(
    chain: Chain, loader: LoaderProcess
) -> None:
    chain.feed.send(READINGS_CLEAN, [reading(seq, epoch=31) for seq in range(1, 15_001)])
    eventually(lambda: chain.count("epoch = 31") > 0)
    chain.store.process.kill()
    chain.feed.send(READINGS_CLEAN, [reading(seq, epoch=31) for seq in range(15_001, 20_001)])
    eventually(lambda: loader.metric("fieldstream_loader_retries_total") >= 3, what="the loader waits")
    eventually(lambda: loader.metric("fieldstream_loader_lag_seconds") > 3, what="the lag is shown while it waits")
    eventually(lambda: loader.metric("fieldstream_loader_lag_records") >= 5000, what="what came meanwhile counts")
    chain.store.start()
    eventually(lambda: chain.count("epoch = 31") == 20_000, what="every reading")
    eventually(lambda: loader.metric("fieldstream_loader_lag_records") == 0, what="the lag is gone")
    assert loader.metric("fieldstream_loader_lag_seconds") == 0


def test_two_loaders_at_once_do_no_harm(chain: Chain, loader: LoaderProcess) -> None:
    second = chain.loader("second")
    chain.feed.send(READINGS_CLEAN, [reading(seq, epoch=32) for seq in range(1, 5001)])
    eventually(lambda: chain.count("epoch = 32") == 5000)
    assert second.stop() == 0
    assert chain.count("epoch = 32") == 5000
