"""The short drills, all in one storm on one stack: part of `make test`. The rest: `make chaos`."""

import pytest
from local.layout import ROOT

from chaos.drills import DRILLS
from chaos.run import run
from chaos.world import World


@pytest.mark.timeout(900)
def test_kill_9_of_gateway_flink_loader_and_store_loses_and_doubles_nothing() -> None:
    short = [drill for drill in DRILLS if drill.short]
    world = World(ROOT / "var" / "chaos" / "short-storm")
    world.start()
    try:
        report = run("storm", short, 1, world)
    finally:
        world.stop()
    assert report.passed, report.figures
