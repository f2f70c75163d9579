"""What Prometheus is told about the store's contents: completeness per gateway, and how late readings came.

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
        lateness.update(clickhouse)
        return Step(0, 0)

    return step
