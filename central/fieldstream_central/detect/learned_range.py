"""Learned range: a window's extreme lies further out than the range that this sensor has ever shown explains.

With an exponential tail the largest of n windows lies ln(n) scales from the middle; so an extreme at (1 + e) times
the learned half range has a probability of about exp(-(1 + e) ln n), which the allowed false alarms bound. The range
grows by at most a quarter of its half per window and not at all while a finding stands; the finding ends when two
windows are back inside. Off by default (`enabled = ["learned-range"]`): it suits signals without operating modes,
such as a machine's temperature, and finds what has no other mark than being higher than ever. Weakness: the first
visit to a new but legitimate level is an alarm.
"""

import math

from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.model import Finding, Window
from fieldstream_central.detect.packing import State
from fieldstream_central.detect.past import Past

MIN_WINDOWS = 10
_GROWTH = 0.25


class LearnedRange(State):
    """Range novelty of one series."""

    FIELDS = ("low", "high", "seen", "since", "holding", "back")
    __slots__ = FIELDS
    name, version = "learned-range", "1"

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.seen = self.since = self.holding = self.back = 0.0

    def check(self, window: Window, past: Past, _settings: SensorSettings) -> Finding | None:
        """Finding while readings are outside the learned range."""
        if self.seen == 0.0:
            self.seen, self.low, self.high = 1.0, window.min, window.max
            return None
        excess = max(window.max - self.high, self.low - window.min, 0.0)
        if self.holding:
            self.back = 0.0 if excess > 0.0 else self.back + 1.0
            if self.back >= 2.0:
                self.holding = self.back = 0.0
                return None
            return self._finding(window)
        half = 0.5 * (self.high - self.low)
        self.seen += 1.0
        if excess > 2.0 * past.noise and self.seen > MIN_WINDOWS and half > 0.0:
            surprise = (1.0 + excess / half) * math.log(self.seen)
            if surprise > past.ln_p:
                self.holding, self.since = 1.0, float(window.last_ts)
                return self._finding(window)
        grow = _GROWTH * half if self.seen > MIN_WINDOWS else math.inf
        self.low, self.high = (
            max(min(self.low, window.min), self.low - grow),
            min(max(self.high, window.max), self.high + grow),
        )
        return None

    def _finding(self, window: Window) -> Finding:
        above = window.max > self.high
        observed = window.max if above or window.min >= self.low else window.min
        return Finding(
            kind="out-of-range",
            reason=f"{observed:.5g} is outside everything seen before ({self.low:.5g} to {self.high:.5g})",
            started_at=int(self.since),
            observed=observed,
            expected_low=self.low,
            expected_high=self.high,
        )
