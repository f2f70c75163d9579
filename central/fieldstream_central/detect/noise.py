"""Noise that grows, values that chatter, and a resolution that coarsens.

Noise: the average noise of the last windows over the learned one, judged by its own tail. Two levels in quick
alternation have a spread of half their range, which random noise never has: that is called chattering. Resolution:
the smallest step between readings of the last windows, in units of the noise. Weakness: where one reading fills a
window, noise is seen through second differences, and takes a dozen windows to be sure.
"""

import math
from collections.abc import Iterator

from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.model import Finding, Window
from fieldstream_central.detect.packing import State
from fieldstream_central.detect.past import Past
from fieldstream_central.detect.tail import Tail

MIN_RATIO, MIN_RATIO_SINGLE = 1.8, 2.0  # where windows hold many readings, and where they hold one
_CALM_RATIO = 1.4
RAISED_WINDOWS = 3.0
EXPLAINING_WINDOWS, EXPLAINING_SHARE = 6.0, 0.3
PLAIN_EXCESS = 2.0  # from here on a mate that scatters a little more than usual is no explanation
_CLIP_RATIO = 4.0
_MOST_EXCESS = 2.25  # thresholds end here: with clipped windows the average never gets far beyond
_HESITATIONS = 30.0
_NEVER_RAISED, _NEVER_RAISED_EXCESS = 8.0, 1.5
_CHATTER_SHAPE = 0.42
_STEPS = 12
_COARSE_NOISES = 2.5
_OFF_GRID = 0.03


class NoiseDetector(State):
    """Noise increase and chattering of one series."""

    FIELDS = ("recent", "reference", "since", "holding", "over", "raised_at", "hesitated")
    PARTS = ("tail",)
    __slots__ = (*FIELDS, "tail")
    name, version = "noise", "1"

    def __init__(self) -> None:
        self.recent = self.reference = self.since = self.holding = self.over = 0.0
        self.raised_at = -math.inf
        self.hesitated = 0.0
        self.tail = Tail()

    def check(self, window: Window, past: Past, _settings: SensorSettings) -> Finding | None:
        """A finding while the noise is raised, or, if `holding` is 0, a candidate that still needs `confirm`."""
        noise, learned = past.noise_now, past.noise
        if math.isnan(noise) or past.noise_n < 6.0 or learned <= 0.0:
            return None
        many = window.count >= 4
        self.recent = self.recent or learned
        # Clipped, so that the two or three windows that a step of the process touches are not enough.
        bounded = min(noise, _CLIP_RATIO * (self.reference if self.holding else learned))
        self.recent += (bounded - self.recent) * (0.25 if many else 0.1)
        if self.recent > _CALM_RATIO * learned:
            self.raised_at = float(window.window_end)
        if self.holding:
            if self.recent < _CALM_RATIO * self.reference:
                self.holding = 0.0
                return None
            return self._finding(window)
        return self._judged(window, past, many)

    @property
    def raised(self) -> bool:
        """Whether readings have scattered unusually for some windows; a single large one is ordinary."""
        return bool(self.holding) or self.over >= RAISED_WINDOWS

    def explains(self, past: Past, excess: float, at_ms: int) -> bool:
        """Whether this sensor's readings scatter too, and enough to put another's `excess` down to the plant."""
        near = abs(self.raised_at - at_ms) <= EXPLAINING_WINDOWS * past.step_ms
        return near and (excess < PLAIN_EXCESS or self.excess(past) >= EXPLAINING_SHARE * excess)

    def excess(self, past: Past) -> float:
        """By how much of the learned noise the average of late is above it."""
        return max(self.recent / past.noise - 1.0, 0.0) if past.noise > 0.0 else 0.0

    def _judged(self, window: Window, past: Past, many: bool) -> Finding | None:
        excess = self.excess(past)
        tail = self.tail
        least = (MIN_RATIO if many else MIN_RATIO_SINGLE) - 1.0
        if excess > self._threshold(least):
            self.over += 1.0
            if self.over == 1.0:
                self.since = float(window.last_ts)
            if self.over >= (2.0 if many else 6.0):
                self.reference = past.noise
                return self._finding(window)
            return None
        self.over = 0.0
        if excess > 0.4 * tail.threshold and self.hesitated < _HESITATIONS:
            self.hesitated += 1.0  # the average may be on its way up: not learned until it has lasted
            return None
        self.hesitated = max(0.0, self.hesitated - 0.1)
        tail.learn(excess, past.ln_p)
        return None

    def _threshold(self, least: float) -> float:
        if math.isinf(self.tail.threshold) and self.tail.n >= _NEVER_RAISED:
            return _NEVER_RAISED_EXCESS  # the noise has not once been above the learned one
        return max(min(self.tail.threshold, _MOST_EXCESS), least)

    def confirm(self) -> None:
        """The candidate is this sensor's alone: it stands."""
        self.holding = 1.0

    def dismiss(self, past: Past) -> None:
        """The asset's other sensors are noisier too: ordinary after all."""
        self.over = 0.0
        self.tail.learn(self.excess(past), past.ln_p)

    def _finding(self, window: Window) -> Finding:
        spread = window.max - window.min
        chatter = window.count >= 4 and spread > 0 and window.stddev / spread > _CHATTER_SHAPE
        ratio = self.recent / self.reference
        words = f"jumps between {window.min:.5g} and {window.max:.5g}" if chatter else f"noise is {ratio:.1f} times"
        usual = f"; usually readings scatter by {self.reference:.2g}" if chatter else f" the usual {self.reference:.2g}"
        return Finding(
            kind="chattering" if chatter else "noise-increase",
            reason=words + usual,
            started_at=int(self.since),
            observed=self.recent,
            expected=self.reference,
            expected_high=self.reference * (1.0 + self._threshold(MIN_RATIO - 1.0)),
            score=min(1.0, 0.5 * (ratio - 1.0) / self._threshold(MIN_RATIO - 1.0)),
        )


class ResolutionDetector(State):
    """Coarser resolution of one series."""

    FIELDS = ("usual", "seen", "since", "holding")
    PARTS = ("tail",)
    __slots__ = (*FIELDS, "steps", "tail")
    name, version = "resolution", "1"

    def __init__(self) -> None:
        self.usual = self.seen = self.since = self.holding = 0.0
        self.steps: list[float] = []
        self.tail = Tail()

    def numbers(self) -> list[float]:
        """Fields and tail, then the recent steps padded to full length."""
        return [*super().numbers(), *self.steps, *([math.nan] * (_STEPS - len(self.steps)))]

    def restore(self, numbers: Iterator[float]) -> None:
        """Inverse of `numbers`."""
        super().restore(numbers)
        self.steps = [step for _, step in zip(range(_STEPS), numbers, strict=False) if not math.isnan(step)]

    def check(self, window: Window, past: Past, _settings: SensorSettings) -> Finding | None:
        """Finding while readings come in steps far above the usual ones."""
        step = abs(window.first - past.last_value)
        spread = window.max - window.min
        if spread > 0.0 and (spread < step or step == 0.0):
            step = spread
        if window.count > 2:
            inner = abs(window.last - window.first)
            if 0.0 < inner < step:
                step = inner
        if math.isnan(step) or step <= 0.0:
            return self._finding() if self.holding else None
        steps = self.steps
        steps.append(step)
        if len(steps) <= _STEPS:
            return None
        del steps[0]
        smallest = min(steps)
        noise = past.noise
        if self.holding:
            if smallest < 0.5 * self.holding:
                self.holding = 0.0
                return None
            return self._finding()
        coarse = smallest / noise if noise > 0.0 else 0.0
        tail = self.tail
        self.seen += 1.0
        rare = coarse > tail.threshold and coarse > _COARSE_NOISES and coarse > 4.0 * self.usual
        if rare and self.seen > _STEPS and _on_a_grid(steps, smallest):
            self.holding, self.since = smallest, float(window.last_ts)
            return self._finding()
        if not past.disturbed:
            self.usual += (coarse - self.usual) / min(self.seen, 200.0)
            tail.learn(coarse, past.ln_p, 0.3)
        return None

    def _finding(self) -> Finding:
        return Finding(
            kind="quantisation",
            reason=f"readings come in steps of {self.holding:.3g}; they used to be finer",
            started_at=int(self.since),
            severity="info",
            observed=self.holding,
        )


def _on_a_grid(steps: list[float], smallest: float) -> bool:
    """Whether all steps are multiples of the smallest: a signal on its way makes large steps too, but of any size."""
    return all(abs(step / smallest - round(step / smallest)) < _OFF_GRID for step in steps)
