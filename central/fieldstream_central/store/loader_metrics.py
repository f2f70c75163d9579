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
UPKEEP_ROWS = Counter("fieldstream_loader_upkeep_rows", "Late windows and roll-ups computed anew", ["job"])
UPKEEP_FAILURES = Counter("fieldstream_loader_upkeep_failures", "Steps that failed and are tried again", ["job"])
