"""Tests of one sensor's residual against its mates: a jump, and offsets that persist over minutes and hours.

The residual is taken in units of its own robust scale; a jump (last two blocks against ten before) and two
exponentially weighted means (Roberts 1959) are each judged by their own tail. A finding ends when the short mean is
back under half of what it was found with, or when it has become the new normal. What looks suspicious teaches
nothing for eight hours, so that a slow fault does not become normal on its way.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from fieldstream_central.detect.packing import State
from fieldstream_central.detect.tail import Tail

RING = 12
JUMP_RECENT = 3
SHORT, LONG = 1 / 8, 1 / 40
_LN_LOOKS_SHORT, _LN_LOOKS_LONG = math.log(3.0), math.log(12.0)  # looks that are independent: fewer than blocks
SCALE_MEMORY = 1500.0
HESITATE_RATIO = 0.6  # from here on a statistic teaches nothing, for a while: it may be a fault under way
BLIP_BLOCKS = 12.0
FLOOR_KEEP = 0.9995
STIR, STIR_KEEP = 1 / 12, 0.95
GAIN_ERROR = 0.3
FLOOR = 2.5  # residual scales below which nothing is a finding, however rare


KINDS = ("mate-shift", "mate-inconsistency", "drift", "level-shift")


class Suspicion(NamedTuple):
    """The strongest of the tests: `ratio` above 1 is rarer than allowed."""

    kind: str
    ratio: float
    size: float


class MemberTests(State):
    """Residual scale, tests and standing finding of one member."""

    FIELDS = (
        "scale",
        "seen",
        "short",
        "long",
        "held_since",
        "held_size",
        "quiet",
        "slow",
        "stir",
        "usual_stir",
        "hesitated",
        "floor",
        "trial_left",
        "trial_blocks",
        "trial_level",
        "trial_votes",
        "trial_kind",
        "trial_ratio",
        "silent_blocks",
    )
    PARTS = ("jump_tail", "short_tail", "long_tail")
    __slots__ = (*FIELDS, *PARTS, "ring")

    def __init__(self) -> None:
        self.scale = self.seen = self.short = self.long = 0.0
        self.held_since = self.held_size = self.quiet = 0.0
        self.slow = self.stir = self.usual_stir = 0.0
        self.hesitated = self.floor = 0.0
        self.trial_blocks = self.trial_level = 0.0
        self.trial_left = self.trial_votes = self.trial_kind = self.trial_ratio = self.silent_blocks = 0.0
        self.jump_tail, self.short_tail, self.long_tail = Tail(), Tail(), Tail()
        self.ring: list[float] = []

    def numbers(self) -> list[float]:
        """Fields and tails, then the ring padded."""
        return [*super().numbers(), *self.ring, *([math.nan] * (RING - len(self.ring)))]

    def restore(self, numbers: Iterator[float]) -> None:
        """Inverse of `numbers`."""
        super().restore(numbers)
        self.ring = [value for _, value in zip(range(RING), numbers, strict=False) if not math.isnan(value)]

    @property
    def on_trial(self) -> bool:
        """Whether a suspicion waits for the mates' word."""
        return self.trial_left > 0.0

    def accuse(self, suspicion: Suspicion, blocks: float, level: float) -> None:
        """Starts a trial of at most so many blocks; `level` is where the value should be, in model units."""
        self.trial_level, self.trial_blocks = level, blocks
        self.trial_left, self.trial_votes = blocks, 0.0
        self.trial_kind, self.trial_ratio = float(KINDS.index(suspicion.kind)), suspicion.ratio
        self.held_size = suspicion.size

    def accused_of(self) -> Suspicion:
        """The suspicion on trial."""
        return Suspicion(KINDS[int(self.trial_kind)], self.trial_ratio, self.held_size)

    @property
    def held(self) -> bool:
        """Whether a finding stands."""
        return self.held_since > 0.0

    def stirred(self, predicted: float) -> None:
        """Notes how much the mates move the prediction: a model with a gain error errs in proportion to that."""
        if self.scale <= 0.0:
            self.slow = predicted
            return
        self.slow += STIR * (predicted - self.slow)
        away = min(abs(predicted - self.slow) / self.scale, 1000.0)
        self.stir = max(away, self.stir * STIR_KEEP)
        self.usual_stir += 0.005 * (min(self.stir, 4.0 * self.usual_stir + 1.0) - self.usual_stir)

    @property
    def allowance(self) -> float:
        """What the tests concede to an unusual transient of the plant, in residual scales."""
        return GAIN_ERROR * max(0.0, self.stir - 1.5 * self.usual_stir)

    def take(self, residual: float) -> float:
        """Takes a residual (model units) in; returns it in units of the scale."""
        scale = self.scale
        standard = residual / scale if scale > 0.0 else 0.0
        bounded = min(max(standard, -40.0), 40.0)
        self.ring.append(bounded)
        if len(self.ring) > RING:
            del self.ring[0]
        self.short += SHORT * (bounded - self.short)
        self.long += LONG * (bounded - self.long)
        return standard

    def learn_scale(self, residual: float) -> None:
        """Takes the size of an ordinary residual into account: a running median, after a first mean."""
        size = abs(residual)
        self.seen = min(self.seen + 1.0, SCALE_MEMORY)
        if self.seen <= 15.0:
            self.scale += (size / 0.7 - self.scale) / self.seen
            return
        # The median of a Gaussian's size is 0.67 standard deviations.
        self.scale *= 1.0 + (1.5 / self.seen if size > 0.67 * self.scale else -1.5 / self.seen)

    def amend(self, residual: float) -> None:
        """Replaces the residual just taken: a mate's fault had spoilt the prediction."""
        if not self.ring or self.scale <= 0.0:
            return
        bounded = min(max(residual / self.scale, -40.0), 40.0)
        change = bounded - self.ring[-1]
        self.ring[-1] = bounded
        self.short += SHORT * change
        self.long += LONG * change

    def _jump(self) -> float:
        ring = self.ring
        if len(ring) < 6:
            return 0.0
        before = ring[:-JUMP_RECENT]
        level = sum(before) / len(before)
        steps = [value - level for value in ring[-JUMP_RECENT:]]
        if min(steps) > 0.0 or max(steps) < 0.0:
            return sum(steps) / JUMP_RECENT
        return 0.0

    def suspicion(self) -> Suspicion:
        """The strongest test of the current residuals."""
        best = Suspicion("mate-shift", 0.0, 0.0)
        floor = max(FLOOR, self.floor)
        for kind, tail, size in self._statistics():
            ratio = min(tail.ratio(size), size / floor)
            if ratio > best.ratio:
                best = Suspicion(kind, ratio, size)
        return best

    def _statistics(self) -> tuple[tuple[str, Tail, float], ...]:
        allowance = self.allowance
        return (
            ("mate-shift", self.jump_tail, max(abs(self._jump()) - allowance, 0.0)),
            ("mate-inconsistency", self.short_tail, max(abs(self.short) - allowance, 0.0)),
            ("drift", self.long_tail, max(abs(self.long) - allowance, 0.0)),
        )

    def hesitates(self, ratio: float, blocks: float) -> bool:
        """Whether to learn nothing now: the strongest test is at `ratio`, and `blocks` is how long to wait at most."""
        if ratio > HESITATE_RATIO:
            self.hesitated += 1.0
            return self.hesitated <= blocks
        self.hesitated = max(0.0, self.hesitated - 0.2)
        return False

    def learn(self, ln_p: float) -> None:
        """Takes the current statistics into account as ordinary."""
        (_, _, jump), (_, _, short), (_, _, long) = self._statistics()
        self.jump_tail.learn(jump, ln_p, 0.5)
        self.short_tail.learn(short, ln_p - _LN_LOOKS_SHORT, 0.15)
        self.long_tail.learn(long, ln_p - _LN_LOOKS_LONG, 0.04)
        self.floor *= FLOOR_KEEP

    def over(self, blocks: float) -> None:
        """The finding is over. One that lasted a few blocks only was a habit of the plant: it raises the bar."""
        if blocks < BLIP_BLOCKS:
            self.floor = max(self.floor, 1.2 * self.held_size)
        self.forget_recent()

    def forget_recent(self) -> None:
        """After an end or an accepted change the recent residuals say nothing."""
        self.ring.clear()
        self.short = self.long = 0.0
        self.held_since = self.held_size = self.trial_left = 0.0
        self.quiet = float(RING)
