"""A backup, what was lost, and the restored store."""

from pathlib import Path

import pytest
from fieldstream_central.store.backup import BackupError, backup, restore
from fieldstream_central.store.clickhouse import ClickHouse, RefusedError
from fieldstream_central.store.migrate import migrate
from fieldstream_central.store.status import column_status, table_status
from fieldstream_central.store.verify import verify
from integration.store.rig import Store


def put(clickhouse: ClickHouse, device: str, count: int) -> None:
    clickhouse.execute(
        "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, gateway_id, epoch, seq, received_at) "
        f"SELECT '{device}', 'm', now64(3) - toIntervalSecond(number), number, 'g', 1, number + 1, now64(3) "
        f"FROM numbers({count})"
    )


def count(clickhouse: ClickHouse) -> int:
    return int(clickhouse.value("SELECT count() FROM fieldstream.readings"))


def test_a_store_is_brought_back_from_a_backup_and_its_increment(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.client() as clickhouse:
        migrate(store.url)
        put(clickhouse, "a", 1000)
        backup(clickhouse, "first")
        put(clickhouse, "b", 500)
        backup(clickhouse, "second", base="first")
        put(clickhouse, "c", 1)
        with pytest.raises(BackupError, match="--replace"):
            restore(clickhouse, "second")
        with pytest.raises(RefusedError):
            restore(clickhouse, "no-such-backup", replace=True)
        assert count(clickhouse) == 1501  # a backup that cannot be read has cost nothing
        restore(clickhouse, "second", replace=True)
        assert count(clickhouse) == 1500
        assert migrate(store.url) == []
        put(clickhouse, "d", 10)  # views and dependent tables work on
        assert clickhouse.value("SELECT groupBitmapMerge(places) FROM fieldstream.arrived_data") == 1000
        assert verify(clickhouse) == []
    store.process.kill()
    store.start()
    with store.client() as clickhouse:
        assert count(clickhouse) == 1510
    assert store.process.stop() == 0


def test_a_damaged_part_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.client() as clickhouse:
        migrate(store.url)
        put(clickhouse, "a", 5000)
        assert verify(clickhouse) == []
        where = clickhouse.value(
            "SELECT path FROM system.parts WHERE database = 'fieldstream' AND table = 'readings_data' AND active "
            "LIMIT 1"
        )
        files = [path for path in Path(where).iterdir() if path.name in ("data.bin", "value.bin")]
        data = bytearray(files[0].read_bytes())
        data[len(data) // 2] ^= 0xFF
        files[0].write_bytes(bytes(data))
        assert any("readings_data: part" in problem for problem in verify(clickhouse))
    store.process.stop()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a'b", "-x"])
def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    with pytest.raises(BackupError):
        backup(ClickHouse("http://127.0.0.1:9"), name)


def test_status_tells_rows_and_bytes(store: Store) -> None:
    migrate(store.url)
    with store.client() as clickhouse:
        put(clickhouse, "status", 2000)
        rows = {row["table"]: row for row in table_status(clickhouse)}
        assert rows["readings_data"]["rows"] >= 2000
        assert 0 < rows["readings_data"]["bytes_per_row"] < 200
        assert {row["column"] for row in column_status(clickhouse, "readings_data")} >= {"value", "ts"}
