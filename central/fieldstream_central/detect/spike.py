"""Spike: one window whose extreme sticks out of both its neighbours, then all is as before.

The statistic is how far the window's maximum exceeds the larger maximum of the windows before and after (or below,
for minima); pairs of windows are compared as well, for spikes that straddle a boundary. A step or ramp sticks out of
nothing, so the process may move. Judged one window late, by the statistic's own tail. Weakness: where one reading
fills a window, noise itself sticks out, and only spikes of about seven noise deviations are seen.
"""

import math

from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.model import Finding, Window
from fieldstream_central.detect.packing import State
from fieldstream_central.detect.past import Past
from fieldstream_central.detect.tail import Tail

FLOOR_NOISES = 4.0


class SpikeDetector(State):
    """Spike detection of one series."""

    PARTS = ("tail",)
    __slots__ = PARTS
    name, version = "spike", "1"

    def __init__(self) -> None:
        self.tail = Tail()

    def check(self, window: Window, past: Past, _settings: SensorSettings) -> Finding | None:
        """Finding about the window before this one."""
        max1, max2, min1, min2 = past.max1, past.max2, past.min1, past.min2
        if math.isnan(min2):
            return None
        top, bottom = window.max, window.min
        up = max1 - (max2 if max2 > top else top)
        down = (min2 if min2 < bottom else bottom) - min1
        max3, min3 = past.max3, past.min3
        if not math.isnan(max3):
            pair = (max1 if max1 < max2 else max2) - (max3 if max3 > top else top)
            up = max(up, pair)
            pair = (min3 if min3 < bottom else bottom) - (min1 if min1 > min2 else min2)
            down = max(down, pair)
        size = up if up > down else down
        size = max(0.0, size)
        tail, threshold = self.tail, self.tail.threshold
        told = size > threshold and size > FLOOR_NOISES * past.noise and past.noise_n > 5.0
        if told or not past.disturbed:
            tail.learn(size, past.ln_p)  # also what is told: what comes back again and again is ordinary
        if not told:
            return None
        observed = max1 if up > down else min1
        expected = 0.5 * (past.mean2 + window.mean)
        return Finding(
            kind="spike",
            reason=f"one reading at {observed:.5g}, {abs(observed - expected):.3g} away from {expected:.5g} "
            "just before and after",
            started_at=int(past.last_ts),
            observed=observed,
            expected=expected,
            expected_low=expected - threshold,
            expected_high=expected + threshold,
            score=min(1.0, 0.5 * size / threshold),
            over_at=int(past.last_ts),
        )
