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
            "INSERT INTO fieldstream.gateways_data (gateway_id, epoch, ts, state, last_seq, last_sent_seq) "
            "VALUES ('g', 7, now64(3) - INTERVAL 60 SECOND, 'running', 90, 90)"
        )
        yield client


def test_completeness_is_exported_per_gateway_and_epoch(clickhouse: ClickHouse) -> None:
    watch(clickhouse)()
    labels = {"gateway": "g", "epoch": "7"}
    assert REGISTRY.get_sample_value("fieldstream_completeness_accepted", labels) == 90
    assert REGISTRY.get_sample_value("fieldstream_completeness_stored", labels) == 89
    assert REGISTRY.get_sample_value("fieldstream_completeness_missing", labels) == 1


def test_lateness_is_a_histogram_per_gateway(clickhouse: ClickHouse) -> None:
    collector = LatenessCollector()
    collector.update(clickhouse)
    [family] = collector.collect()
    buckets = {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    assert buckets == {"0.0": 59, "10.0": 59, "60.0": 79, "600.0": 80, "3600.0": 80, "86400.0": 80, "+Inf": 89}
