"""Planned work over a real Kafka: announced, replaced, withdrawn, and spoilt entries."""

from pathlib import Path

from fieldstream_central.detect.config import Maintenance
from fieldstream_central.kafka_access import connection
from fieldstream_central.maintenance import MaintenanceError, MaintenanceFeed, announce
from fieldstream_central.settings import Settings
from fieldstream_schemas.registry import SchemaRegistry
from fieldstream_schemas.topics import MAINTENANCE
from integration.store.rig import Feed, create_topics, eventually, running_kafka, schema_cache
from pytest import MonkeyPatch, raises


def test_work_is_followed_as_it_is_announced_replaced_and_withdrawn(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr("fieldstream_central.maintenance.POLL_EVERY_S", 0.0)
    ids = schema_cache(tmp_path / "schemas")
    with running_kafka(tmp_path / "kafka") as kafka:
        create_topics(kafka)
        settings = Settings(kafka=kafka, registry=("http://127.0.0.1:1",), schema_cache=tmp_path / "schemas")
        first, second = Maintenance(1_000, 2_000, asset_id="pump-1"), Maintenance(1_000, 9_000, device_id="d")
        announce(settings, "bearing", first)
        Feed(kafka, ids).send_raw(MAINTENANCE, "spoilt", b"no avro")
        feed = MaintenanceFeed(connection(settings), SchemaRegistry(settings.registry, settings.schema_cache))
        assert eventually(lambda: feed.poll(wait_s=0.5)) == (first,)
        announce(settings, "bearing", second)
        assert eventually(lambda: feed.poll(wait_s=0.5)) == (second,)
        announce(settings, "bearing", None)
        assert eventually(lambda: feed.poll(wait_s=0.5) == ())
        assert feed.undecodable == 1
        feed.close()
        with raises(MaintenanceError, match="must end after it starts"):
            announce(settings, "backwards", Maintenance(5, 4))
