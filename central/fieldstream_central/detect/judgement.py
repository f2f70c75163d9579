"""One block of an asset judged: who is off, who is back, and whether the plant as a whole has moved on."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldstream_central.detect.mates import DAY_MS, MateModel
from fieldstream_central.detect.residuals import RING, Suspicion

Floats = NDArray[np.float64]

TESTS = 3
READY_MS = 12 * 3_600_000  # learned before anything is judged, and at least
READY_BLOCKS = 60
MATURE_MS = 36 * 3_600_000  # until then thresholds are wider: half of the daily cycle is still new
YOUNG_FACTOR = 1.0
HESITATE_MS = 8 * 3_600_000
REGIME_BLOCKS = 30  # after a change of regime the model learns fast and stays silent for so long
REGIME_WEIGHT = 4.0
_BACK_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the block says about one member. Values in the sensor's unit."""

    member: int
    suspicion: Suspicion | None  # None: the finding that stood is over
    observed: float = math.nan
    expected: float = math.nan
    band: float = math.nan


def judge_block(
    model: MateModel, values: Floats, at_ms: float, *, allowed_per_day: float, accept_ms: float
) -> list[Verdict]:
    """Judges the block that begins at `at_ms` and learns from it. NaN in `values`: silent or under maintenance."""
    standard = model.standardise(values)
    silent = np.isnan(standard)
    if silent.all():
        return []
    if not model.ready:
        model.absorb_unjudged(standard, at_ms)
        return []
    held = [test.held for test in model.tests]
    filled = np.where(silent | np.array(held), model.lagged[:, 0], standard)
    features, predicted = model.predict(filled, at_ms)
    if silent.any() or any(held):
        replaced = silent | np.array(held)
        filled[replaced] = predicted[replaced]
        features, predicted = model.predict(filled, at_ms)
    residual = standard - predicted
    suspects: dict[int, Suspicion] = {}
    verdicts: list[Verdict] = []
    silenced = [test.held for test in model.tests]
    young = _young(model)
    for member, test in enumerate(model.tests):
        if silent[member]:
            continue
        test.stirred(float(predicted[member]))
        test.take(float(residual[member]))
        if test.held:
            verdicts += _standing(model, member, float(residual[member]), at_ms, accept_ms)
        elif test.quiet > 0:
            test.quiet -= 1
        elif young is not None:
            suspicion = test.suspicion()
            silenced[member] = test.hesitates(suspicion.ratio, max(HESITATE_MS / model.block_ms, 12.0))
            if suspicion.ratio > young:
                suspects[member] = suspicion
    culprits = _culprits(model, suspects, features, filled, standard, at_ms) if suspects else {}
    for member, suspicion in culprits.items():
        test = model.tests[member]
        silenced[member] = True
        test.held_since, test.held_size = at_ms + 1.0, max(abs(test.short), suspicion.size)
        verdicts.append(_verdict(model, member, suspicion, values, predicted))
    ln_p = max(math.log(DAY_MS / model.block_ms * TESTS / allowed_per_day), 3.0)
    for member, test in enumerate(model.tests):
        if not silenced[member] and not silent[member]:
            test.learn_scale(float(residual[member]))
            if not test.quiet:
                test.learn(ln_p)
    model.absorb(standard, at_ms, predicted, silenced, _weight(model))
    return verdicts


def _young(model: MateModel) -> float | None:
    """Factor on thresholds by the model's age; None: too young to judge."""
    age_ms = model.total * model.block_ms
    if model.total < READY_BLOCKS or age_ms < READY_MS:
        return None
    return 1.0 + YOUNG_FACTOR * max(0.0, (MATURE_MS - age_ms) / (MATURE_MS - READY_MS))


def _weight(model: MateModel) -> float:
    if model.regime_left > 0:
        model.regime_left -= 1
        return REGIME_WEIGHT
    return 1.0


def _culprits(
    model: MateModel,
    suspects: dict[int, Suspicion],
    features: Floats,
    filled: Floats,
    standard: Floats,
    at_ms: float,
) -> dict[int, Suspicion]:
    """Of all who look wrong, those who are: one at a time is set aside and the others judged without it."""
    weighed = {
        member: suspicion.ratio / math.sqrt(max(1.0, model.distance(member, features) / 4.0))
        for member, suspicion in suspects.items()
    }
    first = max(weighed, key=lambda member: weighed[member])
    if weighed[first] <= 1.0:
        return {}
    without = filled.copy()
    without[first] -= model.tests[first].ring[-1] * model.tests[first].scale
    _, predicted = model.predict(without, at_ms)
    remaining: dict[int, Suspicion] = {}
    for member in suspects:
        if member != first:
            test = model.tests[member]
            test.amend(float(standard[member] - predicted[member]))
            suspicion = test.suspicion()
            if suspicion.ratio > 1.0 and abs(test.ring[-1]) > 0.5 * suspicion.size:
                remaining[member] = suspicion
    if len(model.members) > 2 and 1 + len(remaining) >= max(2, math.ceil(len(model.members) / 2)):
        _new_regime(model)
        return {}
    for member in suspects:
        if member != first:
            model.tests[member].forget_recent()
            model.tests[member].quiet = float(RING)
    return {first: suspects[first]}


def _new_regime(model: MateModel) -> None:
    """Most sensors left the model together: the plant has changed, not its sensors."""
    model.regime_left = REGIME_BLOCKS
    for test in model.tests:
        if not test.held:
            test.forget_recent()
            test.quiet = float(REGIME_BLOCKS)


def _standing(model: MateModel, member: int, residual: float, at_ms: float, accept_ms: float) -> list[Verdict]:
    test = model.tests[member]
    recent = abs(sum(test.ring[-3:])) / 3.0
    test.held_size = max(test.held_size, abs(test.short))
    if recent < _BACK_SHARE * test.held_size:
        test.over((at_ms - test.held_since) / model.block_ms)
        return [Verdict(member, None)]
    if at_ms - test.held_since > accept_ms:
        model.release(member, residual)
        test.forget_recent()
        test.quiet = 2.0 * RING
        return [Verdict(member, None)]
    return []


def _verdict(model: MateModel, member: int, suspicion: Suspicion, values: Floats, predicted: Floats) -> Verdict:
    test = model.tests[member]
    band = suspicion.size / suspicion.ratio * test.scale * model.scale[member]
    expected = model.center[member] + model.scale[member] * predicted[member]
    return Verdict(member, suspicion, float(values[member]), float(expected), float(band))
