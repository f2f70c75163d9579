"""What the store holds: rows, bytes, parts, merges, per table and per column."""

from typing import Any

from fieldstream_central.store.clickhouse import ClickHouse

_TABLES = """
SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes, count() AS parts,
    if(rows = 0, 0, bytes / rows) AS bytes_per_row,
    if(sum(data_compressed_bytes) = 0, 0, sum(data_uncompressed_bytes) / sum(data_compressed_bytes)) AS ratio
FROM system.parts WHERE active AND database = 'fieldstream'
GROUP BY table ORDER BY bytes DESC
"""

_COLUMNS = """
SELECT table, column, sum(column_data_compressed_bytes) AS bytes,
    sum(column_data_compressed_bytes) / sum(rows) AS bytes_per_row
FROM system.parts_columns WHERE active AND database = 'fieldstream' AND table = {table:String}
GROUP BY table, column ORDER BY bytes DESC
"""


def table_status(clickhouse: ClickHouse) -> list[dict[str, Any]]:
    """One row per table that holds anything, the largest first."""
    merging = {
        row["table"]: row["n"]
        for row in clickhouse.rows(
            "SELECT table, count() AS n FROM system.merges WHERE database = 'fieldstream' GROUP BY table"
        )
    }
    return [row | {"merges": merging.get(row["table"], 0)} for row in clickhouse.rows(_TABLES)]


def column_status(clickhouse: ClickHouse, table: str) -> list[dict[str, Any]]:
    """Bytes per column of one table, the largest first."""
    return clickhouse.rows(_COLUMNS, {"table": table})
