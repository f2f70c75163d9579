"""A change in the Postgres registry is effective in enrichment, limits and on screens, whatever stops in between."""

import logging
import statistics
import time
from pathlib import Path

import pytest
from fieldstream_central.pki import authority
from fieldstream_schemas.rights import ASSET_CHANGES
from integration.store.rig import eventually

from cdc.conftest import SENSORS, Registry

log = logging.getLogger("cdc")
CHANGES_MEASURED = 20


def test_the_first_snapshot_brings_every_sensor(registry: Registry) -> None:
    eventually(lambda: all(registry.sensor(f"cdc-{number}") for number in range(SENSORS)), what="on the screens")
    assert registry.sensor("cdc-0")["high"] == 90
    assert registry.sensor("cdc-0")["asset_type"] == "pump"


def test_debezium_asks_by_tls_and_believes_postgres_by_its_certificate_alone(
    registry: Registry, tmp_path: Path
) -> None:
    links = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'debezium'"
    assert registry.postgres.sql(links) == ["t"]
    authority.create_authority(tmp_path, days=2)
    another = str(tmp_path / "ca.crt")
    assert registry.connect.refused() == ""
    assert "PKIX path" in registry.connect.refused(database_sslrootcert=another)
    assert "could not be verified" in registry.connect.refused(database_hostname="localhost")  # not in its certificate


def moved(registry: Registry, area: str) -> tuple[float, float]:
    """Seconds after which an asset's new area is on the screens, and in its readings."""
    registry.postgres.sql(f"UPDATE assets SET area = '{area}' WHERE asset_id = 'pump-1'")
    changed = time.monotonic()
    eventually(lambda: registry.sensor("cdc-0")["area"] == area, what="on the screens")
    seen = time.monotonic() - changed
    eventually(lambda: registry.enriched("cdc-0")["area"] == area, what="in the readings")
    return seen, time.monotonic() - changed


def test_a_change_is_effective_on_screens_and_in_enrichment(registry: Registry) -> None:
    times = [moved(registry, f"hall-{1 + (number + 1) % 2}") for number in range(CHANGES_MEASURED)]
    for name, seconds in zip(("on screens", "in readings"), zip(*times, strict=True), strict=True):
        p95 = statistics.quantiles(seconds, n=20)[-1]
        log.info("a change is effective %s: p50 %.2f s, p95 %.2f s", name, statistics.median(seconds), p95)


def test_a_changed_limit_raises_an_alarm(registry: Registry) -> None:
    registry.postgres.sql("UPDATE sensors SET high = 40 WHERE device_id = 'cdc-5'")
    alarm = "SELECT kind FROM fieldstream.anomalies WHERE device_id = 'cdc-5' AND kind LIKE 'limit%'"
    eventually(lambda: registry.rows(alarm), timeout_s=120, what="the alarm of the new limit")
    registry.postgres.sql("UPDATE sensors SET high = 90 WHERE device_id = 'cdc-5'")


def test_an_asset_and_a_sensor_are_renamed(registry: Registry) -> None:
    registry.postgres.sql("UPDATE assets SET asset_id = 'pump-two' WHERE asset_id = 'pump-2'")
    eventually(lambda: registry.enriched("cdc-3")["asset_id"] == "pump-two", what="the readings have the new name")
    registry.postgres.sql("UPDATE sensors SET device_id = 'cdc-four' WHERE device_id = 'cdc-4'")
    eventually(lambda: registry.sensor("cdc-four") and not registry.sensor("cdc-4"), what="the sensor is renamed")
    eventually(lambda: not registry.enriched("cdc-4")["asset_id"], what="the old name is a stranger")
    registry.postgres.sql("UPDATE sensors SET device_id = 'cdc-4' WHERE device_id = 'cdc-four'")
    eventually(lambda: registry.enriched("cdc-4")["asset_id"] == "pump-two", what="it is known again")


def test_a_deleted_asset_takes_its_sensors_along(registry: Registry) -> None:
    registry.postgres.sql(
        "INSERT INTO assets VALUES ('short-lived', 'north', 'hall-2', 'pump')",
        "INSERT INTO sensors (device_id, metric, asset_id) VALUES ('brief', 'level', 'short-lived')",
    )
    eventually(lambda: registry.sensor("brief"), what="it is there")
    registry.postgres.sql("DELETE FROM assets WHERE asset_id = 'short-lived'")
    eventually(lambda: not registry.sensor("brief"), what="it is gone")


def test_what_contradicts_itself_is_refused_by_the_registry(registry: Registry) -> None:
    assert "limits_rise" in registry.postgres.refused("UPDATE sensors SET low = 95 WHERE device_id = 'cdc-0'")


def test_a_changed_table_spoils_nothing_and_a_bad_row_becomes_a_dead_letter(registry: Registry) -> None:
    registry.postgres.sql(
        "ALTER TABLE published ADD COLUMN colour text DEFAULT 'red'",
        "ALTER TABLE sensors DROP CONSTRAINT limits_rise",
        "UPDATE sensors SET low = 95 WHERE device_id = 'cdc-1'",
        "UPDATE sensors SET label = 'after the bad row' WHERE device_id = 'cdc-0'",
    )
    eventually(lambda: registry.sensor("cdc-0")["label"] == "after the bad row", what="the others go on")
    letter = (
        f"SELECT detail FROM fieldstream.dead_letters WHERE reason = 'bad-asset' AND source LIKE '{ASSET_CHANGES}/%'"
    )
    [found] = eventually(lambda: registry.rows(letter), what="the dead letter")
    assert "cdc-1/temperature: the limits must rise" in found["detail"]
    assert registry.sensor("cdc-1")["low"] is None  # as it was
    registry.postgres.sql("UPDATE sensors SET low = NULL WHERE device_id = 'cdc-1'")


def test_postgres_away_and_back(registry: Registry) -> None:
    registry.postgres.kill()
    time.sleep(5)
    assert registry.enriched("cdc-0")["site"] == "north"  # nobody needs Postgres to go on
    registry.postgres.start()
    registry.postgres.sql("UPDATE sensors SET label = 'after the power cut' WHERE device_id = 'cdc-0'")
    eventually(lambda: registry.sensor("cdc-0")["label"] == "after the power cut", timeout_s=120, what="it goes on")


@pytest.mark.parametrize("part", ["connect", "follower"])
def test_what_changed_while_a_part_was_dead_is_made_good(registry: Registry, part: str) -> None:
    (registry.connect.process if part == "connect" else registry.follower).kill()
    label = f"while {part} was dead"
    registry.postgres.sql(f"UPDATE sensors SET label = '{label}' WHERE device_id = 'cdc-0'")
    if part == "connect":
        registry.connect.start()
    else:
        registry.follow()
    eventually(lambda: registry.sensor("cdc-0")["label"] == label, timeout_s=120, what="it is made good")


def test_a_slot_that_would_fill_the_disk_is_given_up_and_the_table_read_anew(registry: Registry) -> None:
    registry.postgres.sql(
        "INSERT INTO sensors (device_id, metric, asset_id) VALUES ('forgotten', 'level', 'pump-1')",
    )
    eventually(lambda: registry.sensor("forgotten"), what="it is there")
    registry.connect.process.kill()
    registry.postgres.sql(
        "DELETE FROM sensors WHERE device_id = 'forgotten'",
        "UPDATE sensors SET label = 'while the slot was lost' WHERE device_id = 'cdc-0'",
        "CREATE TABLE filler AS SELECT repeat(md5(n::text), 100) AS text FROM generate_series(1, 400000) AS n",
        "DROP TABLE filler",
        "CHECKPOINT",
    )
    assert registry.postgres.sql("SELECT wal_status FROM pg_replication_slots") == ["lost"]
    registry.connect.start()
    eventually(lambda: registry.sensor("cdc-0")["label"] == "while the slot was lost", timeout_s=120, what="read anew")
    eventually(lambda: not registry.sensor("forgotten"), what="what was deleted meanwhile is gone")
