"""The dashboards' variables where no Grafana chooses them: everything, and one sensor of one asset."""

from fieldstream_central.store.clickhouse import ClickHouse


class NoSensorError(Exception):
    """There is no registered sensor to show, or not the one that was asked for."""


def choose(clickhouse: ClickHouse, sensor: str = "") -> dict[str, list[str]]:
    """All sites, areas and assets, and `sensor` (device/metric), by default the one with most alarms."""
    rows = clickhouse.rows(
        "SELECT a.site AS site, a.area AS area, a.asset_id AS asset, concat(a.device_id, '/', a.metric) AS sensor, "
        "n.n AS alarms FROM fieldstream.assets AS a LEFT JOIN (SELECT device_id, metric, count() AS n "
        "FROM fieldstream.anomalies WHERE NOT shadow GROUP BY device_id, metric) AS n "
        "ON n.device_id = a.device_id AND n.metric = a.metric ORDER BY alarms DESC, sensor"
    )
    found = next((row for row in rows if sensor in ("", row["sensor"])), None)
    if found is None:
        raise NoSensorError(
            f"no sensor {sensor or 'at all'} is registered; the asset registry knows {len(rows)} sensors"
        )
    every = {name: sorted({row[name] for row in rows}) for name in ("site", "area", "asset")}
    return every | {
        "asset": [found["asset"], *(a for a in every["asset"] if a != found["asset"])],
        "sensor": [found["sensor"]],
    }
