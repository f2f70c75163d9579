"""What late readings changed: windows as they were told in time, and as they stand with what came later.

Nothing is kept for it: readings are only ever added, and each says when it was stored.
"""

# A reading stored so long after it was measured is late: its window was told without it.
LATE_S = 60
# Late, doubtful, or of a replaced time: word for word the index `notable` (schema/0017), so that it is used.
NOTABLE = (
    f"greatest(4398046511103 - version + 100 * stored_after_ds > {1000 * LATE_S}, quality != 'good', "
    "bitAnd(flags, 7) != 0) = 1"
)

_CORRECTIONS = """
SELECT device_id, metric, window_start, max(stored) AS corrected_at, countIf(NOT late) AS readings_before,
    count() AS readings, if(readings_before = 0, NULL, avgIf(value, NOT late)) AS mean_before, avg(value) AS mean,
    if(readings_before = 0, NULL, minIf(value, NOT late)) AS min_before, min(value) AS min,
    if(readings_before = 0, NULL, maxIf(value, NOT late)) AS max_before, max(value) AS max, count() OVER () AS windows
FROM (SELECT device_id, metric, value, stored_at AS stored, stored > ts + INTERVAL LATE_S SECOND AS late,
        toDateTime64(toStartOfInterval(ts, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC') AS window_start
    FROM fieldstream.readings_data FINAL WHERE ROWS AND (device_id, metric, window_start) IN
        (SELECT device_id, metric, toDateTime64(toStartOfInterval(ts, INTERVAL 10 SECOND, 'UTC'), 3, 'UTC')
         FROM fieldstream.readings_data FINAL WHERE ROWS AND NOTABLE))
GROUP BY device_id, metric, window_start HAVING countIf(late) > 0
ORDER BY corrected_at DESC, window_start DESC LIMIT SHOWN"""


def corrections(where: str, limit: int) -> str:
    """SELECT of the windows that late readings changed among the readings that `where` names, the newest correction
    first; `windows` is how many there are in all."""
    sql = _CORRECTIONS.replace("LATE_S", str(LATE_S)).replace("SHOWN", str(limit))
    return sql.replace("ROWS", where).replace("NOTABLE", NOTABLE)
