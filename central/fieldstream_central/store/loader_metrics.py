"""The loader's Prometheus metrics."""

from prometheus_client import Counter, Gauge, Histogram

ROWS = Counter("fieldstream_loader_rows", "Records stored in ClickHouse", ["topic"])
LAG_RECORDS = Gauge("fieldstream_loader_lag_records", "Records of the topic not stored yet", ["topic"])
LAG_SECONDS = Gauge("fieldstream_loader_lag_seconds", "Age of the oldest record not stored yet", ["topic"])
FLUSH_SECONDS = Histogram(
    "fieldstream_loader_flush_seconds",
    "Time to store one topic's share of a turn",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RETRIES = Counter("fieldstream_loader_retries", "Inserts tried again")
DEAD_LETTERS = Counter("fieldstream_loader_dead_letters", "Records that ClickHouse refused, written to dead-letters")
REPAIRED = Counter("fieldstream_loader_repaired_windows", "Windows recomputed for readings too late for Flink")
REPAIR_FAILURES = Counter("fieldstream_loader_repair_failures", "Repair rounds that failed and are tried again")
