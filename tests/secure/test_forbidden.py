"""Every forbidden act is tried on a running secure stack, next to the same act by whoever may."""

import pytest

from secure.acts import ACTS, DONE, Act
from secure.tries import Plant


@pytest.mark.parametrize("act", ACTS, ids=lambda act: f"{act.who} {act.what}")
def test_is_refused_and_the_same_is_done_by_whoever_may(act: Act, plant: Plant) -> None:
    assert (act.tried(plant), act.allowed(plant)) == (act.refusal, DONE)
