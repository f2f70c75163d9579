"""Plant overview: what is wrong now, and where."""

from grafana_foundation_sdk.builders import dashboard

from fieldstream_central.grafana.frame import CHOSEN, fill, frame, plant_variables
from fieldstream_central.grafana.panels import (
    AMBER,
    BLUE,
    GREEN,
    LEVEL_SQL,
    LEVELS,
    RED,
    bars,
    column,
    number,
    ranking,
    rows,
    timeline,
)

OPEN = f"NOT shadow AND state != 'close' AND {CHOSEN}"

# Each asset's worst open episode per interval: every episode lies on the slots that it touches, over a floor of zeros.
STATES = f"""
WITH toUnixTimestamp($__fromTime) AS since, toUnixTimestamp(least($__toTime, now())) AS until, $__interval_s AS step
SELECT toDateTime(slot) AS time, asset_id, max(level) AS level FROM
(SELECT DISTINCT asset_id, 0 AS level, arrayJoin(range(intDiv(since, step) * step, until, step)) AS slot
 FROM fieldstream.assets WHERE {CHOSEN}
 UNION ALL
 SELECT asset_id, {LEVEL_SQL} AS level, arrayJoin(range(
    intDiv(greatest(since, toUnixTimestamp(started_at)), step) * step,
    least(until, toUnixTimestamp(ifNull(ended_at, now64(3))) + 1), step)) AS slot
 FROM fieldstream.anomalies
 WHERE NOT shadow AND started_at <= $__toTime AND (ended_at IS NULL OR ended_at >= $__fromTime)
    AND asset_id IN (SELECT asset_id FROM fieldstream.assets WHERE {CHOSEN}))
GROUP BY slot, asset_id ORDER BY time, asset_id"""

WRONG_NOW = f"""
SELECT severity, asset_id AS asset, concat(device_id, '/', metric) AS sensor, kind, reason,
    toUnixTimestamp64Milli(started_at) AS since, observed, expected
FROM fieldstream.anomalies WHERE {OPEN} ORDER BY {LEVEL_SQL} DESC, started_at LIMIT 200"""

_OPEN_OF = "SELECT count() FROM fieldstream.anomalies WHERE {OPEN} AND severity = '{severity}'"

# The newest of several revisions is as good as any: without FINAL.
REPORTING = f"""
SELECT countIf(w.newest >= now64(3) - INTERVAL 5 MINUTE) AS reporting FROM fieldstream.assets AS a
LEFT JOIN (SELECT device_id, metric, max(window_end) AS newest FROM fieldstream.windows_data
    WHERE window_start >= now64(3) - INTERVAL 10 MINUTE GROUP BY device_id, metric) AS w
ON w.device_id = a.device_id AND w.metric = a.metric WHERE {CHOSEN}"""
SILENT = f"""
SELECT count() - countIf(w.newest >= now64(3) - INTERVAL 5 MINUTE) AS silent FROM fieldstream.assets AS a
LEFT JOIN (SELECT device_id, metric, max(window_end) AS newest FROM fieldstream.windows_data
    WHERE window_start >= now64(3) - INTERVAL 10 MINUTE GROUP BY device_id, metric) AS w
ON w.device_id = a.device_id AND w.metric = a.metric WHERE {CHOSEN}"""
DATA_AGE = """
SELECT dateDiff('millisecond', max(ts), now64(3)) / 1000 AS age FROM fieldstream.readings_data
WHERE ts >= now64(3) - INTERVAL 1 HOUR"""

PER_HOUR = f"""
SELECT $__timeInterval(detected_at) AS time, severity, count() AS alarms FROM fieldstream.anomalies
WHERE NOT shadow AND $__timeFilter(detected_at) AND {CHOSEN} GROUP BY time, severity ORDER BY time"""
TOP = f"""
SELECT asset_id AS asset, count() AS alarms FROM fieldstream.anomalies
WHERE NOT shadow AND $__timeFilter(detected_at) AND {CHOSEN} GROUP BY asset ORDER BY alarms DESC, asset LIMIT 10"""


def _open(severity: str) -> str:
    return _OPEN_OF.format(OPEN=OPEN, severity=severity)


def board() -> dashboard.Dashboard:
    """The dashboard."""
    page = plant_variables(
        frame("fieldstream-plant", "Plant overview", "What is wrong now, and where. Start here.", span="now-3h")
    )
    wrong = rows(
        "What is wrong now", "Open alarms, the worst first. A click on an asset or sensor shows it.", WRONG_NOW
    )
    for name, words in (("severity", {name: (name, color) for name, color in LEVELS.values()}),):
        wrong = column(wrong, name, words=words)
    wrong = column(wrong, "since", unit="dateTimeFromNow")
    wrong = column(wrong, "asset", link=("Asset", "/d/fieldstream-asset?var-asset=${__value.raw}&${__url_time_range}"))
    wrong = column(
        wrong, "sensor", link=("Sensor", "/d/fieldstream-sensor?var-sensor=${__value.raw}&${__url_time_range}")
    )
    return fill(
        page,
        number("Critical", "Open critical alarms", _open("critical"), colors=((None, GREEN), (1, RED))),
        number("Warning", "Open warnings", _open("warning"), colors=((None, GREEN), (1, AMBER))),
        number("Info", "Open notices", _open("info"), colors=((None, GREEN), (1, BLUE))),
        number("Reporting", "Sensors with a window in the last five minutes", REPORTING),
        number("Silent", "Registered sensors without one", SILENT, colors=((None, GREEN), (1, AMBER))),
        number(
            "Age of the newest reading",
            "Event time of the newest stored reading until now",
            DATA_AGE,
            unit="s",
            decimals=1,
            colors=((None, GREEN), (10, AMBER), (60, RED)),
        ),
        timeline("Assets", "The worst open alarm of each asset over time", STATES),
        wrong,
        bars("Alarms raised", "By severity; more than six an hour is more than a person can handle", PER_HOUR),
        ranking("Noisiest assets", "Alarms in the range", TOP),
    )
