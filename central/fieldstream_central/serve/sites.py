"""Which rows of each table belong to some sites, as ClickHouse's setting `additional_table_filters` takes it.

The engine filters whatever reads a table: views, joins and subqueries too, and only after FINAL. A test holds the
tables named here against the schema, so that none is left open. On a cluster the rows lie in TABLE_local.
"""

from collections.abc import Sequence

_WITH_A_SITE = ("readings_data", "windows_data", "anomalies_data", "anomaly_steps_data", "assets_data")
_OWN = "(SELECT device_id, metric FROM fieldstream.assets_data FINAL)"
# By the sensor that the row is about.
_WITH_A_SENSOR = {
    "rollups_data": "device_id, metric",
    "alarm_events_data": "splitByChar('/', alarm_id)[1], splitByChar('/', alarm_id)[2]",
}
_NEITHER = (
    *("dead_letters_data", "dead_letter_handling_data", "gateways_data", "arrived_data", "late_touches"),
    *("lateness_data", "repair_progress", "rollup_touches", "migrations"),
)


def table_filters(sites: Sequence[str]) -> str:
    """The setting's value for these sites."""
    named = f"site IN ({', '.join(_quoted(site) for site in sites)})"
    filters = dict.fromkeys(_NEITHER, "0") | dict.fromkeys(_WITH_A_SITE, named)
    for table, sensor in _WITH_A_SENSOR.items():
        filters[table] = f"({sensor}) IN {_OWN}"
    filters |= {f"{table}_local": sql for table, sql in filters.items()}
    return "{" + ", ".join(f"{_quoted(f'fieldstream.{table}')}: {_quoted(sql)}" for table, sql in filters.items()) + "}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
