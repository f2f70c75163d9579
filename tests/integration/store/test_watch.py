"""What Prometheus is told about completeness and lateness is what the store holds."""

from collections.abc import Iterator

import pytest
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.migrate import migrate
from fieldstream_central.store.watch import LatenessCollector, watch
from integration.store.rig import Store
from prometheus_client import REGISTRY


@pytest.fixture
def clickhouse(store: Store) -> Iterator[ClickHouse]:
    migrate(store.url)
    with store.client() as client:
        for table in ("readings_data", "gateways_data", "arrived_data", "dead_letters_data", "lateness_data"):
            client.execute(f"TRUNCATE TABLE fieldstream.{table}")
        client.execute(
            "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, gateway_id, epoch, seq, received_at, "
            "lateness_ms) SELECT 'd', 'm', now64(3) - toIntervalMillisecond(number), 1, 'g', 7, number, now64(3), "
            "multiIf(number <= 60, -2000, number <= 80, 30000, number = 81, 600000, 200000000) "
            "FROM numbers(1, 90) WHERE number != 50"
        )
        client.execute(
            "INSERT INTO fieldstream.gateways_data (gateway_id, epoch, ts, state, last_seq, last_sent_seq, "
            "spool_hours_left, clock_offset_ms) VALUES ('g', 7, now64(3) - 90, 'running', 80, 80, 9.5, NULL), "
            "('g', 7, now64(3) - 60, 'running', 90, 90, 7.5, -2500)"
        )
        yield client


def test_completeness_gateways_health_parts_and_disk_are_exported(clickhouse: ClickHouse) -> None:
    watch(clickhouse)()
    labels = {"gateway": "g", "epoch": "7"}
    assert REGISTRY.get_sample_value("fieldstream_completeness_accepted", labels) == 90
    assert REGISTRY.get_sample_value("fieldstream_completeness_stored", labels) == 89
    assert REGISTRY.get_sample_value("fieldstream_completeness_missing", labels) == 1

    labels = {"gateway": "g"}
    assert REGISTRY.get_sample_value("fieldstream_fleet_spool_hours_left", labels) == 7.5
    assert REGISTRY.get_sample_value("fieldstream_fleet_clock_offset_seconds", labels) == -2.5
    assert REGISTRY.get_sample_value("fieldstream_fleet_certificate_expires_timestamp_seconds", labels) is None
    held = clickhouse.value(
        "SELECT max(n) FROM (SELECT count() AS n FROM system.parts WHERE active AND table = 'gateways_data' "
        "GROUP BY partition)"
    )
    assert REGISTRY.get_sample_value("fieldstream_store_parts", {"table": "gateways_data"}) == held > 0
    free = REGISTRY.get_sample_value("fieldstream_store_disk_free_ratio", {"disk": "default"})
    assert free is not None
    assert 0 < free < 1


def test_lateness_is_a_histogram_per_gateway(clickhouse: ClickHouse) -> None:
    collector = LatenessCollector()
    collector.update(clickhouse)
    [family] = collector.collect()
    buckets = {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    assert buckets == {"0.0": 59, "10.0": 59, "60.0": 79, "600.0": 80, "3600.0": 80, "86400.0": 80, "+Inf": 89}
