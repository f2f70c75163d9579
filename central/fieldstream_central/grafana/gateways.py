"""Gateways: which ones are well, how long their buffers last, whether all they accepted has arrived."""

from grafana_foundation_sdk.builders import dashboard

from fieldstream_central.grafana.frame import fill, frame
from fieldstream_central.grafana.panels import AMBER, GREEN, RED, bars, column, course, number, rows
from fieldstream_central.store.audit import SUSPECTED

_NEWEST = """
SELECT gateway_id, argMax(epoch, ts) AS epoch, max(ts) AS newest, argMax(state, ts) AS state,
    argMax(version, ts) AS version, argMax(spool_readings, ts) AS spool, argMax(spool_bytes, ts) AS bytes,
    argMax(spool_oldest_age_s, ts) AS oldest_s, argMax(spool_hours_left, ts) AS hours_left,
    argMax(clock_offset_ms, ts) AS clock_ms, argMax(certificate_expires_at, ts) AS expires,
    argMax(disk_free_bytes, ts) AS disk, argMax(memory_bytes, ts) AS memory
FROM fieldstream.gateways_data WHERE ts >= now64(3) - INTERVAL 30 DAY GROUP BY gateway_id"""

# As store/audit.py counts: missing is what Kafka had confirmed 20 s ago and the store does not hold. Of epochs with a
# heartbeat in the last 30 days; only the bucket in which the confirmed ones end needs its places looked at one by one.
COMPLETENESS = """
SELECT gateway_id, sum(accepted_) AS accepted, sum(arrived_) AS arrived, sum(greatest(0, settled - arrived_)) AS missing
FROM
(SELECT b.gateway_id AS gateway_id, b.epoch AS epoch, any(b.accepted) AS accepted_, any(b.settled) AS settled,
    sum(if((p.bucket + 1) * 1048576 <= b.settled, bitmapCardinality(p.places),
        bitmapCardinality(bitmapSubsetInRange(p.places, toUInt64(0), toUInt64(b.settled + 1))))) AS arrived_
 FROM (SELECT gateway_id, epoch, max(last_seq) AS accepted,
        maxIf(last_sent_seq, ts <= now64(3) - INTERVAL 20 SECOND) AS settled
    FROM fieldstream.gateways_data WHERE ts >= now64(3) - INTERVAL 30 DAY GROUP BY gateway_id, epoch) AS b
 LEFT JOIN (SELECT gateway_id, epoch, bucket, groupBitmapMergeState(places) AS places
    FROM fieldstream.arrived_data GROUP BY gateway_id, epoch, bucket) AS p
 ON p.gateway_id = b.gateway_id AND p.epoch = b.epoch
 GROUP BY gateway_id, epoch)
GROUP BY gateway_id"""

FLEET = f"""
SELECT n.gateway_id AS gateway, n.state AS state, n.version AS version,
    dateDiff('millisecond', n.newest, now64(3)) / 1000 AS heartbeat_age, c.accepted AS accepted, c.arrived AS arrived,
    c.missing AS missing, n.spool AS waiting, n.bytes AS spool_size, n.oldest_s AS oldest_waiting,
    n.hours_left AS hours_left, n.clock_ms AS clock_offset,
    dateDiff('hour', now64(3), n.expires) / 24 AS certificate_days, n.disk AS disk_free, n.memory AS memory
FROM ({_NEWEST}) AS n LEFT JOIN ({COMPLETENESS}) AS c ON c.gateway_id = n.gateway_id ORDER BY gateway"""

# As store/audit.py tells it, per epoch: stored and dead letters of all time, what is missing with its places, and
# places that are in the store twice (of the last day). Only buckets that are not full, and the last one, have their
# places looked at, which takes long.
AUDIT = """
SELECT gateway_id AS gateway, epoch, greatest(any(sent_to), max(last)) AS accepted, sum(stored_) AS stored,
    sum(letters_) AS dead_letters, sum(upto - first + 1 - n) AS missing, arrayStringConcat(arrayMap(
        gap -> if(gap.1 = gap.2, toString(gap.1), concat(toString(gap.1), '-', toString(gap.2))),
        arraySlice(arraySort(groupArrayArray(gaps)), 1, 20)), ', ') AS missing_places, any(d.twice) AS duplicates
FROM
(SELECT b.gateway_id AS gateway_id, b.epoch AS epoch, b.sent_to AS sent_to, p.last AS last, p.stored AS stored_,
    p.letters AS letters_, greatest(1, b.bucket * 1048576) AS first,
    least(b.settled, (b.bucket + 1) * 1048576 - 1) AS upto,
    b.settled >= (b.bucket + 1) * 1048576 - 1 AS whole,
    if(whole, p.places, bitmapSubsetInRange(if(whole, bitmapBuild(emptyArrayUInt64()), p.places),
        toUInt64(first), toUInt64(upto + 1))) AS here, toInt64(bitmapCardinality(here)) AS n,
    bitmapToArray(bitmapAndnot(bitmapBuild(
        range(toUInt64(if(n = upto - first + 1, upto + 1, first)), toUInt64(upto + 1))), here)) AS lost,
    arrayMap(run -> (run[1], run[-1]), arraySplit((place, step) -> step != 1, lost, arrayDifference(lost))) AS gaps
 FROM
 (SELECT gateway_id, epoch, max(last_seq) AS sent_to,
    maxIf(last_sent_seq, ts <= now64(3) - INTERVAL 20 SECOND) AS settled,
    arrayJoin(range(toUInt64(intDiv(settled, 1048576)) + 1)) AS bucket
  FROM fieldstream.gateways_data WHERE ts >= now64(3) - INTERVAL 30 DAY GROUP BY gateway_id, epoch) AS b
 LEFT JOIN
 (SELECT gateway_id, epoch, bucket, groupBitmapMergeState(a.places) AS places, bitmapMax(places) AS last,
    groupBitmapMergeIf(a.places, kind = 'reading') AS stored,
    groupBitmapMergeIf(a.places, kind = 'dead-letter') AS letters
  FROM fieldstream.arrived_data AS a GROUP BY gateway_id, epoch, bucket) AS p
 ON p.gateway_id = b.gateway_id AND p.epoch = b.epoch AND p.bucket = b.bucket) AS each
LEFT JOIN
(SELECT gateway_id, epoch, count() - uniqExact(seq) AS twice FROM fieldstream.readings_data FINAL
 WHERE ts >= SINCE AND seq > 0 AND SUSPECTED > 0 GROUP BY gateway_id, epoch) AS d
ON d.gateway_id = each.gateway_id AND d.epoch = each.epoch
GROUP BY gateway, epoch ORDER BY gateway, epoch""".replace("SUSPECTED", SUSPECTED).replace(
    "SINCE", "now64(3) - INTERVAL 1 DAY"
)

RUNNING = f"SELECT countIf(newest > now64(3) - INTERVAL 30 SECOND) FROM ({_NEWEST})"
SILENT = f"SELECT countIf(newest <= now64(3) - INTERVAL 30 SECOND) FROM ({_NEWEST})"
MISSING = f"SELECT sum(missing) FROM ({COMPLETENESS})"
HOURS_LEFT = f"SELECT min(hours_left) FROM ({_NEWEST})"
WAITING = f"SELECT sum(spool) FROM ({_NEWEST})"


def _beats(figure: str, name: str) -> str:
    return f"""
SELECT $__timeInterval(ts) AS time, gateway_id, {figure} AS {name} FROM fieldstream.gateways
WHERE $__timeFilter_ms(ts) GROUP BY time, gateway_id ORDER BY time"""


SPOOL = _beats("max(spool_readings)", "waiting")
OLDEST = _beats("max(spool_oldest_age_s)", "oldest_waiting")
CLOCK = _beats("avg(clock_offset_ms)", "offset")
MEMORY = _beats("max(memory_bytes)", "memory")


def _steps(counter: str, name: str) -> str:
    """What a counter of the heartbeats grew by; it starts anew with each process, so a fall is a start."""
    return f"""
SELECT time, gateway_id, sum(greatest(0, step)) AS {name} FROM
(SELECT $__timeInterval(ts) AS time, gateway_id, {counter} - lagInFrame({counter}, 1, {counter})
    OVER (PARTITION BY gateway_id ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS step
 FROM fieldstream.gateways WHERE $__timeFilter_ms(ts))
GROUP BY time, gateway_id ORDER BY time"""


ACCEPTED = _steps("accepted_total", "accepted")
DUPLICATES = _steps("duplicates_total", "duplicates")


def board() -> dashboard.Dashboard:
    """The dashboard."""
    page = frame("fieldstream-gateways", "Gateways", "Health of the fleet, buffers, clocks, completeness.")
    fleet = rows("Fleet", "The newest heartbeat of each gateway, and whether what it accepted has arrived", FLEET)
    for name, unit in (
        ("heartbeat_age", "s"),
        ("spool_size", "bytes"),
        ("oldest_waiting", "s"),
        ("hours_left", "h"),
        ("clock_offset", "ms"),
        ("certificate_days", "d"),
        ("disk_free", "bytes"),
        ("memory", "bytes"),
    ):
        fleet = column(fleet, name, unit=unit)
    fleet = column(fleet, "missing", colors=((None, GREEN), (1, RED)))
    fleet = column(fleet, "heartbeat_age", colors=((None, GREEN), (15, AMBER), (30, RED)))
    fleet = column(fleet, "hours_left", colors=((None, RED), (4, AMBER), (24, GREEN)))
    fleet = column(fleet, "certificate_days", colors=((None, RED), (7, AMBER), (30, GREEN)))
    audit = rows(
        "Audit",
        "Of each gateway and epoch: accepted, stored, dead letters, missing with its places (seq, at most 20 ranges), "
        "and places stored twice in the last day. As `fieldstream audit` tells it",
        AUDIT,
    )
    for name in ("missing", "duplicates"):
        audit = column(audit, name, colors=((None, GREEN), (1, RED)))
    return fill(
        page,
        number("Sending heartbeats", "Within the last 30 s", RUNNING),
        number("Silent", "No heartbeat for 30 s", SILENT, colors=((None, GREEN), (1, RED))),
        number("Missing readings", "Confirmed by Kafka, not in the store", MISSING, colors=((None, GREEN), (1, RED))),
        number("Waiting", "In all spools", WAITING),
        number(
            "Shortest buffer",
            "Hours until the first spool is full at its intake",
            HOURS_LEFT,
            unit="h",
            decimals=1,
            colors=((None, RED), (4, AMBER), (24, GREEN)),
        ),
        fleet,
        audit,
        course("Waiting in the spool", "Readings without Kafka's confirmation", SPOOL),
        course("Oldest waiting", "How far the uplink is behind", OLDEST, unit="s"),
        bars("Accepted", "Readings and dead letters per interval", ACCEPTED),
        bars("Duplicates dropped", "Delivered again by a device or the broker", DUPLICATES),
        course("Clock offset", "Median of the devices' time against the gateway's", CLOCK, unit="ms"),
        course("Memory", "Resident", MEMORY, unit="bytes"),
    )
