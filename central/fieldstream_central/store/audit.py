"""Completeness: what every gateway accepted, against what arrived.

A gateway numbers everything it accepts, readings and dead letters, 1, 2, 3, ... within an epoch, and says in
its heartbeat how far it has come. So what is missing can be told exactly, and by number. Places that arrived
but were not announced yet (the heartbeat is up to 10 s old) raise `accepted`.

`missing` counts what the gateway says Kafka has confirmed (last_sent_seq) and the store has not; what still
waits in the gateway's spool or is on its way is `underway`. Missing is taken from a heartbeat that is at
least `settle_s` old, so that a reading in flight is not called missing.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fieldstream_central.store.clickhouse import ClickHouse

# Gateway to ClickHouse takes about 2 s; a job that is restarted holds readings back for some more.
SETTLE_S = 20
MAX_RANGES = 100
# Dead letters that were replayed into readings.raw: an epoch each, which says nothing about completeness.
REPLAY_GATEWAY = "dead-letter-replay"

# Per gateway and epoch: the newest heartbeat, and the newest that has settled.
_HEARTBEATS = """
SELECT gateway_id, epoch, max(last_seq) AS last_seq, max(last_sent_seq) AS last_sent,
    maxIf(last_sent_seq, ts <= now64(3) - INTERVAL {settle:UInt32} SECOND) AS settled,
    toString(max(ts)) AS heartbeat, argMax(state, ts) AS state, argMax(spool_readings, ts) AS spool
FROM fieldstream.gateways_data WHERE {gateway:String} IN ('', gateway_id)
GROUP BY gateway_id, epoch
"""

_ARRIVED = """
SELECT gateway_id, epoch, max(last) AS last, sumIf(n, kind = 'reading') AS stored,
    sumIf(n, kind = 'dead-letter') AS dead_lettered
FROM (SELECT gateway_id, epoch, kind, bucket, groupBitmapMerge(places) AS n,
        bitmapMax(groupBitmapMergeState(places)) AS last
    FROM fieldstream.arrived_data WHERE {gateway:String} IN ('', gateway_id)
    GROUP BY gateway_id, epoch, kind, bucket)
GROUP BY gateway_id, epoch
"""

# Places by bucket, so that a gap is looked for only where count and last say that there is one.
_BUCKETS = """
SELECT gateway_id, epoch, bucket, groupBitmapMerge(a.places) AS n, bitmapMax(groupBitmapMergeState(a.places)) AS last
FROM fieldstream.arrived_data AS a WHERE {gateway:String} IN ('', gateway_id)
GROUP BY gateway_id, epoch, bucket ORDER BY gateway_id, epoch, bucket
"""

# Gaps inside one bucket above `floor`, up to `upto`.
_GAPS = """
SELECT run[1] AS first, run[-1] AS last FROM
(SELECT bitmapToArray(bitmapAndnot(bitmapBuild(range(toUInt64({floor:Int64} + 1), toUInt64({upto:Int64} + 1))),
        groupBitmapMergeState(places))) AS lost,
    arrayJoin(arraySplit((place, step) -> step != 1, lost, arrayDifference(lost))) AS run
 FROM fieldstream.arrived_data
 WHERE gateway_id = {gateway:String} AND epoch = {epoch:Int64} AND bucket = {bucket:Int64})
WHERE notEmpty(run) ORDER BY first
"""

# Whether any gateway's epoch has more rows than places among readings measured since SINCE. What Kafka delivered
# again counts too until it is merged: a suspicion, which costs a fraction of the answer and nearly always saves it.
SUSPECTED = """(SELECT count() FROM (SELECT 1 FROM fieldstream.readings_data WHERE ts >= SINCE AND seq > 0
    GROUP BY gateway_id, epoch HAVING count() > groupBitmap(toUInt64(seq))))"""

_DUPLICATES = """
SELECT gateway_id, epoch, count() - uniqExact(seq) AS duplicates FROM fieldstream.readings_data FINAL
WHERE ts >= SINCE AND seq > 0 AND {gateway:String} IN ('', gateway_id) AND SUSPECTED > 0
GROUP BY gateway_id, epoch
""".replace("SUSPECTED", SUSPECTED).replace("SINCE", "now64(3) - INTERVAL {hours:UInt32} HOUR")

# How far each epoch had come at two moments; heartbeats come every 10 s.
_PERIOD = """
SELECT gateway_id, epoch, maxIf(last_seq, ts <= {since:DateTime64(3, 'UTC')}) AS after, max(last_seq) AS upto,
    toString(max(ts)) AS heartbeat, argMax(state, ts) AS state
FROM fieldstream.gateways_data
WHERE ts <= {until:DateTime64(3, 'UTC')} AND {gateway:String} IN ('', gateway_id)
GROUP BY gateway_id, epoch HAVING upto > after ORDER BY gateway_id, epoch
"""

_ARRIVED_BETWEEN = """
SELECT kind,
    sum(bitmapCardinality(bitmapSubsetInRange(here, toUInt64({after:Int64} + 1), toUInt64({upto:Int64} + 1)))) AS n
FROM (SELECT kind, bucket, groupBitmapMergeState(places) AS here FROM fieldstream.arrived_data
    WHERE gateway_id = {gateway:String} AND epoch = {epoch:Int64}
        AND bucket BETWEEN intDiv({after:Int64}, 1048576) AND intDiv({upto:Int64}, 1048576) GROUP BY kind, bucket)
GROUP BY kind
"""

_DUPLICATES_BETWEEN = """
SELECT count() - uniqExact(seq) FROM fieldstream.readings WHERE gateway_id = {gateway:String}
    AND epoch = {epoch:Int64} AND seq > {after:Int64} AND seq <= {upto:Int64}
    AND ts >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY AND ts <= {until:DateTime64(3, 'UTC')} + INTERVAL 1 DAY
"""

_BUCKET_PLACES = 1_048_576
Buckets = dict[int, tuple[int, int]]  # bucket: how many places of it have arrived, and the last of them


@dataclass
class Completeness:
    """One gateway's epoch. `missing_ranges` are seq from and to, both inclusive, at most MAX_RANGES of them."""

    gateway_id: str
    epoch: int
    accepted: int
    stored: int
    dead_lettered: int
    missing: int
    duplicates: int
    underway: int
    checked_until: int
    heartbeat: str | None = None
    state: str = "unknown"
    missing_ranges: list[tuple[int, int]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Nothing missing, nothing double."""
        return self.missing == 0 and self.duplicates == 0

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return self.__dict__ | {"complete": self.complete}

    def sentence(self) -> str:
        """As an operator reads it."""
        line = f"accepted {self.accepted:,}, stored {self.stored:,}, "
        if self.dead_lettered:
            line += f"dead letters {self.dead_lettered:,}, "
        line += f"missing {self.missing:,}, duplicates {self.duplicates:,}"
        return line + (f", underway {self.underway:,}" if self.underway else "")


def audit(
    clickhouse: ClickHouse, *, gateway_id: str = "", settle_s: int = SETTLE_S, duplicate_hours: int = 24
) -> list[Completeness]:
    """Every gateway and epoch, or one gateway's. Duplicates are looked for among readings of the last hours.

    Raises ClickHouseError.
    """
    params = {"gateway": gateway_id, "settle": settle_s, "hours": duplicate_hours}
    beats = {(row["gateway_id"], row["epoch"]): row for row in clickhouse.rows(_HEARTBEATS, params)}
    arrived = {(row["gateway_id"], row["epoch"]): row for row in clickhouse.rows(_ARRIVED, params)}
    doubles = {(row["gateway_id"], row["epoch"]): row["duplicates"] for row in clickhouse.rows(_DUPLICATES, params)}
    buckets: dict[tuple[str, int], Buckets] = {}
    for row in clickhouse.rows(_BUCKETS, params):
        buckets.setdefault((row["gateway_id"], row["epoch"]), {})[row["bucket"]] = (row["n"], row["last"])
    return [
        _completeness(
            clickhouse,
            key,
            beat=beats.get(key),
            arrived=arrived.get(key),
            buckets=buckets.get(key, {}),
            duplicates=doubles.get(key, 0),
        )
        for key in sorted(set(beats) | set(arrived))
        if key[0] != REPLAY_GATEWAY
    ]


def audit_period(
    clickhouse: ClickHouse, since: datetime, until: datetime, *, gateway_id: str = "", duplicates: bool = True
) -> list[Completeness]:
    """The same for what each gateway accepted between two moments, to the heartbeat. Duplicates are looked for among
    readings measured then, or a day before or after; or not at all. Raises ClickHouseError."""
    found = []
    for row in clickhouse.rows(_PERIOD, {"gateway": gateway_id, "since": since, "until": until}):
        key = (row["gateway_id"], row["epoch"])
        params: dict[str, object] = {"gateway": key[0], "epoch": key[1], "after": row["after"], "upto": row["upto"]}
        params |= {"since": since, "until": until}
        arrived = {item["kind"]: item["n"] for item in clickhouse.rows(_ARRIVED_BETWEEN, params)}
        buckets = {b["bucket"]: (b["n"], b["last"]) for b in clickhouse.rows(_BUCKETS, params) if b["epoch"] == key[1]}
        ranges = _gaps(clickhouse, key, buckets, row["after"], row["upto"])
        found.append(
            Completeness(
                gateway_id=key[0],
                epoch=key[1],
                accepted=row["upto"] - row["after"],
                stored=arrived.get("reading", 0),
                dead_lettered=arrived.get("dead-letter", 0),
                missing=sum(last - first + 1 for first, last in ranges),
                duplicates=clickhouse.value(_DUPLICATES_BETWEEN, params) if duplicates else 0,
                underway=0,
                checked_until=row["upto"],
                heartbeat=row["heartbeat"],
                state=row["state"],
                missing_ranges=ranges[:MAX_RANGES],
            )
        )
    return found


def _completeness(
    clickhouse: ClickHouse,
    key: tuple[str, int],
    *,
    beat: dict[str, Any] | None,
    arrived: dict[str, Any] | None,
    buckets: Buckets,
    duplicates: int,
) -> Completeness:
    last_arrived = arrived["last"] if arrived else 0
    accepted = max(beat["last_seq"] if beat else 0, last_arrived)
    # Without any heartbeat only what lies before the last arrival can be judged.
    checked = max(beat["settled"], 0) if beat else last_arrived
    ranges = _gaps(clickhouse, key, buckets, 0, checked)
    missing = sum(last - first + 1 for first, last in ranges)
    total = sum(count for count, _ in buckets.values())
    return Completeness(
        gateway_id=key[0],
        epoch=key[1],
        accepted=accepted,
        stored=arrived["stored"] if arrived else 0,
        dead_lettered=arrived["dead_lettered"] if arrived else 0,
        missing=missing,
        duplicates=duplicates,
        underway=max(0, accepted - total - missing),
        checked_until=checked,
        heartbeat=beat["heartbeat"] if beat else None,
        state=beat["state"] if beat else "unknown",
        missing_ranges=ranges[:MAX_RANGES],
    )


def _gaps(
    clickhouse: ClickHouse, key: tuple[str, int], buckets: Buckets, after: int, checked: int
) -> list[tuple[int, int]]:
    """Ranges of seq above `after` up to `checked` that have not arrived."""
    found: list[tuple[int, int]] = []
    for bucket in range(after // _BUCKET_PLACES, checked // _BUCKET_PLACES + 1):
        start, end = max(bucket * _BUCKET_PLACES - 1, 0), (bucket + 1) * _BUCKET_PLACES - 1
        floor, upto = max(start, after), min(end, checked)
        here, last = buckets.get(bucket, (0, start))
        if here == last - start:  # without a gap from its first place to its last
            found += [(max(floor, last) + 1, upto)] if upto > max(floor, last) else []
        else:
            params = {"gateway": key[0], "epoch": key[1], "bucket": bucket, "floor": floor, "upto": upto}
            found += [(row["first"], row["last"]) for row in clickhouse.rows(_GAPS, params)]
    return _joined(found)


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in ranges:
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined
