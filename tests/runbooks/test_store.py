"""Drills of the alerts about what is stored: gaps, parts, disk, old data, dead letters.

Grafana's engine does not run here: of its rule the question is asked, and its threshold applied, by the drill.
"""

import re

import pytest
from chaos.harm import until
from chaos.verdict import GATEWAY
from fieldstream_central.grafana.alerts import ALERTS

from runbooks.drill import UNTIL_S, Drill
from runbooks.watched import TABLE, Device, Watched, fill, parts_that_nothing_merges, well

LETTERS = 120


def test_readings_that_a_restored_backup_lacks_are_read_from_kafka_again(world: Watched, device: Device) -> None:
    drill = Drill(world.layout, "FieldstreamReadingsMissing")
    stored = "SELECT count() AS n FROM fieldstream.readings"
    well(world, "fieldstream store backup drill")
    before = world.store.query(stored)[0]["n"]
    until("more is stored than the backup has", lambda: world.store.query(stored)[0]["n"] > before + 20)
    world.supervisor.stop("loader")
    well(world, "fieldstream store restore drill --replace")
    world.supervisor.start("loader")
    drill.raised(gateway=GATEWAY)
    said = drill.look()
    assert "missing 0" not in said["fieldstream audit --gateway G"]
    drill.do("fieldstream jobs stop")
    checkpoints = world.folder / "flink/checkpoints/pipeline"
    checkpoints.rename(checkpoints.with_name("pipeline-away"))
    drill.do("fieldstream jobs deploy")
    drill.over()
    assert "missing 0, duplicates 0" in drill.do("fieldstream audit", "It is over when")


def test_parts_that_nothing_merges_are_merged_when_merges_are_started(world: Watched) -> None:
    drill = Drill(world.layout, "FieldstreamStoreParts", TABLE=TABLE)
    with parts_that_nothing_merges(world):
        drill.raised(table=TABLE)
        assert TABLE in drill.look()["fieldstream store status"]
        drill.do("system start merges")
    drill.over(lambda parts: parts < 100, table=TABLE)


def test_a_disk_that_backups_fill_has_room_when_they_are_moved_away(world: Watched) -> None:
    if not world.can_mount:
        pytest.skip("needs root and loop devices")
    drill = Drill(world.layout, "FieldstreamDiskFilling")
    backup = world.folder / "clickhouse/an-old-backup"
    fill(backup, world.folder / "clickhouse", 0.95)
    drill.raised(disk="default")
    assert "readings_data" in drill.look()["fieldstream store status"]
    backup.unlink()
    drill.do("fieldstream store migrate")
    drill.over(lambda free: free > 0.1, disk="default")


def test_data_is_old_while_the_broker_is_away_by_grafanas_question_without_its_engine(
    world: Watched, device: Device
) -> None:
    drill = Drill(world.layout, "data-old")
    [alert] = [alert for alert in ALERTS if alert.name == drill.name]

    def age() -> float:
        return float(world.store.query(alert.sql)[0]["age"])

    world.supervisor.stop("mosquitto")
    until("the newest reading is old", lambda: age() > alert.above, UNTIL_S)
    assert "mqtt" in drill.look()["fieldstream doctor"]
    world.supervisor.start("mosquitto")
    until("the newest reading is seconds old", lambda: age() < 10, UNTIL_S)


def test_dead_letters_of_a_device_that_is_mended_are_discarded(world: Watched, device: Device) -> None:
    drill = Drill(world.layout, "FieldstreamDeadLettersRising")
    device.say(f"no reading {number}" for number in range(LETTERS))
    drill.raised(gateway=GATEWAY)
    assert "not-json" in drill.look()["fieldstream dead-letters list --gateway G"]
    said = drill.do("fieldstream dead-letters replay")
    [replayed] = re.findall(r"^(\d+) replayed, 0 not$", said, re.MULTILINE)
    assert int(replayed) >= LETTERS
    assert "ERROR" not in said
    drill.do("fieldstream dead-letters discard")
    drill.over()
