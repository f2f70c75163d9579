"""Drills of the stream jobs' alerts, and of a hop that is behind."""

from chaos.disks import full
from chaos.harm import until
from fieldstream_central.stream import operate

from runbooks.drill import Drill
from runbooks.watched import Device, Watched


def test_a_job_that_somebody_stopped_is_found_and_deployed(world: Watched, device: Device) -> None:
    drill = Drill(world.layout, "FieldstreamJobDown", JOB="detect")
    operate.stop(world.settings, "detect")
    drill.raised(exported_job="detect")
    said = drill.look()
    assert "stopped" in said["fieldstream jobs status"]
    assert "detect was stopped by somebody" in said["fieldstream doctor"]
    drill.do("fieldstream jobs deploy")
    drill.over()
    assert "RUNNING" in drill.do("fieldstream jobs status", "It is over when")


def test_a_job_whose_checkpoints_find_no_room_goes_on_when_there_is_room(world: Watched, device: Device) -> None:
    drill = Drill(world.layout, "FieldstreamCheckpointOld")
    checkpoints = world.folder / "flink/checkpoints"
    with full(checkpoints):
        drill.raised(exported_job="pipeline")
        assert f"{checkpoints} has 0% of its disk left" in drill.look()["fieldstream doctor"]
    drill.over(lambda age: age < 10, exported_job="pipeline")


def test_a_hop_behind_a_part_that_is_down_catches_up_when_it_is_started(world: Watched, device: Device) -> None:
    drill = Drill(world.layout, "FieldstreamBehind")
    world.supervisor.stop("clickhouse")
    drill.raised(hop="loader")
    assert "clickhouse" in drill.look()["fieldstream doctor"]
    world.supervisor.start("clickhouse")
    drill.over(lambda lag: lag < 10, hop="loader", topic="readings.clean")
    until("readings are stored again", lambda: world.healthy(0))
