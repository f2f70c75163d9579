"""Asset: all its sensors with their limits, its alarms, and how far the figures can be trusted."""

from grafana_foundation_sdk.builders import dashboard

from fieldstream_central.grafana.course import course, limits, mean_min_max, usual
from fieldstream_central.grafana.frame import SENSOR, SqlAnnotations, fill, frame, plant_variables
from fieldstream_central.grafana.panels import (
    AMBER,
    GREEN,
    LEVEL_SQL,
    LEVELS,
    RED,
    column,
    mapping,
    number,
    rows,
    sensor_panel,
    timeline,
)
from fieldstream_central.grafana.plant import STATES
from fieldstream_central.store.corrections import LATE_S, NOTABLE

OF_ASSET = "asset_id = ${asset:sqlstring}"

STATE = f"SELECT max({LEVEL_SQL}) FROM fieldstream.anomalies WHERE NOT shadow AND state != 'close' AND {OF_ASSET}"
OPEN_COUNT = f"SELECT count() FROM fieldstream.anomalies WHERE NOT shadow AND state != 'close' AND {OF_ASSET}"
SENSORS = f"SELECT count() FROM fieldstream.assets WHERE {OF_ASSET}"

HISTORY = f"""
SELECT state, severity, concat(device_id, '/', metric) AS sensor, kind, reason,
    toUnixTimestamp64Milli(started_at) AS started, toUnixTimestamp64Milli(ended_at) AS ended,
    dateDiff('second', started_at, ifNull(ended_at, now64(3))) AS lasted
FROM fieldstream.anomalies
WHERE NOT shadow AND {OF_ASSET} AND started_at <= $__toTime AND (ended_at IS NULL OR ended_at >= $__fromTime)
ORDER BY started_at DESC LIMIT 200"""

ANOMALIES = f"""
SELECT toUnixTimestamp64Milli(started_at) AS time, toUnixTimestamp64Milli(ifNull(ended_at, now64(3))) AS timeEnd,
    concat(metric, ': ', reason) AS text, concat(severity, ',', kind) AS tags
FROM fieldstream.anomalies
WHERE NOT shadow AND {OF_ASSET} AND started_at <= $__toTime AND (ended_at IS NULL OR ended_at >= $__fromTime)
ORDER BY time"""

_ITS_SENSORS = f"(device_id, metric) IN (SELECT device_id, metric FROM fieldstream.assets WHERE {OF_ASSET})"
TRUST = f"""
SELECT concat(a.device_id, '/', a.metric) AS sensor, a.unit AS unit,
    round(least(100, 100 * c.n * a.period_ms / 1000 / greatest(1, toUnixTimestamp(least($__toTime, now()))
        - toUnixTimestamp($__fromTime))), 2) AS complete_percent,
    c.n AS readings, d.late AS late, r.repaired AS repaired_windows, d.doubtful AS doubtful,
    d.clock_suspect AS clock_suspect, s.stuck AS stuck_spans
FROM fieldstream.assets AS a
LEFT JOIN (SELECT device_id, metric, sum(p.count) AS n FROM ({course(_ITS_SENSORS, "device_id, metric, ")}) AS p
    GROUP BY device_id, metric) AS c ON c.device_id = a.device_id AND c.metric = a.metric
LEFT JOIN (SELECT device_id, metric, countIf(stored_at > ts + INTERVAL {LATE_S} SECOND) AS late,
        countIf(quality != 'good') AS doubtful, countIf(bitAnd(flags, 7) != 0) AS clock_suspect
    FROM fieldstream.readings_data FINAL WHERE $__timeFilter_ms(ts) AND {NOTABLE} AND {_ITS_SENSORS}
    GROUP BY device_id, metric) AS d ON d.device_id = a.device_id AND d.metric = a.metric
LEFT JOIN (SELECT device_id, metric, count() AS repaired FROM fieldstream.windows
    WHERE origin = 'repair' AND $__timeFilter_ms(window_start) AND {_ITS_SENSORS}
    GROUP BY device_id, metric) AS r ON r.device_id = a.device_id AND r.metric = a.metric
LEFT JOIN (SELECT device_id, metric, count() AS stuck FROM fieldstream.anomalies
    WHERE kind = 'stuck' AND NOT shadow AND started_at <= $__toTime
        AND (ended_at IS NULL OR ended_at >= $__fromTime)
    GROUP BY device_id, metric) AS s ON s.device_id = a.device_id AND s.metric = a.metric
WHERE {OF_ASSET} ORDER BY sensor"""

COURSE, USUAL, LIMITS = mean_min_max(SENSOR), usual(SENSOR), limits(SENSOR)


def board() -> dashboard.Dashboard:
    """The dashboard: the sensors' panel is repeated for each sensor of the asset."""
    page = plant_variables(
        frame("fieldstream-asset", "Asset", "One asset: all its sensors, its alarms, and how far to trust them."),
        one_asset=True,
        sensors=True,
    )
    page = page.annotation(SqlAnnotations("Anomalies", ANOMALIES, "red"))
    words = {name: (name, color) for name, color in LEVELS.values()}
    history = column(rows("Alarms of this asset", "In the range, the newest first", HISTORY), "severity", words=words)
    for name in ("started", "ended"):
        history = column(history, name, unit="dateTimeAsIso")
    history = column(
        column(history, "lasted", unit="s"),
        "sensor",
        link=("Sensor", "/d/fieldstream-sensor?var-sensor=${__value.raw}&${__url_time_range}"),
    )
    trust = rows(
        "How far to trust the figures",
        "Per sensor in the range: completeness by its usual period, readings stored more than a minute late, "
        "windows repaired for them, readings of doubtful quality or with a replaced time",
        TRUST,
    )
    trust = column(trust, "complete_percent", unit="percent", colors=((None, RED), (90, AMBER), (99, GREEN)))
    for name in ("late", "repaired_windows", "doubtful", "clock_suspect", "stuck_spans"):
        trust = column(trust, name, colors=((None, GREEN), (1, AMBER)))
    sensor = sensor_panel("$sensor", COURSE, USUAL, LIMITS)
    level = ((None, GREEN), (1, "blue"), (2, AMBER), (3, RED))
    return fill(
        page,
        number("State", "The worst open alarm", STATE, colors=level).mappings(mapping(LEVELS)),
        number("Open alarms", "Of this asset", OPEN_COUNT, colors=((None, GREEN), (1, AMBER))),
        number("Sensors", "Registered", SENSORS),
        timeline("State over time", "The worst open alarm", STATES, height=4),
        dashboard.Row("Sensors"),
        sensor.repeat("sensor").repeat_direction("h").max_per_row(2),
        dashboard.Row("Alarms and trust"),
        history,
        trust,
    )
