"""Detection quality: how many alarms people get, from what, and which of them are a nuisance (after EEMUA 191)."""

from grafana_foundation_sdk.builders import dashboard

from fieldstream_central.grafana.frame import CHOSEN, fill, frame, plant_variables
from fieldstream_central.grafana.panels import AMBER, GREEN, RED, bars, column, number, ranking, rows

_RAISED = f"fieldstream.anomalies WHERE NOT shadow AND $__timeFilter_ms(detected_at) AND {CHOSEN}"
_DAYS = "greatest((toUnixTimestamp(least($__toTime, now())) - toUnixTimestamp($__fromTime)) / 86400, 1 / 1440)"

RAISED = f"SELECT count() FROM {_RAISED}"
PER_SENSOR_DAY = f"""
SELECT (SELECT count() FROM {_RAISED}) / {_DAYS} / greatest(count(), 1) FROM fieldstream.assets WHERE {CHOSEN}"""
WORST_10_MIN = f"""
SELECT max(n) FROM (SELECT toStartOfInterval(detected_at, INTERVAL 10 MINUTE) AS slot, count() AS n
    FROM {_RAISED} GROUP BY slot)"""
STANDING = f"""
SELECT count() FROM fieldstream.anomalies
WHERE NOT shadow AND state != 'close' AND started_at < now64(3) - INTERVAL 24 HOUR AND {CHOSEN}"""
MEDIAN_LENGTH = f"""
SELECT quantileExact(0.5)(dateDiff('second', started_at, ifNull(ended_at, now64(3)))) FROM {_RAISED}"""
DELAY = f"SELECT quantileExact(0.5)(dateDiff('millisecond', started_at, detected_at)) / 1000 FROM {_RAISED}"

BY_DETECTOR = f"""
SELECT $__timeInterval(detected_at) AS time, detector, count() AS alarms FROM {_RAISED}
GROUP BY time, detector ORDER BY time"""
BY_KIND = f"SELECT kind, count() AS alarms FROM {_RAISED} GROUP BY kind ORDER BY alarms DESC, kind"
TOP_TEN = f"""
SELECT concat(device_id, '/', metric) AS sensor, count() AS alarms,
    round(100 * alarms / (SELECT count() FROM {_RAISED}), 1) AS share,
    uniqExact(kind) AS kinds, countIf(dateDiff('second', started_at, ifNull(ended_at, now64(3))) < 120) AS short
FROM {_RAISED} GROUP BY sensor ORDER BY alarms DESC, sensor LIMIT 10"""
SHADOW = f"""
SELECT detector, detector_version, countIf(NOT shadow) AS live, countIf(shadow) AS in_shadow,
    quantileExactIf(0.5)(dateDiff('millisecond', started_at, detected_at) / 1000, NOT shadow) AS median_delay
FROM fieldstream.anomalies WHERE $__timeFilter_ms(detected_at) AND {CHOSEN}
GROUP BY detector, detector_version ORDER BY live + in_shadow DESC, detector"""


def board() -> dashboard.Dashboard:
    """The dashboard."""
    page = plant_variables(
        frame(
            "fieldstream-quality", "Detection quality", "Alarms per person, per sensor, per detector.", span="now-24h"
        )
    )
    top = rows("Top ten sensors", "With their share of all alarms, and how many lasted less than two minutes", TOP_TEN)
    top = column(top, "share", unit="percent", colors=((None, GREEN), (10, AMBER), (25, RED)))
    top = column(top, "sensor", link=("Sensor", "/d/fieldstream-sensor?var-sensor=${__value.raw}&${__url_time_range}"))
    return fill(
        page,
        number("Alarms", "Raised in the range", RAISED),
        number(
            "Per sensor and day",
            "0.01 is what detection is set to allow of false ones",
            PER_SENSOR_DAY,
            decimals=3,
            colors=((None, GREEN), (0.1, AMBER), (1, RED)),
        ),
        number(
            "Worst ten minutes", "More than ten is a flood", WORST_10_MIN, colors=((None, GREEN), (5, AMBER), (10, RED))
        ),
        number("Standing", "Open for more than a day", STANDING, colors=((None, GREEN), (5, AMBER))),
        number("Median length", "Of an alarm", MEDIAN_LENGTH, unit="s"),
        number("Median time to detect", "From the first sign to the alarm", DELAY, unit="s"),
        bars("Alarms by detector", "Raised per interval", BY_DETECTOR),
        ranking("Alarms by kind", "In the range", BY_KIND),
        top,
        rows("Detectors, live and in shadow", "What a detector in shadow would have raised", SHADOW),
    )
