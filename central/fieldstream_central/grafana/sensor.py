"""Sensor: its readings, what is usual, what was expected when it alarmed, when its readings came."""

from grafana_foundation_sdk.builders import dashboard

from fieldstream_central.grafana.course import course as course_of
from fieldstream_central.grafana.course import limits, mean_min_max, usual
from fieldstream_central.grafana.frame import SENSOR, SqlAnnotations, fill, frame, plant_variables
from fieldstream_central.grafana.panels import (
    AMBER,
    GREEN,
    LEVELS,
    RED,
    bars,
    column,
    course,
    histogram,
    number,
    rows,
    sensor_panel,
)
from fieldstream_central.store.corrections import LATE_S, NOTABLE, corrections

NEWEST = f"SELECT argMax(value, ts) FROM fieldstream.readings WHERE {SENSOR} AND $__timeFilter_ms(ts)"
AGE = f"""
SELECT dateDiff('millisecond', max(ts), now64(3)) / 1000 FROM fieldstream.readings
WHERE {SENSOR} AND $__timeFilter_ms(ts)"""
COMPLETE = f"""
SELECT least(100, 100 * (SELECT sum(p.count) FROM ({course_of(SENSOR)}) AS p)
    * any(period_ms) / 1000 / greatest(1, toUnixTimestamp(least($__toTime, now())) - toUnixTimestamp($__fromTime)))
FROM fieldstream.assets WHERE {SENSOR}"""
LATE = f"""
SELECT countIf(stored_at > ts + INTERVAL {LATE_S} SECOND) FROM fieldstream.readings_data FINAL
WHERE {SENSOR} AND $__timeFilter_ms(ts) AND {NOTABLE}"""
REPAIRED = f"""
SELECT count() FROM fieldstream.windows WHERE {SENSOR} AND origin = 'repair' AND $__timeFilter_ms(window_start)"""
CORRECTED = f"""
SELECT toUnixTimestamp64Milli(window_start) AS window, toUnixTimestamp64Milli(corrected_at) AS corrected,
    readings_before, readings, mean_before, mean, min_before, min, max_before, max
FROM ({corrections(f"{SENSOR} AND $__timeFilter_ms(ts)", 100)})"""

SPREAD = f"""
WITH (SELECT (min(p.min), max(p.max)) FROM ({course_of(SENSOR)}) AS p) AS ends
SELECT toString(round(ends.1 + class * (ends.2 - ends.1) / 40, 3)) AS value, n AS intervals FROM
(SELECT toInt32(least(39, floor((p.mean - ends.1) / greatest(ends.2 - ends.1, 1e-9) * 40))) AS class, count() AS n
 FROM ({course_of(SENSOR)}) AS p GROUP BY class)
ORDER BY class"""
RATE = f"""
SELECT $__timeInterval_ms(at) AS time, sum(p.count) AS readings FROM ({course_of(SENSOR)}) AS p
GROUP BY time ORDER BY time"""
NOISE = f"""
SELECT $__timeInterval_ms(window_start) AS time, avg(stddev) AS stddev FROM fieldstream.windows
WHERE {SENSOR} AND $__timeFilter_ms(window_start) GROUP BY time ORDER BY time"""

ALARMS = f"""
SELECT state, severity, kind, reason, toUnixTimestamp64Milli(started_at) AS started,
    toUnixTimestamp64Milli(ended_at) AS ended, observed, expected, expected_low, expected_high,
    concat(detector, ' ', detector_version) AS detector
FROM fieldstream.anomalies
WHERE NOT shadow AND {SENSOR} AND started_at <= $__toTime AND (ended_at IS NULL OR ended_at >= $__fromTime)
ORDER BY started_at DESC LIMIT 100"""
ANOMALIES = f"""
SELECT toUnixTimestamp64Milli(started_at) AS time, toUnixTimestamp64Milli(ifNull(ended_at, now64(3))) AS timeEnd,
    reason AS text, concat(severity, ',', kind) AS tags
FROM fieldstream.anomalies
WHERE NOT shadow AND {SENSOR} AND started_at <= $__toTime AND (ended_at IS NULL OR ended_at >= $__fromTime)
ORDER BY time"""


def board() -> dashboard.Dashboard:
    """The dashboard."""
    page = plant_variables(
        frame("fieldstream-sensor", "Sensor", "One sensor: readings, what is usual, alarms, when readings came."),
        sensors=True,
    )
    page = page.annotation(SqlAnnotations("Anomalies", ANOMALIES, "red"))
    alarms = column(
        rows("Alarms of this sensor", "What was observed, and what was expected then", ALARMS),
        "severity",
        words={name: (name, color) for name, color in LEVELS.values()},
    )
    for name in ("started", "ended"):
        alarms = column(alarms, name, unit="dateTimeAsIso")
    changed = rows(
        "What late readings changed",
        "Windows as they were told in time and as they stand, the newest correction first; empty: nothing had come",
        CORRECTED,
    )
    for name in ("window", "corrected"):
        changed = column(changed, name, unit="dateTimeAsIso")
    late = ((None, GREEN), (1, AMBER))
    return fill(
        page,
        number("Newest value", "In the range", NEWEST, decimals=2),
        number(
            "Age",
            "Of the newest reading in the range",
            AGE,
            unit="s",
            decimals=1,
            colors=((None, GREEN), (30, AMBER), (120, RED)),
        ),
        number(
            "Complete",
            "Readings against its usual period",
            COMPLETE,
            unit="percent",
            decimals=1,
            colors=((None, RED), (90, AMBER), (99, GREEN)),
        ),
        number("Late", "Stored more than a minute after they were measured", LATE, colors=late),
        number("Repaired windows", "Computed anew for readings later than ten minutes", REPAIRED, colors=late),
        sensor_panel("Readings", mean_min_max(SENSOR), usual(SENSOR), limits(SENSOR), width=24),
        alarms,
        changed,
        bars("Readings stored", "Per interval; a hole is a gap in the data", RATE),
        course("Noise", "Standard deviation within the 10 s windows", NOISE),
        histogram("Distribution", "How often the mean lay where", SPREAD, width=24),
    )
