"""What a doubt must show before it is told, who is heard among like assets, and what noise must reach."""

import math

import numpy as np
import pytest
from fieldstream_central.detect import judgement
from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.echoes import RING, Echoes
from fieldstream_central.detect.mates import MateModel
from fieldstream_central.detect.model import Window
from fieldstream_central.detect.noise import NoiseDetector
from fieldstream_central.detect.past import Past
from fieldstream_central.detect.residuals import MemberTests, Suspicion


def on_trial(kind: str, opened: float, most: float) -> MemberTests:
    test = MemberTests()
    test.accuse(Suspicion(kind, opened, 1.0), 20.0)
    test.trial_ratio = most
    return test


@pytest.mark.parametrize(
    ("kind", "opened", "most", "now", "told"),
    [
        ("mate-inconsistency", 0.85, 1.25, 1.25, True),  # grew while it was tried
        ("mate-inconsistency", 1.1, 1.25, 1.25, False),  # hovers: a model that errs
        ("drift", 1.35, 1.45, 1.2, True),  # large enough, however it grew
        ("drift", 0.8, 1.12, 1.12, False),
        ("mate-shift", 1.2, 1.2, 0.8, True),
        ("mate-shift", 1.2, 1.2, 0.6, False),  # its means do not follow
        ("mate-shift", 0.9, 2.0, 2.0, False),  # no jump: if it stays, its means will be tried
    ],
)
def test_a_doubt_on_which_no_mate_speaks(kind: str, opened: float, most: float, now: float, *, told: bool) -> None:
    test = on_trial(kind, opened, most)
    assert judgement._confirmed(test, test.accused_of(), now) is told


def blocks(values: list[float]) -> Echoes:
    echoes = Echoes(1, 4)
    for value in values:
        echoes.take(np.array([value]), np.array([value]), np.full(1, math.inf))
    return echoes


def test_a_jump_that_one_block_makes_alone_waits_for_the_next() -> None:
    quiet = [0.1, -0.1] * 5
    assert blocks([*quiet, 9.0, 0.2, 0.3]).sizes()[0, 0] > 1.0
    assert not blocks([*quiet, 9.0, 0.2, 0.3]).lasting()[0]
    assert not blocks([*quiet, 0.2, 0.3, 9.0]).lasting()[0]
    assert blocks([*quiet, 9.0, 8.0, 9.5]).lasting()[0]
    assert blocks([*quiet, 3.0, 6.0, 9.0]).lasting()[0]  # a ramp


def test_a_fault_that_has_ended_left_its_jump_and_its_mean() -> None:
    crept = blocks([*np.linspace(0.0, 8.0, 20), 0.1, -0.1, 0.2])
    assert crept.returned(judgement.RETURNED_SHARE)[0]
    assert crept.sizes()[1, 0] > 2.0  # the short mean still shows it
    begun = blocks([*[0.1, -0.1] * 10, 8.0, 8.1, 7.9])
    assert not begun.returned(judgement.RETURNED_SHARE)[0]


def test_who_takes_nothing_from_like_assets_tells_them_nothing() -> None:
    test = MemberTests()
    test.tell(2.0, 1.0, 0.0, heeding=False)
    assert math.isnan(test.raw)
    assert test.raw_scale > 0.0  # and yet it is known how far it moves, should that change
    test.tell(2.0, 1.0, 0.0, heeding=True)
    assert test.raw > 0.0


def test_noise_that_grows_is_found_even_where_the_past_was_wild() -> None:
    detector, past = NoiseDetector(), Past()
    detector.tail.threshold = 9.0  # beyond what an average of clipped windows can reach
    past.noise, past.noise_n, past.noise_now = 1.0, 100.0, 5.0
    window = Window("d", "m", 0, 60_000, 1, 20.0, 0.0, 20.0, 20.0, 20.0, 20.0, 0, 0)
    found = [detector.check(window, past, SensorSettings()) for _ in range(30)]
    assert found[0] is None
    assert found[-1] is not None
    assert found[-1].kind == "noise-increase"


def test_a_mate_that_scatters_a_little_explains_little() -> None:
    mate, past = NoiseDetector(), Past()
    past.noise, past.step_ms, mate.recent, mate.raised_at = 1.0, 60_000.0, 1.5, 0.0
    assert mate.explains(past, 1.0, 120_000)
    assert not mate.explains(past, 2.5, 120_000)
    assert not mate.explains(past, 1.0, 600_000)  # long ago
    mate.recent = 2.0
    assert mate.explains(past, 2.5, 120_000)


def test_what_is_doubted_six_times_in_a_row_is_told() -> None:
    model = MateModel()
    for key in ("d/a", "d/b", "d/c"):
        model.add(key)
    size = model._size()
    model.lagged, model.lagged_raw = np.zeros((2, 3, 4))
    model.weights, model.shared, model.echoes = np.zeros((3, size)), np.zeros(3), Echoes(3, 4)
    for test in model.tests:
        test.scale = 1.0
    told_after = 0
    for minute in range(240):  # an offset of 0.9 thresholds, which no mate feels
        values = np.array([1.8, 0.0, 0.0])
        nothing = np.zeros(3)
        block = judgement._Block(
            minute * 60_000.0, values, np.zeros(3, bool), np.zeros(size), nothing, values, nothing, 1e9,
            np.zeros(3, bool), np.full((4, 3), 2.0),
        )  # fmt: skip
        model.echoes.take(values, values, np.full(3, math.inf))
        if minute < RING:
            continue
        if not model.tests[0].on_trial:
            judgement.accuse(model, 0, Suspicion("drift", 0.9, 1.8))
        if any(verdict.suspicion for verdict in judgement._trial(model, 0, block)):
            told_after = minute
            break
    assert 6 * 20 <= told_after < 7 * 20
