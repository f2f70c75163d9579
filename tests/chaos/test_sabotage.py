"""The oracle is no yes-man: with a mechanism taken out of the product, the drill that proves it turns red.

One stack lacks all three, and the drills come in an order in which only one of them can matter at a time: before
anything was sent again deduplication does not, before anything was killed checkpoints do not. Minutes, so not part of
`make test`; run by `make chaos-nightly`.
"""

from collections.abc import Iterator

import pytest
from local.layout import ROOT

from chaos.drills import DRILLS
from chaos.run import run
from chaos.versions import NO_CHECKPOINTS, NO_DEDUPLICATION, NO_REPAIR, changed_copy
from chaos.world import World

SETTLE_S = 60.0  # what will not become right need not be waited for long
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def sabotaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    code = changed_copy(tmp_path_factory.mktemp("code"), NO_REPAIR | NO_DEDUPLICATION | NO_CHECKPOINTS)
    world = World(ROOT / "var" / "chaos" / "sabotage", code=code)
    world.start()
    yield world
    world.stop()


@pytest.mark.parametrize("name", ["idle", "late", "sent-again", "retention-kill"])
def test_a_drill_fails_when_what_it_proves_is_taken_out(sabotaged: World, name: str) -> None:
    drill = next(drill for drill in DRILLS if drill.name == name)
    report = run(name, [drill], 1, sabotaged, settle_s=SETTLE_S)
    if name == "idle":  # rests on none of them: the sabotaged product is not simply broken
        assert report.figures["windows_wrong"] == 0, report.figures
    else:
        assert not report.passed
        assert report.figures["windows_wrong"] > 0, report.figures
