"""The oracle is no yes-man: with a mechanism taken out of the product, the drill that proves it turns red.

A stack each, minutes: not part of `make test`, run by `make chaos-nightly`.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
from local.layout import ROOT

from chaos.drills import DRILLS
from chaos.run import run
from chaos.versions import NO_CHECKPOINTS, NO_DEDUPLICATION, NO_REPAIR, changed_copy
from chaos.world import World

SETTLE_S = 60.0  # what will not become right need not be waited for long


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "changes"),
    [("sent-again", NO_DEDUPLICATION), ("retention-kill", NO_CHECKPOINTS), ("late", NO_REPAIR)],
    ids=["without deduplication", "without checkpoints", "without repair"],
)
def test_a_drill_fails_when_what_it_proves_is_taken_out(
    name: str, changes: Mapping[str, tuple[str, str]], tmp_path: Path
) -> None:
    drill = next(drill for drill in DRILLS if drill.name == name)
    world = World(ROOT / "var" / "chaos" / "sabotage", code=changed_copy(tmp_path, changes))
    world.start()
    try:
        report = run(name, [drill], 1, world, settle_s=SETTLE_S)
    finally:
        world.stop()
    assert not report.passed
    assert report.figures["windows_wrong"] > 0, report.figures
