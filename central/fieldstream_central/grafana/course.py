"""A sensor's course as SQL: the coarsest table that is fine enough for the panel's interval.

ClickHouse drops the branches whose condition on the interval is a false constant, so one table is read.
Minimum and maximum are kept at every width, so that a spike of one reading stays visible in a year.
"""

from fieldstream_central.store.rollup import LEVELS

_WINDOW_S = 10


def course(where: str, also: str = "") -> str:
    """SELECT of `at`, mean, min, max, count, stddev of the sensor that `where` names, from the fitting tables; of
    several sensors with the columns `also` before them."""
    widths = sorted(width for width, _ in LEVELS)
    coarsest_fit = "multiIf(" + "".join(f"$__interval_s >= {width}, {width}, " for width in reversed(widths)) + "0)"
    return f"""
    SELECT {also}ts AS at, value AS mean, value AS min, value AS max, 1 AS count, 0. AS stddev FROM fieldstream.readings
    WHERE $__interval_s < {_WINDOW_S} AND $__timeFilter_ms(ts) AND {where}
    UNION ALL
    SELECT {also}window_start AS at, mean, min, max, count, stddev FROM fieldstream.windows
    WHERE $__interval_s >= {_WINDOW_S} AND $__interval_s < {widths[0]} AND $__timeFilter_ms(window_start) AND {where}
    UNION ALL
    SELECT {also}bucket_start AS at, mean, min, max, count, stddev FROM fieldstream.rollups
    WHERE width_s = {coarsest_fit} AND $__interval_s >= {widths[0]} AND $__timeFilter_ms(bucket_start) AND {where}"""


def mean_min_max(where: str) -> str:
    """time, mean, lowest, highest of one sensor at the panel's interval."""
    return f"""
SELECT $__timeInterval_ms(at) AS time, sum(p.mean * p.count) / sum(p.count) AS mean,
    min(p.min) AS lowest, max(p.max) AS highest
FROM ({course(where)}) AS p GROUP BY time ORDER BY time"""


def usual(where: str) -> str:
    """time, usual_low, usual_high: four standard deviations around the mean of the 60 intervals before."""
    return f"""
SELECT time, m - 4 * s AS usual_low, m + 4 * s AS usual_high FROM
(SELECT time, count() OVER before AS n, avg(mean) OVER before AS m,
    sqrt(greatest(0, avg(mean * mean) OVER before - m * m) + avg(spread * spread) OVER before) AS s
 FROM (SELECT $__timeInterval_ms(at) AS time, sum(p.mean * p.count) / sum(p.count) AS mean,
        sqrt(sum(p.stddev * p.stddev * p.count) / sum(p.count)) AS spread
    FROM ({course(where)}) AS p GROUP BY time)
 WINDOW before AS (ORDER BY time ROWS BETWEEN 60 PRECEDING AND 1 PRECEDING))
WHERE n >= 10 ORDER BY time"""


def limits(where: str) -> str:
    """The sensor's alarm limits as lines over the whole range; those that are not set are left out."""
    return f"""
SELECT arrayJoin([$__fromTime_ms, $__toTime_ms]) AS time, low_low AS LL, low AS L, high AS H, high_high AS HH
FROM fieldstream.assets WHERE {where} ORDER BY time"""
