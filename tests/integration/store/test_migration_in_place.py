"""Migrations over data that are there already: what the views say stays the same, and nothing is repaired for it."""

from pathlib import Path

import pytest
from fieldstream_central.store import migrate as migrating
from fieldstream_central.store.migrate import migrate, migrations
from integration.store.rig import Store

_ROWS = """
INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, quality, gateway_id, epoch, seq, received_at,
    processed_at, lateness_ms, stored_at)
SELECT concat('d', toString(number % 7)), 'm', fromUnixTimestamp64Milli(1779926400000 + number * 1234) AS ts,
    number / 8, 'good', 'g', 1, number + 1, ts + toIntervalMillisecond(number % 90) AS received_at,
    received_at + toIntervalMillisecond(200) AS processed_at, if(number % 5 = 0, NULL, toInt64(number) * 10 - 3000),
    processed_at + toIntervalMillisecond(300)
FROM numbers(5000)
"""
# A reading told twice: the first accepted stands before and after.
_AGAIN = """
INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, gateway_id, epoch, seq, received_at, stored_at)
SELECT device_id, metric, ts, -1, 'g', 1, seq + 10000, ts + toIntervalSecond(9), ts + toIntervalSecond(10)
FROM fieldstream.readings LIMIT 100
"""
_SEEN = """
SELECT count(), sum(value), sum(seq), groupBitXor(sipHash64(device_id, ts, value, seq, received_at)),
    sum(intDiv(lateness_ms, 1000)), max(abs(dateDiff('millisecond', received_at, processed_at) - 200)),
    max(abs(dateDiff('millisecond', processed_at, stored_at) - 300)) FROM fieldstream.readings
"""


def test_readings_of_an_older_store_are_the_same_after_the_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    older = [migration for migration in migrations() if migration.number < 11]
    with store.client() as clickhouse:
        monkeypatch.setattr(migrating, "migrations", lambda: older)
        migrate(store.url)
        clickhouse.execute(_ROWS)
        clickhouse.execute(_AGAIN)
        before = clickhouse.execute(_SEEN).decode().split("\t")
        clickhouse.execute("TRUNCATE TABLE fieldstream.late_touches")
        monkeypatch.undo()
        migrate(store.url)
        after = clickhouse.execute(_SEEN).decode().split("\t")
        assert after[:5] == before[:5]
        assert max(int(after[5]), int(after[6])) <= 100  # kept to a tenth of a second
        assert clickhouse.value("SELECT count() FROM fieldstream.late_touches") == 0
        assert clickhouse.value("SELECT count() FROM system.tables WHERE name = 'readings_before'") == 0
        migration = next(one for one in migrations() if one.number == 11)
        for when, statement in migration.guarded:  # interrupted and begun again
            if not when or clickhouse.value(when):
                clickhouse.execute(statement)
        assert clickhouse.execute(_SEEN).decode().split("\t") == after
        plan = clickhouse.execute(
            "EXPLAIN indexes = 1 SELECT count() FROM fieldstream.readings_data WHERE stored_at > now64(3) - 60"
        )
        assert b"stored_at_range" in plan
    store.process.stop()
