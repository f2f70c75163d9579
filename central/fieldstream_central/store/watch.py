"""What Prometheus is told about the store and its contents: completeness, health of gateways, lateness, parts, disk.

Run by the loader as one of its upkeep loops, because ClickHouse and the metrics port are at hand there.
"""

from collections.abc import Callable, Iterator

from prometheus_client import Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import REGISTRY, Collector

from fieldstream_central.store.audit import audit
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.touches import Step

ACCEPTED = Gauge("fieldstream_completeness_accepted", "Numbers that the gateway has given out", ["gateway", "epoch"])
STORED = Gauge("fieldstream_completeness_stored", "Readings of them that are stored", ["gateway", "epoch"])
DEAD_LETTERED = Gauge("fieldstream_completeness_dead_lettered", "Dead letters of them", ["gateway", "epoch"])
MISSING = Gauge(
    "fieldstream_completeness_missing", "Numbers that Kafka has confirmed and the store has not", ["gateway", "epoch"]
)

SPOOL_HOURS = Gauge("fieldstream_fleet_spool_hours_left", "Hours until the spool is full at its intake", ["gateway"])
CLOCK = Gauge("fieldstream_fleet_clock_offset_seconds", "Median of its devices' time minus the gateway's", ["gateway"])
CERTIFICATE = Gauge(
    "fieldstream_fleet_certificate_expires_timestamp_seconds", "Expiry of the client certificate", ["gateway"]
)
PARTS = Gauge("fieldstream_store_parts", "Most active parts in one partition of the table", ["table"])
DISK_FREE = Gauge("fieldstream_store_disk_free_ratio", "Free share of a disk of ClickHouse", ["disk"])

# As the newest heartbeat of each gateway says it: most gateways are where no Prometheus reaches.
_FLEET = """SELECT gateway_id, argMax(spool_hours_left, ts) AS hours, argMax(clock_offset_ms, ts) / 1000 AS clock,
    toUnixTimestamp(argMax(certificate_expires_at, ts)) AS expires
    FROM fieldstream.gateways_data WHERE ts >= now64(3) - INTERVAL 1 HOUR GROUP BY gateway_id"""
_PARTS = """SELECT table AS name, max(n) AS value FROM (SELECT table, partition, count() AS n FROM system.parts
    WHERE active AND database = 'fieldstream' GROUP BY table, partition) GROUP BY table"""
_DISKS = "SELECT name, free_space / total_space AS value FROM system.disks WHERE total_space > 0"

_LATENESS = """SELECT gateway_id, upto_s, sum(readings) AS readings, sum(seconds) AS seconds
    FROM fieldstream.lateness GROUP BY gateway_id, upto_s ORDER BY gateway_id, upto_s"""
_BOUNDS_S = (0, 10, 60, 600, 3600, 86_400)
_LATER_S = 4_294_967_295


class LatenessCollector(Collector):
    """A histogram that ClickHouse has counted. Bounds are those of store/schema/*_lateness.sql."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, tuple[int, float]]] = {}

    def update(self, clickhouse: ClickHouse) -> None:
        """Reads the counts anew."""
        counts: dict[str, dict[int, tuple[int, float]]] = {}
        for row in clickhouse.rows(_LATENESS):
            counts.setdefault(row["gateway_id"], {})[row["upto_s"]] = (int(row["readings"]), float(row["seconds"]))
        self._counts = counts

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For the exposition."""
        family = HistogramMetricFamily(
            "fieldstream_lateness_seconds", "Event time behind the pipeline's watermark at arrival", labels=["gateway"]
        )
        for gateway_id, found in self._counts.items():
            total, buckets = 0, []
            for bound in (*_BOUNDS_S, _LATER_S):
                total += found.get(bound, (0, 0.0))[0]
                buckets.append(("+Inf" if bound == _LATER_S else str(float(bound)), total))
            family.add_metric([gateway_id], buckets, sum(seconds for _, seconds in found.values()))
        yield family


def watch(clickhouse: ClickHouse) -> Callable[[], Step]:
    """The step of an upkeep loop: reads both and sets the metrics."""
    lateness = LatenessCollector()
    REGISTRY.register(lateness)

    def fleet() -> None:
        for gauge in (SPOOL_HOURS, CLOCK, CERTIFICATE):
            gauge.clear()
        for row in clickhouse.rows(_FLEET):
            for gauge, value in ((SPOOL_HOURS, row["hours"]), (CLOCK, row["clock"]), (CERTIFICATE, row["expires"])):
                if value is not None:
                    gauge.labels(row["gateway_id"]).set(value)

    def step() -> Step:
        # Without the search for duplicates, which reads readings; the command and the API have it.
        for found in audit(clickhouse, duplicate_hours=0):
            for gauge, value in (
                (ACCEPTED, found.accepted),
                (STORED, found.stored),
                (DEAD_LETTERED, found.dead_lettered),
                (MISSING, found.missing),
            ):
                gauge.labels(found.gateway_id, str(found.epoch)).set(value)
        fleet()
        for gauge, question in ((PARTS, _PARTS), (DISK_FREE, _DISKS)):
            for row in clickhouse.rows(question):
                gauge.labels(row["name"]).set(row["value"])
        lateness.update(clickhouse)
        return Step(0, 0)

    return step
