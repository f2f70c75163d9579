"""Sizes per tier, by arithmetic from measured figures. docs/capacity.md states where each was measured.

Every part gets twice what the steady rate needs, so that a backlog drains as fast as readings come.
"""

import math
from dataclasses import dataclass

from fieldstream_central.store.retention import Retention
from fieldstream_schemas.topics import READINGS_CLEAN, READINGS_RAW, WINDOWS

# CPU seconds per million readings: `make bench`, two cores, quiet machine.
CPU_S = {"taskmanager": 43, "clickhouse": 15, "kafka": 8, "loader": 4}
# Bytes per reading, at one reading a second and sensor: `make bench` (Kafka), `make bench-store` (ClickHouse).
KAFKA_BYTES = {READINGS_RAW.name: 21, READINGS_CLEAN.name: 23, WINDOWS.name: 3}
STORED_BYTES = 3.64 + 9.7 / 10  # the reading, and its tenth of a 10 s window
STATE_BYTES_PER_SENSOR = 3_500
WINDOW_ROWS_PER_S = 14_000  # of one slot of `detect`
HEADROOM = 2
DISK_FILL = 0.8  # of a disk that may be used
REPLICAS = {"kafka": 3, "clickhouse": 2}
MIN_INSYNC = 2
LARGEST_SHARD = 8e12  # bytes: a replica of this size is copied anew in a day at 100 MB/s
CORES_PER_SHARD = 4
# Assumed, in euros a month: round prices of a rented core with 4 GiB, of 100 GiB of SSD, of 100 GiB in a bucket.
CORE_PRICE, DISK_PRICE, BUCKET_PRICE = 25.0, 8.0, 2.0
OTHER_CORES = 5.0  # job managers, registry, API, console, alerter, Prometheus: as the chart requests them, rounded up
RATES = {"small": 1_000, "medium": 50_000, "large": 200_000}
# Their partitions grow with the tier; all other topics are small and keep what topics.py says.
SCALED = (READINGS_RAW, READINGS_CLEAN, WINDOWS)


@dataclass(frozen=True)
class Tier:
    """One size of plant: `rate` readings a second, steady, from as many sensors."""

    name: str
    rate: int

    def cores(self, part: str) -> float:
        """Cores of a part, headroom included."""
        return HEADROOM * self.rate * CPU_S[part] / 1e6

    @property
    def slots(self) -> int:
        """Parallelism of `pipeline`, a core each."""
        return math.ceil(self.cores("taskmanager"))

    @property
    def detect_slots(self) -> int:
        """Parallelism of `detect`: one window row in ten seconds and sensor."""
        return math.ceil(HEADROOM * self.rate / 10 / WINDOW_ROWS_PER_S)

    @property
    def partitions(self) -> int:
        """Of the topics that grow: two for each slot, so that slots may double without moving keys."""
        return max(READINGS_RAW.partitions, 2 * self.slots)

    @property
    def broker_cores(self) -> float:
        """Cores of each broker: all copies' work spread over them, a follower's taken to cost as much as a leader's."""
        return self.cores("kafka") * REPLICAS["kafka"] / self.brokers

    @property
    def brokers(self) -> int:
        """Brokers: as many as copies."""
        return REPLICAS["kafka"]

    @property
    def broker_gib(self) -> int:
        """Disk of each broker."""
        kept = sum(KAFKA_BYTES[topic.name] * topic.retention_ms / 1000 for topic in SCALED)
        return _gib(self.rate * kept * REPLICAS["kafka"] / self.brokers)

    @property
    def stored_bytes(self) -> float:
        """Readings and windows in ClickHouse, one copy, for as long as they are kept."""
        return self.rate * STORED_BYTES * Retention().readings * 86_400

    @property
    def shards(self) -> int:
        """ClickHouse shards, by bytes and by cores."""
        return math.ceil(max(self.stored_bytes / LARGEST_SHARD, self.cores("clickhouse") / CORES_PER_SHARD))

    @property
    def clickhouse_gib(self) -> int:
        """Disk of each ClickHouse replica."""
        return _gib(self.stored_bytes / self.shards)

    @property
    def loaders(self) -> int:
        """Loaders: two, so that one may go, or more."""
        return max(2, math.ceil(self.cores("loader")))

    @property
    def cores_rented(self) -> float:
        """Cores of everything, no request below half a core."""
        brokers = self.brokers * max(self.broker_cores, 0.5)
        replicas = self.shards * REPLICAS["clickhouse"]
        clickhouse = replicas * max(self.cores("clickhouse") / self.shards, 0.5)
        return brokers + clickhouse + self.slots + self.detect_slots + self.loaders * 0.5 + OTHER_CORES

    @property
    def monthly_price(self) -> float:
        """Euros a month for cores, disks and checkpoints (three copies of the state), at the prices assumed above."""
        disks = self.brokers * self.broker_gib + self.shards * REPLICAS["clickhouse"] * self.clickhouse_gib
        state = 3 * self.rate * STATE_BYTES_PER_SENSOR / 2**30
        return self.cores_rented * CORE_PRICE + disks / 100 * DISK_PRICE + state / 100 * BUCKET_PRICE

    def values(self) -> dict[str, object]:
        """The chart's values for this tier."""
        return {
            "partitions": self.partitions,
            "kafka": {
                "brokers": self.brokers,
                "replicas": REPLICAS["kafka"],
                "minInsync": MIN_INSYNC,
                "cpu": _cpu(self.broker_cores),
                "storage": f"{self.broker_gib}Gi",
            },
            "clickhouse": {
                "shards": self.shards,
                "replicas": REPLICAS["clickhouse"],
                # Each replica merges all of its shard's rows.
                "cpu": _cpu(self.cores("clickhouse") / self.shards),
                "storage": f"{self.clickhouse_gib}Gi",
            },
            "flink": {"pipeline": {"parallelism": self.slots}, "detect": {"parallelism": self.detect_slots}},
            "loader": {"replicas": self.loaders, "maxReplicas": self.partitions},
        }


TIERS = [Tier(name, rate) for name, rate in RATES.items()]


def _gib(used: float) -> int:
    return math.ceil(used / DISK_FILL / 2**30)


def _cpu(cores: float) -> str:
    # Below half a core a JVM or a merge waits for its next turn.
    return f"{round(max(cores, 0.5) * 1000)}m"
