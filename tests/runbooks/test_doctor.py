"""The doctor on a stack with one real defect at a time: it names each, says what to do, and is content afterwards."""

import json
import time

import pytest
from chaos.harm import until

from runbooks.defects import DEFECTS, Defect
from runbooks.drill import UNTIL_S
from runbooks.watched import Device, Watched, command

STAYS = ("data",)  # for the quarter of an hour that the doctor looks back


def faults(world: Watched) -> list[tuple[str, str]]:
    """Part and words of everything that the doctor says is to be mended; its exit status must agree."""
    done = command(world.layout, "fieldstream doctor --json", {})
    found = [(one["part"], one["said"]) for one in json.loads(done.stdout) if one["remedy"]]
    assert done.returncode == bool(found), done.stderr
    return found


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda one: one.name)
def test_the_doctor_names_it_and_no_longer_when_it_is_mended(world: Watched, device: Device, defect: Defect) -> None:
    if defect.mounts and not world.can_mount:
        pytest.skip("needs root and loop devices")

    def named() -> bool:
        return any(part == defect.part and defect.said in said for part, said in faults(world))

    stays = defect.part in STAYS
    assert not (stays and named())
    with defect.made(world, device):
        deadline = time.monotonic() + UNTIL_S
        while not (seen := named()) and time.monotonic() < deadline:
            time.sleep(0.5)
    assert seen, defect.said  # only now, so that it is mended
    if not stays:
        until(f"the doctor no longer says: {defect.said}", lambda: not named(), UNTIL_S)


def test_the_doctor_is_content_after_all_of_it(world: Watched, device: Device) -> None:
    until("nothing is left to be mended", lambda: [one for one in faults(world) if one[0] not in STAYS] == [], UNTIL_S)
