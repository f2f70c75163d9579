"""One block of an asset judged: who is off, who is back, and whether the plant as a whole has moved on."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldstream_central.detect.mates import DAY_MS, MateModel
from fieldstream_central.detect.residuals import BLIP_BLOCKS, FLOOR, JUMP_RECENT, KINDS, RING, Suspicion

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

TESTS = 3
READY_MS = 12 * 3_600_000  # learned before anything is judged, and at least
READY_BLOCKS = 60
MATURE_MS = 24 * 3_600_000  # until then thresholds are wider: half of the daily cycle is still new
YOUNG_FACTOR = 1.0
HESITATE_MS = 8 * 3_600_000
TRIAL_MS = 20 * 60_000
PASSING_BLOCKS = 6.0
VOTE_FROM = 3.0  # residual scales by which a mate should have moved before its vote counts
VOTES_NEEDED = 1.5
SILENT_BLOCKS = 3.0
SETTLE_MS = 45 * 60_000
COST_MOST = 400.0
CROWD_FACTOR = 0.75
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
        for test in model.tests:
            test.silent_blocks += 1.0
        return []
    if not model.ready:
        model.absorb_unjudged(standard, at_ms)
        return []
    _return_of_the_silent(model, standard, silent)
    aside = np.array([test.held or test.on_trial for test in model.tests])
    filled = np.where(silent | aside, model.lagged[:, 0], standard)
    features, predicted = model.predict(filled, at_ms)
    if silent.any() or aside.any():
        filled = np.where(silent | aside, predicted, filled)
        features, predicted = model.predict(filled, at_ms)
    residual = standard - predicted
    verdicts, suspects, silenced = _look(
        model, standard, features, residual, predicted, at_ms=at_ms, accept_ms=accept_ms
    )
    culprits = _culprits(model, suspects, features, silenced) if suspects else {}
    for member, suspicion in culprits.items():
        silenced[member] = True
        model.tests[member].accuse(suspicion, max(TRIAL_MS / model.block_ms, 3.0), float(predicted[member]))
        features, predicted = model.predict(np.where(aside | silent, filled, _without(model, filled, member)), at_ms)
        verdicts += _trial(model, member, standard, features, at_ms)
    if len(model.members) > 1 and sum(test.held for test in model.tests) > len(model.members) / 2:
        # Most of the asset stands accused: then the model is wrong, not the sensors. It starts from what it sees.
        model.settle(standard)
        for member, test in enumerate(model.tests):
            if test.held:
                verdicts.append(Verdict(member, None))
        _new_regime(model, everyone=True)
    ln_p = max(math.log(DAY_MS / model.block_ms * TESTS / allowed_per_day), 3.0)
    for member, test in enumerate(model.tests):
        if not silenced[member] and not silent[member]:
            test.learn_scale(float(residual[member]))
            if not test.quiet:
                test.learn(ln_p)
    model.absorb(standard, at_ms, predicted, silenced, _weight(model))
    return [_in_units(model, verdict, values, predicted) for verdict in verdicts]


def _return_of_the_silent(model: MateModel, standard: Floats, silent: Mask) -> None:
    """After a standstill of the whole asset the lags start afresh; who was silent is not judged at once."""
    if all(test.silent_blocks > SILENT_BLOCKS for test in model.tests):
        model.settle(standard)
    for member, test in enumerate(model.tests):
        if silent[member]:
            test.silent_blocks += 1.0
        elif test.silent_blocks:
            if test.silent_blocks > SILENT_BLOCKS:
                held = test.held
                test.forget_recent()
                if not held:
                    test.quiet = max(min(test.silent_blocks, SETTLE_MS / model.block_ms), float(RING))
            test.silent_blocks = 0.0


def _look(
    model: MateModel,
    standard: Floats,
    features: Floats,
    residual: Floats,
    predicted: Floats,
    *,
    at_ms: float,
    accept_ms: float,
) -> tuple[list[Verdict], dict[int, Suspicion], list[bool]]:
    """Each member's residual tested: verdicts on what stands, new suspects, and whom to learn nothing from."""
    suspects: dict[int, Suspicion] = {}
    verdicts: list[Verdict] = []
    silenced = [test.held or test.on_trial for test in model.tests]
    # A second fault in an asset beside a standing one is less likely than a mate misled by it.
    crowd = 1.0 + CROWD_FACTOR * sum(test.held for test in model.tests)
    young = _young(model)
    for member, test in enumerate(model.tests):
        if math.isnan(residual[member]):
            continue
        test.stirred(float(predicted[member]))
        test.take(float(residual[member]))
        if test.held:
            verdicts += _standing(model, member, float(residual[member]), at_ms, accept_ms)
        elif test.on_trial:
            verdicts += _trial(model, member, standard, features, at_ms)
        elif test.quiet > 0:
            test.quiet -= 1
        elif young is not None:
            suspicion = test.suspicion()
            silenced[member] = test.hesitates(suspicion.ratio, max(HESITATE_MS / model.block_ms, 12.0))
            if suspicion.ratio > young * crowd:
                suspects[member] = suspicion
    return verdicts, suspects, silenced


def _trial(model: MateModel, member: int, standard: Floats, features: Floats, at_ms: float) -> list[Verdict]:
    """The mates' word on a suspect: if its measured values were true, would they fit?

    What the suspect's move should do to a mate is known from the model. A mate that does as it should votes for a
    change of the plant, one that does not for a fault. Without votes in time the suspicion stands.
    """
    test = model.tests[member]
    measured = model.with_measured(features, member, standard)
    effect = model.weights @ (measured - features)
    left_over = standard - model.weights @ measured
    for other, mate in enumerate(model.tests):
        if other == member or mate.held or mate.on_trial or mate.scale <= 0 or math.isnan(left_over[other]):
            continue
        due = abs(effect[other]) / mate.scale
        if due > VOTE_FROM:
            vote = 2.0 * min(abs(left_over[other]) / mate.scale / due, 1.0) - 1.0
            test.trial_votes += vote * min(due / 8.0, 1.0)
    test.trial_left -= 1.0
    recent = abs(sum(test.ring[-3:])) / 3.0
    suspicion = test.accused_of()
    if test.trial_votes <= -VOTES_NEEDED:
        model.believe(member)
        model.regime_left = max(model.regime_left, REGIME_BLOCKS // 2)
        test.over(0.0 if suspicion.kind == KINDS[0] else BLIP_BLOCKS)
        return []
    if recent < max(_BACK_SHARE * test.held_size, FLOOR):
        back = abs(standard[member] - test.trial_level) < _BACK_SHARE * test.held_size * test.scale
        lasted = test.trial_blocks - test.trial_left
        test.over(0.0)
        # The value came back: it was a passing fault. The prediction came after: it was the plant.
        if back and lasted >= PASSING_BLOCKS and test.trial_votes > -0.5:
            return [Verdict(member, suspicion), Verdict(member, None)]
        return []
    if test.trial_votes >= VOTES_NEEDED or test.trial_left <= 0.0 or len(model.members) == 1:
        test.trial_left = 0.0
        test.held_since = at_ms + 1.0
        return [Verdict(member, suspicion)]
    return []


def _without(model: MateModel, filled: Floats, member: int) -> Floats:
    """The filled values with a suspect's residual taken out."""
    changed = filled.copy()
    test = model.tests[member]
    changed[member] -= test.ring[-1] * test.scale if test.ring else 0.0
    return changed


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
    model: MateModel, suspects: dict[int, Suspicion], features: Floats, silenced: list[bool]
) -> dict[int, Suspicion]:
    """Who, of all members, accounts best for what the suspects show; nobody, if it is the plant.

    If member c is off by d, every mate's prediction is off by d times its weight for c. So for each c the offset
    that its own residual shows is taken out of everybody's residual; the smallest remainder names the culprit.
    """
    strongest = max(suspects, key=lambda member: suspects[member].ratio)
    weighed = suspects[strongest].ratio / math.sqrt(max(1.0, model.distance(strongest, features) / 4.0))
    if len(model.members) == 1:
        return suspects if weighed > 1.0 else {}
    judged = [m for m, test in enumerate(model.tests) if test.ring and not test.held and not test.on_trial]
    recent = np.zeros(len(model.members))
    offsets = np.zeros((len(model.members), 4))
    scales = np.array([max(test.scale, 1e-9) for test in model.tests])
    for member in judged:
        test = model.tests[member]
        recent[member] = sum(test.ring[-JUMP_RECENT:]) / len(test.ring[-JUMP_RECENT:]) * test.scale
        offsets[member] = (recent[member], recent[member], test.short * test.scale, test.long * test.scale)
    costs = {
        member: _remainder(model, member, judged, recent=recent, offsets=offsets, scales=scales) for member in judged
    }
    culprit = min(costs, key=lambda member: costs[member])
    before = float(sum(min((recent[m] / scales[m]) ** 2, COST_MOST) for m in judged))
    size = abs(recent[culprit] / scales[culprit])
    accused = sum(test.on_trial for test in model.tests)
    if costs[culprit] > max(0.5 * before, 4.0 * len(judged)) or accused + 1 > max(2, len(model.members) / 2):
        if len(suspects) + accused >= max(2, math.ceil(len(model.members) / 2)):
            _new_regime(model)
        return {}
    if culprit not in suspects and (size < FLOOR or weighed <= 1.0):
        return {}
    suspicion = suspects.get(culprit) or Suspicion(suspects[strongest].kind, suspects[strongest].ratio, size)
    for member in suspects:
        if member != culprit:
            model.tests[member].forget_recent()
            silenced[member] = True
    return {culprit: suspicion}


def _remainder(
    model: MateModel, culprit: int, judged: list[int], *, recent: Floats, offsets: Floats, scales: Floats
) -> float:
    """What is left of all residuals if `culprit` is off by what its own residual shows."""
    count = len(model.members)
    own = [number * count + culprit for number in range(offsets.shape[1])]
    explained = model.weights[:, own] @ offsets[culprit]
    left = 0.0
    for member in judged:
        if member != culprit:
            left += min(((recent[member] + explained[member]) / scales[member]) ** 2, COST_MOST)
    return float(left)


def _new_regime(model: MateModel, *, everyone: bool = False) -> None:
    """Most sensors left the model together: the plant has changed, not its sensors."""
    model.regime_left = REGIME_BLOCKS
    for test in model.tests:
        if everyone or not test.held:
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
        model.accept(member, residual)
        test.forget_recent()
        test.quiet = 2.0 * RING
        return [Verdict(member, None)]
    return []


def _in_units(model: MateModel, verdict: Verdict, values: Floats, predicted: Floats) -> Verdict:
    """The verdict with values in the sensor's unit."""
    member, suspicion = verdict.member, verdict.suspicion
    if suspicion is None:
        return verdict
    band = suspicion.size / suspicion.ratio * model.tests[member].scale * model.scale[member]
    expected = model.center[member] + model.scale[member] * (predicted[member] + model.bias[member])
    return Verdict(member, suspicion, float(values[member]), float(expected), float(band))
