"""Tests of one sensor's residual against its mates: a jump, and offsets that persist over minutes and hours.

A jump (last three blocks against nine before) and two exponentially weighted means (Roberts 1959) are each taken in
units of their own usual size, which follows the model's quality within a day, and judged by their own tail. A finding
ends when the residual is back under half of what it was found with, or when it has become the new normal. What looks
suspicious teaches nothing for eight hours, so that a slow fault does not become normal on its way.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from fieldstream_central.detect.packing import State
from fieldstream_central.detect.tail import Tail

JUMP_LOOK, SHORT_LOOK, LONG_LOOK = 2.0, 6.0, 24.0  # blocks after which a look is a new one; the last a multiple
PRIOR_SHAPE, LONG_PRIOR_SHAPE = 1.3, 1.5  # means of residuals are nearly Gaussian
SCALE_MEMORY = 1500.0
HESITATE_RATIO = 0.6  # from here on a statistic teaches nothing, for a while: it may be a fault under way
HABIT_FROM, HABIT_KEEP, HABIT_FACTOR = 1.3, 0.9995, 1.3
STIR, STIR_KEEP = 1 / 12, 0.95
GAIN_ERROR, LAG_FACTOR = 0.3, 2.0  # a jump is also off by what the model errs in the lags, at first
RAW_MOST = 4.0  # residual scales that one sensor may tell like assets
SHARE_PRIOR, SHARE_BLOCKS, SHARE_MOST, SHARE_KEEP = 0.8, 60.0, 1.5, 1.0 - 1.0 / 1440.0
RISE, RISE_BLOCKS, FALL_BLOCKS = 1.3, 2000.0, 100.0
FLOOR_NOISES = 3.0  # noises of a reading below which nothing is a finding, however rare


KINDS = ("mate-shift", "mate-inconsistency", "drift", "level-shift", "spike")


class Suspicion(NamedTuple):
    """A test's word: `ratio` above 1 is rarer than allowed; `size` in model units."""

    kind: str
    ratio: float
    size: float


class MemberTests(State):
    """Residual scale, tests and standing finding of one member."""

    FIELDS = (
        *("scale", "seen", "held_since", "held_size", "quiet", "slow", "stir", "usual_stir", "hesitated"),
        *("silent_blocks", "tried_at"),
        *("trial_left", "trial_opened", "trial_votes", "trial_kind", "trial_ratio", "rival"),
        *("jump_scale", "short_scale", "long_scale", "spike_scale", "raw_scale", "raw_seen"),
        *("blips", "habit", "raw", "left", "told_at", "left_moment", "left_square"),
        *("looks", "jump_peak", "short_peak", "long_peak"),
    )
    PARTS = ("jump_tail", "short_tail", "long_tail", "spike_tail")
    LATER = ("short_usual", "long_usual")  # packed last: absent from what earlier programs wrote in this layout
    __slots__ = (*FIELDS, *PARTS, *LATER, "doubts")

    def __init__(self) -> None:
        self.scale = self.seen = 0.0
        self.held_since = self.held_size = self.quiet = 0.0
        self.slow = self.stir = self.usual_stir = 0.0
        self.hesitated = 0.0
        self.trial_left = self.trial_opened = self.trial_votes = self.trial_kind = self.trial_ratio = 0.0
        self.silent_blocks = 0.0
        self.rival = -1.0  # number of the member that explains the suspicion about as well; -1: none
        self.tried_at = 0.0  # when the last trial began, epoch ms
        self.jump_scale = self.short_scale = self.long_scale = self.spike_scale = 0.0
        self.raw_scale = self.raw_seen = 0.0
        self.blips = self.habit = 0.0
        # What like assets are told of the last block: its residual without their word, and what remained with it, each
        # in units of its scale.
        self.raw = self.left = math.nan
        self.told_at = -1.0
        # Sums of what remained times what remained to like assets, and of the latter squared.
        self.left_moment = self.left_square = 0.0
        self.short_usual = self.long_usual = 0.0  # thresholds of late; 0: not known yet
        self.doubts = 0.0  # trials in a row that ended without an answer; packed after all else
        self.looks = self.jump_peak = self.short_peak = self.long_peak = 0.0  # since the last look
        self.jump_tail, self.short_tail = Tail(PRIOR_SHAPE), Tail(PRIOR_SHAPE)
        self.long_tail, self.spike_tail = Tail(LONG_PRIOR_SHAPE), Tail(PRIOR_SHAPE)

    @property
    def on_trial(self) -> bool:
        """Whether a suspicion waits for the mates' word."""
        return self.trial_left > 0.0

    def accuse(self, suspicion: Suspicion, blocks: float) -> None:
        """Starts a trial of at most so many blocks."""
        self.trial_left, self.trial_opened, self.trial_votes = blocks, suspicion.ratio, 0.0
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
        away = min(abs(predicted - self.slow), 1000.0 * self.scale)
        self.stir = max(away, self.stir * STIR_KEEP)
        self.usual_stir += 0.005 * (min(self.stir, 4.0 * self.usual_stir + self.scale) - self.usual_stir)

    @property
    def allowance(self) -> float:
        """What the tests concede to an unusual transient of the plant, in model units."""
        return GAIN_ERROR * max(0.0, self.stir - 1.5 * self.usual_stir)

    def tell(self, residual: float, left: float, shared: float, *, heeding: bool) -> None:
        """Notes what like assets are told of the block: its residual without their word, and what is left with it.

        NaN: it cannot be trusted now. `shared` is what is left to like assets of late, in units of their scale.
        """
        self.raw = self.left = math.nan
        if math.isnan(residual):
            return
        if self.scale > 0.0:
            self.left = min(max(left / self.scale, -RAW_MOST), RAW_MOST)
            self.left_moment = SHARE_KEEP * self.left_moment + self.left * shared
            self.left_square = SHARE_KEEP * self.left_square + shared**2
        self.raw_seen = min(self.raw_seen + 1.0, SCALE_MEMORY)
        self.raw_scale = _running(self.raw_scale, abs(residual), self.raw_seen)
        if heeding and self.raw_scale > 0.0:
            self.raw = min(max(residual / self.raw_scale, -RAW_MOST), RAW_MOST)

    @property
    def share(self) -> float:
        """How much of what is left to like assets is left here too: 0.8 until it is known better."""
        known = (self.left_moment + SHARE_PRIOR * SHARE_BLOCKS) / (self.left_square + SHARE_BLOCKS)
        return min(max(known, 0.0), SHARE_MOST)

    def thresholds(self, floor: float) -> tuple[float, float, float, float]:
        """Sizes of jump, short mean, long mean and spike that are rarer than allowed."""
        more = self.allowance
        if self.blips > HABIT_FROM:
            floor = max(floor, self.habit)
        return (
            max(self.jump_tail.threshold * self.jump_scale, floor) + LAG_FACTOR * more,
            max(_held_back(self.short_tail.threshold * self.short_scale, self.short_usual), floor) + more,
            max(_held_back(self.long_tail.threshold * self.long_scale, self.long_usual), floor) + more,
            max(self.spike_tail.threshold * self.spike_scale, floor) + more,
        )

    def hesitates(self, ratio: float, blocks: float) -> bool:
        """Whether to learn nothing now: the strongest test is at `ratio`, and `blocks` is how long to wait at most."""
        if ratio > HESITATE_RATIO:
            self.hesitated += 1.0
            return self.hesitated <= blocks
        self.hesitated = max(0.0, self.hesitated - 0.2)
        return False

    def learn(self, residual: float, sizes: Sequence[float] | None, ln_p: float) -> None:
        """Takes a residual and the sizes of all statistics (None: not now) into account as ordinary.

        Means over overlapping stretches of time are learned as often as they are new: at their peak since the last
        time.
        """
        self.seen = seen = min(self.seen + 1.0, SCALE_MEMORY)
        self.scale = _running(self.scale, abs(residual), seen)
        if sizes is None:
            return
        jump, short, long, spike = sizes
        allowance = self.allowance
        if jump > 0.0:
            self.jump_scale = _running(self.jump_scale, jump, seen)
        if spike > 0.0:
            self.spike_scale = _running(self.spike_scale, spike, seen)
        self.short_scale = _running(self.short_scale, short, seen)
        self.long_scale = _running(self.long_scale, long, seen)
        self.spike_tail.learn(max(spike - allowance, 0.0) / (self.spike_scale or 1.0), ln_p)
        self.jump_peak = max(self.jump_peak, (jump - LAG_FACTOR * allowance) / (self.jump_scale or 1.0))
        self.short_peak = max(self.short_peak, (short - allowance) / (self.short_scale or 1.0))
        self.long_peak = max(self.long_peak, (long - allowance) / (self.long_scale or 1.0))
        looks = self.looks = self.looks + 1.0
        if looks % JUMP_LOOK == 0.0:
            self.jump_tail.learn(self.jump_peak, ln_p - math.log(JUMP_LOOK))
            self.jump_peak = 0.0
        if looks % SHORT_LOOK == 0.0:
            self.short_tail.learn(self.short_peak, ln_p - math.log(SHORT_LOOK))
            self.short_peak = 0.0
        if looks % LONG_LOOK == 0.0:
            self.long_tail.learn(self.long_peak, ln_p - math.log(LONG_LOOK))
            self.long_peak, self.looks = 0.0, 0.0
        young = seen < SCALE_MEMORY
        self.short_usual = _usual(self.short_usual, self.short_tail.threshold * self.short_scale, young=young)
        self.long_usual = _usual(self.long_usual, self.long_tail.threshold * self.long_scale, young=young)

    def fade(self) -> None:
        """A block has passed."""
        self.blips *= HABIT_KEEP
        self.habit *= HABIT_KEEP

    def blip(self) -> None:
        """What stood or was on trial was over soon: a second one within a day is a habit, which raises the bar."""
        self.blips += 1.0
        self.habit = max(self.habit, HABIT_FACTOR * self.held_size)

    def release(self, quiet_blocks: float) -> None:
        """No finding or trial stands any more."""
        self.held_since = self.held_size = self.trial_left = 0.0
        self.rival = -1.0
        self.quiet = quiet_blocks


def _held_back(threshold: float, usual: float) -> float:
    """A threshold that rises no faster than it may: a drift that grows below notice would raise its own."""
    return min(threshold, RISE * usual) if usual > 0.0 else threshold


def _usual(usual: float, threshold: float, *, young: bool) -> float:
    """Follows a threshold at once while it is young, later down within hours and up within days."""
    if not math.isfinite(threshold):
        return usual
    if young or usual <= 0.0:
        return threshold
    return usual + (threshold - usual) / (FALL_BLOCKS if threshold < usual else RISE_BLOCKS)


def _running(scale: float, size: float, seen: float) -> float:
    """Standard deviation that follows sizes: a running median, after a first mean."""
    if seen <= 15.0 or scale <= 0.0:
        return scale + (size / 0.7 - scale) / min(seen, 15.0)
    # The median of a Gaussian's size is 0.67 standard deviations.
    return scale * (1.0 + (1.5 / seen if size > 0.67 * scale else -1.5 / seen))
