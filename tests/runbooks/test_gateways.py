"""Drills of the gateways' alerts."""

from chaos.verdict import GATEWAY

from runbooks.drill import Drill
from runbooks.watched import Device, Watched, gateway_dead, small_spool


def test_a_spool_too_small_for_its_intake_is_given_more_room(world: Watched, device: Device) -> None:
    drill = Drill(world.layout, "FieldstreamSpoolFilling")
    with small_spool(world):
        drill.raised(gateway=GATEWAY)
        assert "Spool on disk" in drill.look()["fieldstream-gateway status"]
    drill.over(lambda hours: hours > 8, gateway=GATEWAY)


def test_a_wrong_clock_of_the_devices_is_set_right(world: Watched, device: Device) -> None:
    drill = Drill(world.layout, "FieldstreamClockOff")
    device.ahead_s = -90
    drill.raised(gateway=GATEWAY)
    assert "-90 s off its devices" in drill.look()["fieldstream doctor"]
    device.ahead_s = 0
    drill.over(lambda offset: abs(offset) < 5, gateway=GATEWAY)


def test_a_gateway_that_is_silent_is_told_by_the_alerter_and_is_back_when_it_is_started(
    world: Watched, device: Device
) -> None:
    drill = Drill(world.layout, "FieldstreamGatewayOffline", page="sensor-alarms")
    with gateway_dead(world):
        drill.raised(asset=GATEWAY)
        said = drill.look("gateway")
        assert "is it running?" in said["fieldstream-gateway status"]
        assert "does not run" in said["fieldstream-gateway doctor"]
    drill.over()
