"""An earlier version runs, this one is rolled out and rolled back; an oracle counts. `make test-upgrade`."""

import logging
import os
import random
import statistics
import time
from collections.abc import Iterator

import pytest
from chaos.harm import Drill
from chaos.run import run
from chaos.world import Fleet, World
from local.layout import ROOT

from upgrade.probes import delays_s, gap_s, leave_out_cut_faults, write_probes
from upgrade.roll import RollingWorld
from upgrade.version import Version, earlier

# Before a migration (19), a topic and a field of dead letters, and four layouts of what detection has learned.
OLD = "f00d574"
PROBES = "probes"
CALM_S = 40.0  # before and after the change: so that most messages are as they always are

log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def world() -> Iterator[RollingWorld]:
    old = earlier(os.environ.get("OLD") or OLD)
    world = RollingWorld(ROOT / "var/test-upgrade/stack", breakable=False, old=old)
    world.start()
    yield world
    world.stop()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("step", ["rolled-out", "rolled-back"])
def test_nothing_is_lost_or_doubled(world: RollingWorld, step: str) -> None:
    version = Version(ROOT) if step == "rolled-out" else world.old

    def hurt(_world: World, _chance: random.Random) -> None:
        fleet = Fleet(world, write_probes(world.drill_folder / "probes.toml", f"{step}-probe"), truth=PROBES)
        try:
            time.sleep(CALM_S)
            world.roll(version)
            time.sleep(CALM_S)
        finally:
            fleet.stop()
            leave_out_cut_faults(world.drill_folder / PROBES)

    report = run(step, [Drill(step, "one version in place of another", hurt, calm=True)], 1, world)
    delays = delays_s(world, PROBES)
    usual = statistics.median(delays)
    log.warning("gap in alarms %.1f s (told after %.1f s as a rule), %s", gap_s(delays), usual, report.figures)
    assert report.passed, report.figures
