"""One block of an asset judged: who is off, who is back, and whether the plant as a whole has moved on."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldstream_central.detect.echoes import ABOUT, RING, STATISTICS, Singles
from fieldstream_central.detect.mates import DAY_MS, MateModel
from fieldstream_central.detect.residuals import FLOOR_NOISES, MemberTests, Suspicion

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

TESTS = len(STATISTICS)
READY_MS = 12 * 3_600_000  # learned before anything is judged, and at least
READY_BLOCKS = 60
MATURE_MS = 24 * 3_600_000  # until then thresholds are wider: half of the daily cycle is still new
YOUNG_FACTOR = 1.0
BOUND_SCALES = 6.0  # residual scales that one block may count for in a mean: a working cycle's edges are no offset
HESITATE_MS = 8 * 3_600_000
TRIAL_MS = 20 * 60_000
PASSING_BLOCKS, PASSING_VOTES, PASSING_RATIO = 6.0, 1.0, 1.5
EVIDENCE, MOST_VOTE, MOST_LEFT = 0.15, 0.5, 100.0
TELLING_SCALES = 2.0  # by how much both must differ at a mate for its word to count
BLIP_MS = 3 * 3_600_000
VOTES_NEEDED = 1.5
SUDDEN_SHARE = 0.7
SILENT_BLOCKS = 3.0
SETTLE_MS = 45 * 60_000
MOST_RATIO = 10.0
LEFT_SHARE = 0.35  # of all residuals that a culprit may leave unexplained
OWN_RATIO = 0.5  # thresholds by which a culprit must be off itself
DOUBT_FACTOR, DOUBT_SHARE = 2.0, 0.15
SURE_RATIO, RIVAL_RATIO = 1.3, 1.1  # the second for a trial of one of two that explain it about as well
LEANING_VOTES = 0.5  # that decide in the end whether an offset is told: of few votes most were right
# What a suspicion on which the mates say nothing must have grown to, and by what factor since its trial began: a model
# that errs does so slowly, and not by much. The means that trail a jump reach less, so the jump itself must be large.
CONFIRMED_RATIO, GROWTH = 1.2, 1.25
TRAILING_RATIO, JUMP_RATIO = 0.75, 1.15
LASTING_DOUBTS, PAUSE_MS = 6.0, 3_600_000  # trials in a row without an answer, with pauses of at most so long
UNSEEN_RATIO = 1.45  # of jump and short mean together, for the end of a fault that had crept in below notice
STEPS = ("mate-shift", "level-shift")
RETURNED_SHARE = 0.4  # of a jump that remains where it has led back to the prediction
# Factors on thresholds: statistics are many, and residuals never quite as learned. Where mates can be heard, a trial
# opens earlier.
SAFETY, TRIAL_SAFETY = 1.03, 0.85
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


@dataclass(slots=True)
class _Block:
    """A block at work; all values in model units, by member."""

    at_ms: float
    standard: Floats
    silent: Mask
    features: Floats
    predicted: Floats
    residual: Floats
    floors: Floats
    accept_ms: float
    silenced: Mask  # teach nothing now
    thresholds: Floats  # of shape (tests, members)


def judge_block(
    model: MateModel,
    values: Floats,
    at_ms: float,
    *,
    like: Floats,
    left: Floats,
    broken: Mask,
    noises: Floats,
    allowed_per_day: float,
    accept_ms: float,
) -> list[Verdict]:
    """Judges the block that begins at `at_ms` and learns from it. NaN in `values`: silent or under maintenance.

    `like` is what like assets' sensors showed of late, in units of their scale, by member, `left` what their
    regressions left of it;
    `broken` says whose readings another detector has found to be wrong: they are set aside and not judged here;
    `noises` is the noise of one reading by member, in the sensor's unit.
    """
    standard = np.where(broken, math.nan, model.standardise(values))
    silent = np.isnan(standard)
    if silent.all():
        for test in model.tests:
            test.silent_blocks += 1.0
        return []
    if not model.ready:
        model.absorb_unjudged(standard, at_ms)
        return []
    _return_of_the_silent(model, standard, silent)
    model.hear(like, left)
    aside = np.array([test.held or test.on_trial for test in model.tests])
    filled = np.where(silent | aside, model.lagged[:, 0], standard)
    features, predicted = model.predict(filled, at_ms)
    if silent.any() or aside.any():
        filled = np.where(silent | aside, predicted, filled)
        features, predicted = model.predict(filled, at_ms)
    residual = np.where(silent, 0.0, standard - predicted)
    floors = FLOOR_NOISES * noises / model.scale
    block = _Block(
        at_ms, standard, silent, features, predicted, residual, floors, accept_ms, aside, _thresholds(model, floors)
    )
    model.echoes.take(residual, standard, model.bound(BOUND_SCALES))
    verdicts = _look(model, block)
    if len(model.members) > 1 and sum(test.held for test in model.tests) > len(model.members) / 2:
        # Most of the asset stands accused: then the model is wrong, not the sensors. It starts from what it sees.
        model.settle(standard)
        verdicts += [Verdict(member, None) for member, test in enumerate(model.tests) if test.held]
        _new_regime(model, everyone=True)
    left_over = residual + model.shared
    apart = left_over + model.told_apart()
    heeding = model.heeding()
    for member, test in enumerate(model.tests):
        trusted = not (silent[member] or test.held)
        told = float(apart[member]) if trusted else math.nan
        test.tell(told, float(left_over[member]), float(model.left[member]), heeding=bool(heeding[member]))
    _learn(model, block, max(math.log(DAY_MS / model.block_ms * TESTS / allowed_per_day), 3.0))
    return [_in_units(model, verdict, values, block.predicted) for verdict in verdicts]


def _learn(model: MateModel, block: _Block, ln_p: float) -> None:
    sizes = model.echoes.sizes().T.tolist()
    residual = block.residual.tolist()
    for member, test in enumerate(model.tests):
        if not block.silenced[member] and not block.silent[member]:
            test.learn(residual[member], None if test.quiet > 0 else sizes[member], ln_p)
        if not block.silent[member]:
            # Only now: the block that ends the quiet is not learned from, for a fault may have gone on all the while.
            test.quiet = max(test.quiet - 1.0, 0.0)
    replaced = np.array([test.held or test.on_trial for test in model.tests])
    weight = 1.0
    if model.regime_left > 0:
        model.regime_left -= 1
        weight = REGIME_WEIGHT
    model.absorb(
        block.standard, block.at_ms, block.predicted, taught=~block.silenced, believed=~replaced, weight=weight
    )


def _return_of_the_silent(model: MateModel, standard: Floats, silent: Mask) -> None:
    """After a standstill of the whole asset the lags start afresh; who was silent is not judged at once."""
    if all(test.silent_blocks > SILENT_BLOCKS for test in model.tests):
        model.settle(standard)
    for member, test in enumerate(model.tests):
        if silent[member]:
            test.silent_blocks += 1.0
        elif test.silent_blocks:
            if test.silent_blocks > SILENT_BLOCKS:
                model.echoes.forget(member)
                if not test.held:
                    test.release(max(min(test.silent_blocks, SETTLE_MS / model.block_ms), float(RING)))
            test.silent_blocks = 0.0


def _look(model: MateModel, block: _Block) -> list[Verdict]:
    """Each member's residual tested: verdicts on what stands, then at most one new suspect."""
    verdicts: list[Verdict] = []
    young = _young(model)
    ratios = _ratios(model, block)
    opening = TRIAL_SAFETY
    if len(model.members) == 1:
        opening = SAFETY
        ratios[1:3] = 0.0  # a slow offset from the daily pattern: nobody can tell whose it is
    ratios[0] *= model.echoes.lasting()
    # A jump back to the prediction, and a mean that still shows what was there before: two witnesses of an end.
    ended = model.echoes.returned(RETURNED_SHARE)
    ratios[0, ended] = (ratios[0] + ratios[1])[ended] * (opening / UNSEEN_RATIO)
    ratios[-1] *= model.echoes.alone() * (opening / SAFETY)
    predicted, strongest = block.predicted.tolist(), ratios.max(axis=0).tolist()
    free: list[int] = []
    for member, test in enumerate(model.tests):
        test.fade()
        if block.silent[member]:
            continue
        test.stirred(predicted[member])
        if test.held:
            verdicts += _standing(model, member, block)
        elif test.on_trial:
            verdicts += _trial(model, member, block)
        elif test.quiet <= 0 and young is not None:
            free.append(member)
            if test.hesitates(strongest[member], max(HESITATE_MS / model.block_ms, 12.0)) and young == 1.0:
                block.silenced[member] = True
    if free and young is not None:
        # A second fault in an asset beside a standing one is less likely than a mate misled by it.
        crowd = 1.0 + CROWD_FACTOR * sum(test.held for test in model.tests)
        if ratios[:, free].max() > opening * young * crowd:
            verdicts += _suspect(model, block, free, ratios)
    return verdicts


def _thresholds(model: MateModel, floors: Floats) -> Floats:
    """Each member's thresholds; wider while like assets show something unusual, which then is of the surroundings."""
    own = [test.thresholds(floor) for test, floor in zip(model.tests, floors.tolist(), strict=True)]
    return np.asarray(np.array(own).T + model.unusual() * np.array([test.raw_scale for test in model.tests]))


def _ratios(model: MateModel, block: _Block) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nan_to_num(model.echoes.sizes() / block.thresholds))


def _suspect(model: MateModel, block: _Block, free: list[int], ratios: Floats) -> list[Verdict]:
    """Puts on trial who accounts best for what the tests show; nobody, if it is the plant."""
    number, column = np.unravel_index(int(ratios[:, free].argmax()), (TESTS, len(free)))
    strongest = free[int(column)]
    ratio = float(ratios[number, strongest])
    if ratio < TRIAL_SAFETY * math.sqrt(max(1.0, model.distance(strongest, block.features) / 4.0)):
        return []
    kind = STATISTICS[int(number)]
    if kind == "spike":
        return _spike(model, strongest, ratios[-1])
    mean = model.echoes.means(int(number))
    culprit: int | None = strongest
    rival: int | None = None
    if len(model.members) > 1:
        culprit, rival = _culprit(model, mean, block.thresholds[int(number)], free)
        if rival is not None and ratio < RIVAL_RATIO:
            return []  # two explain it about as well: a fault that grows will tell them apart
    if culprit is None:
        accused = sum(test.on_trial for test in model.tests)
        suspects = int((ratios[:, free].max(axis=0) > 1.0).sum())
        if suspects + accused >= max(2, math.ceil(len(model.members) / 2)):
            _new_regime(model)
        return []
    size = float(abs(mean[culprit, 0]))
    suspicion = Suspicion(kind, ratio, size)
    if kind == "mate-shift" and model.echoes.returned(RETURNED_SHARE)[culprit]:
        # Back at once to what the mates predict: a fault that had crept in below notice has ended.
        _let_go(model, culprit)
        return [Verdict(culprit, suspicion), Verdict(culprit, None)]
    accuse(model, culprit, suspicion)
    if rival is None and culprit != strongest:
        rival = strongest  # it sticks out most, and may be the one
    if rival is None and len(model.members) == 2:
        rival = 1 - culprit  # of two that disagree, nobody can tell which is wrong
    test = model.tests[culprit]
    test.rival = -1.0 if rival is None else float(rival)
    if block.at_ms - test.tried_at > TRIAL_MS + PAUSE_MS:
        test.doubts = 0.0
    test.tried_at = block.at_ms
    block.silenced[culprit] = True
    filled = np.where(block.silent | block.silenced, block.predicted, block.standard)
    block.features, block.predicted = model.predict(filled, block.at_ms)
    return _trial(model, culprit, block)


def _spike(model: MateModel, member: int, ratios: Floats) -> list[Verdict]:
    """A spike that one sensor alone shows, told at once."""
    if np.sum(ratios > OWN_RATIO * ratios[member]) > 1:
        return []  # several at once: the plant
    suspicion = Suspicion("spike", float(ratios[member]), float(abs(model.echoes.excess[member])))
    model.echoes.cleanse(member, model.weights)
    _let_go(model, member, 0.0)
    return [Verdict(member, suspicion), Verdict(member, None)]


def accuse(model: MateModel, member: int, suspicion: Suspicion) -> None:
    """Puts a member on trial; what it has done to its mates' predictions is undone."""
    model.echoes.cleanse(member, model.weights)
    model.disbelieve(member)
    model.tests[member].accuse(suspicion, _trial_blocks(model))


def _trial_blocks(model: MateModel) -> float:
    """Of how many blocks a trial is at most."""
    return max(TRIAL_MS / model.block_ms, 3.0)


def _culprit(
    model: MateModel, means: Floats | Singles, thresholds: Floats, free: list[int]
) -> tuple[int | None, int | None]:
    """The member whose own error, if it had one, leaves least of all residuals; and another that does nearly so."""
    effects = model.echoes.effects(model.weights, means)
    ratios = np.nan_to_num(np.abs(means[:, 0]) / thresholds)
    before = float((np.minimum(ratios[free], MOST_RATIO) ** 2).sum())
    costs: dict[int, float] = {}
    for member in free:
        if ratios[member] < OWN_RATIO:
            continue
        others = [other for other in free if other != member]
        left = np.abs(means[others, 0] + effects[member, others]) / thresholds[others]
        costs[member] = float((np.minimum(np.nan_to_num(left), MOST_RATIO) ** 2).sum())
    ranked = sorted(costs, key=lambda member: costs[member])
    if not ranked or costs[ranked[0]] > LEFT_SHARE * before:
        return None, None
    doubtful = len(ranked) > 1 and costs[ranked[1]] < max(DOUBT_FACTOR * costs[ranked[0]], DOUBT_SHARE * before)
    return ranked[0], ranked[1] if doubtful else None


def _trial(model: MateModel, member: int, block: _Block) -> list[Verdict]:
    """The mates' word on a suspect: do they behave as if its measured values were true, or as if they were not?

    What the suspect's error would do to each mate's prediction is known from the model; each block adds the
    difference of both hypotheses' squared residuals (a sequential test, Wald 1945), bounded, since residuals depend
    on each other in time. Without an answer in time the suspicion stands if it has grown: a fault goes on, chance
    falls back.
    """
    test = model.tests[member]
    measured = model.with_measured(block.features, member, block.standard)
    own = block.standard - model.shared
    if_true = own - model.weights @ measured
    if_false = own - model.weights @ block.features
    evidence = 0.0
    for other, mate in enumerate(model.tests):
        if other == member or mate.held or mate.on_trial or mate.scale <= 0 or block.silent[other]:
            continue
        if abs(float(if_true[other] - if_false[other])) < TELLING_SCALES * mate.scale:
            continue
        evidence += (
            min(float(if_true[other]) ** 2, MOST_LEFT * mate.scale**2)
            - min(float(if_false[other]) ** 2, MOST_LEFT * mate.scale**2)
        ) / mate.scale**2
    test.trial_votes += min(max(EVIDENCE * evidence, -MOST_VOTE), MOST_VOTE)
    test.trial_left -= 1.0
    recent = abs(float(model.echoes.recent()[member]))
    ratio = float(_ratios(model, block)[:-1, member].max())
    test.trial_ratio = max(test.trial_ratio, ratio)
    suspicion = test.accused_of()
    step = suspicion.kind in STEPS
    if test.trial_votes <= -VOTES_NEEDED:
        model.believe(member)
        test.doubts = 0.0
        model.regime_left = max(model.regime_left, REGIME_BLOCKS // 2)
        test.blip()
        _let_go(model, member)
        return []
    if recent < max(_BACK_SHARE * test.held_size, float(block.floors[member])):
        sudden = abs(float(model.echoes.ring[-5, member, 0])) > SUDDEN_SHARE * test.held_size
        back = abs(float(model.echoes.back()[member]))
        lasted = _trial_blocks(model) - test.trial_left
        test.blip()
        _let_go(model, member)
        # That it was a fault is as sure as its return is sudden: chance and the plant come back step by step.
        sure = suspicion.ratio >= PASSING_RATIO or back > float(block.thresholds[0, member])
        heard = test.trial_votes >= PASSING_VOTES or (sure and test.trial_votes > -0.5)
        # The value came back at once: it was a passing fault. The prediction came after it: it was the plant.
        if sudden and heard and (not step or (lasted >= PASSING_BLOCKS and test.trial_opened >= JUMP_RATIO)):
            return [Verdict(member, suspicion), Verdict(member, None)]
        return []
    unanswered = test.trial_left <= 0.0 and test.trial_votes < (VOTES_NEEDED if step else LEANING_VOTES)
    if unanswered and len(model.members) > 1 and not _confirmed(test, suspicion, ratio):
        test.doubts += 0.0 if step else 1.0
        if test.doubts < LASTING_DOUBTS:
            test.release(0.0)
            return []
    if test.trial_votes >= VOTES_NEEDED or test.trial_left <= 0.0 or len(model.members) == 1:
        test.trial_left = test.doubts = 0.0
        test.held_since = block.at_ms + 1.0
        return [Verdict(member, suspicion)]
    return []


def _confirmed(test: MemberTests, suspicion: Suspicion, ratio: float) -> bool:
    """Whether a suspicion stands on which the mates have said nothing; `ratio` is of the strongest test now."""
    if suspicion.kind in STEPS:
        return test.trial_opened >= JUMP_RATIO and (suspicion.ratio >= SURE_RATIO or ratio >= TRAILING_RATIO)
    return suspicion.ratio >= SURE_RATIO or ratio >= max(CONFIRMED_RATIO, GROWTH * test.trial_opened)


def _let_go(model: MateModel, member: int, quiet: float = RING) -> None:
    model.echoes.forget(member)
    model.tests[member].release(quiet)


def _young(model: MateModel) -> float | None:
    """Factor on thresholds by the model's age; None: too young to judge."""
    if model.total < READY_BLOCKS or model.age_ms < READY_MS:
        return None
    return 1.0 + YOUNG_FACTOR * max(0.0, (MATURE_MS - model.age_ms) / (MATURE_MS - READY_MS))


def _new_regime(model: MateModel, *, everyone: bool = False) -> None:
    """Most sensors left the model together: the plant has changed, not its sensors."""
    model.regime_left = REGIME_BLOCKS
    for member, test in enumerate(model.tests):
        if everyone or not test.held:
            _let_go(model, member, float(REGIME_BLOCKS))


def _standing(model: MateModel, member: int, block: _Block) -> list[Verdict]:
    test = model.tests[member]
    recent = abs(float(model.echoes.recent()[member]))
    test.held_size = max(test.held_size, abs(float(model.echoes.short[member, 0])))
    if recent < _BACK_SHARE * test.held_size:
        if block.at_ms - test.held_since < BLIP_MS:
            test.blip()
        _let_go(model, member)
        return [Verdict(member, None)]
    if block.at_ms - test.held_since > block.accept_ms:
        model.accept(member, float(block.residual[member]))
        _let_go(model, member, 2.0 * RING)
        return [Verdict(member, None)]
    return []


def _in_units(model: MateModel, verdict: Verdict, values: Floats, predicted: Floats) -> Verdict:
    """The verdict with values in the sensor's unit."""
    member, suspicion = verdict.member, verdict.suspicion
    if suspicion is None:
        return verdict
    unit, offset = model.scale[member], model.center[member] + model.scale[member] * model.bias[member]
    observed, expected = float(values[member]), offset + unit * predicted[member]
    if suspicion.kind == "spike":
        observed = offset + unit * model.echoes.values[ABOUT // 2, member]
        expected = observed - unit * model.echoes.excess[member]
    return Verdict(member, suspicion, float(observed), float(expected), float(suspicion.size / suspicion.ratio * unit))
