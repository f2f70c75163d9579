"""Level shift: the last three windows lie together, away from the eight before, further than this series ever moves.

The difference is judged by its own tail, so a jumpy process raises its own threshold. The level before the shift is
kept while the episode lasts; it ends when the signal is back half way, or when the new level has held for an hour.
The step back after a shift is the end of it, not a new one. Two within a day are a habit of the process: until they
are rarer again, only larger ones are told. Weakness: a slow change is no shift (see mates.py), and
on a sensor without mates a legitimate step of the process cannot be told from a fault.
"""

import math

from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.model import Finding, Window
from fieldstream_central.detect.packing import State
from fieldstream_central.detect.past import RING, Past
from fieldstream_central.detect.tail import Tail

RECENT = 3
MIN_BEFORE = 4
FLOOR_NOISES = 3.0
HOLD_MS = 3_600_000.0
RETURN_MS = 86_400_000.0
HABIT_FROM, HABIT_MS, HABIT_FACTOR = 1.3, 2.0 * 86_400_000.0, 1.3  # e-folding time of the count of shifts


class ShiftDetector(State):
    """Level-shift detection of one series.

    `moved` is how far the last notable move was, in thresholds, `moved_noises` in noises, `moved_at` when: other
    sensors of the asset ask for it, because what moves together has a common cause.
    """

    FIELDS = (
        "reference",
        "size",
        "since",
        "holding",
        "ended_at",
        "quiet",
        "moved",
        "moved_noises",
        "moved_at",
        "habit",
        "shifts",
        "shifted_at",
    )
    PARTS = ("tail",)
    __slots__ = (*FIELDS, "tail")
    name, version = "level-shift", "1"

    def __init__(self) -> None:
        self.reference = self.size = self.since = self.holding = 0.0
        self.ended_at = -math.inf
        self.quiet = 0.0
        self.moved = self.moved_noises = 0.0
        self.moved_at = -math.inf
        self.habit = self.shifts = 0.0  # size that is usual here, and how many there were of late
        self.shifted_at = -math.inf
        self.tail = Tail()

    def check(self, window: Window, past: Past, _settings: SensorSettings) -> Finding | None:
        """A finding while a shift stands, or, if `holding` is 0, a candidate that still needs `confirm`."""
        ring = past.ring
        count = len(ring)
        if count < RECENT - 1 + MIN_BEFORE:
            return self._standing(window, window.mean) if self.holding else None
        mean = window.mean
        recent = (ring[-1] + ring[-2] + mean) / 3.0
        if self.holding:
            return self._standing(window, recent)
        before = ring[: count - 2]
        level = sum(before) / (count - 2)
        difference = recent - level
        size = -difference if difference < 0.0 else difference
        tail = self.tail
        if size > 0.5 * tail.threshold or size > FLOOR_NOISES * past.noise:
            self.moved, self.moved_at = size / tail.threshold, float(window.window_end)
            self.moved_noises = size / past.noise if past.noise > 0.0 else 0.0
        if self.quiet > 0.0:
            self.quiet -= 1.0
            return None
        if size > tail.threshold and size > FLOOR_NOISES * past.noise:
            return self._candidate(window, past, level, difference)
        if not past.disturbed:
            tail.learn(size, past.ln_p)
        return None

    def _candidate(self, window: Window, past: Past, level: float, difference: float) -> Finding | None:
        ring = past.ring
        together = all((value - level) / difference > 0.5 for value in (ring[-1], ring[-2], window.mean))
        if not together:
            return None  # a spike, or a move still under way: the next window tells
        if self._is_return(window, difference):
            self.quiet, self.size = float(RING), 0.0
            return None
        if self._habitual(window, abs(difference)):
            self.size = difference
            self.dismiss(past)
            return None
        self.reference, self.size = level, difference
        self.since = float(past.last_ts - past.step_ms)
        return self._finding(window, level + difference)

    def _is_return(self, window: Window, difference: float) -> bool:
        recently = window.window_end - self.ended_at < RETURN_MS
        return recently and self.size != 0.0 and -2.0 < difference / self.size < -0.5

    def _habitual(self, window: Window, size: float) -> bool:
        """Whether shifts of this size have become usual; then this one counts as a further one."""
        self.shifts *= math.exp(max((self.shifted_at - window.window_end) / HABIT_MS, -50.0))
        self.shifted_at = float(window.window_end)
        if self.shifts < HABIT_FROM or size > self.habit:
            return False
        self.shifts += 1.0
        return True

    def confirm(self) -> None:
        """The candidate is not explained by the asset's other sensors: it stands."""
        self.holding = 1.0
        self.habit = max(self.habit if self.shifts > 0.5 else 0.0, HABIT_FACTOR * abs(self.size))
        self.shifts += 1.0

    def dismiss(self, past: Past) -> None:
        """The candidate is explained: learn its size as ordinary and look away while it passes through the ring."""
        self.tail.learn(abs(self.size), past.ln_p)
        self.size, self.quiet = 0.0, float(RING)

    def _standing(self, window: Window, recent: float) -> Finding | None:
        back = (recent - self.reference) / self.size < 0.5
        lasted = window.window_end - self.since
        if back or lasted > HOLD_MS:
            self.holding, self.ended_at, self.quiet = 0.0, float(window.window_end), float(RING)
            if back:
                self.size = 0.0
            return None
        return self._finding(window, recent)

    def _finding(self, window: Window, recent: float) -> Finding:
        unit = f" {window.unit}" if window.unit else ""
        way = "up" if self.size > 0 else "down"
        half = self.tail.threshold
        return Finding(
            kind="level-shift",
            reason=f"level went {way} from {self.reference:.5g}{unit} to {recent:.5g}{unit}; "
            f"moves of this sensor usually stay below {half:.2g}{unit}",
            started_at=int(self.since),
            observed=recent,
            expected=self.reference,
            expected_low=self.reference - half,
            expected_high=self.reference + half,
            score=min(1.0, 0.5 * abs(self.size) / half) if half > 0 else 1.0,
        )
