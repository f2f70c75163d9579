"""Readings that are late, doubtful or of a replaced time are found without reading all others."""

import re

from fieldstream_central.store.corrections import NOTABLE, corrections
from fieldstream_central.store.migrate import migrate
from integration.store.rig import Store

_ROWS = "device_id = 'notable' AND metric = 'm'"


def test_notable_readings_are_found_by_their_index_and_corrected_windows_by_them(store: Store) -> None:
    migrate(store.url)
    with store.client() as clickhouse:
        # One in 100 s; a second one in each of two windows, an hour late; one doubtful in time.
        clickhouse.execute(
            "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, received_at, stored_after_ds, "
            "quality) SELECT 'notable', 'm', toDateTime64('2026-05-01', 3) + toIntervalMillisecond(n) AS t, n, t, "
            "after, quality FROM (SELECT number * 100000 AS n, 3 AS after, "
            "if(number = 70000, 'bad', 'good') AS quality FROM numbers(100000) "
            "UNION ALL SELECT arrayJoin([5000001000, 5000101000]), 36000, 'good')"
        )
        asked = f"SELECT count() FROM fieldstream.readings_data FINAL WHERE {_ROWS} AND {NOTABLE}"
        assert clickhouse.value(asked) == 3
        plan = clickhouse.execute(f"EXPLAIN indexes = 1 {asked} FORMAT TSVRaw").decode()
        left, of = re.findall(r"Name: notable.*?Granules: (\d+)/(\d+)", plan, re.DOTALL)[0]
        assert int(left) <= 2 < int(of)
        rows = clickhouse.rows(corrections(_ROWS, 10))
    assert [(row["readings_before"], row["readings"], row["windows"]) for row in rows] == [(1, 2, 2), (1, 2, 2)]
    assert [(row["max_before"], row["max"]) for row in rows] == [(5000100000, 5000101000), (5000000000, 5000001000)]
