"""What every detector of a series needs to know about its past: rhythm, last windows, noise of one reading."""

import math
from collections.abc import Iterator

from fieldstream_central.detect.model import Window
from fieldstream_central.detect.packing import State

RING = 11
STATISTICS = 6  # per window and series; the allowed false alarms are shared among them
DAY_MS = 86_400_000.0
_NOISE_MEMORY = 500.0
_FEW = 4  # readings per window below which their own spread says little


class Past(State):
    """Rhythm and recent windows of one series.

    `noise` is the standard deviation of a single reading about its local level: from the spread inside a window,
    freed of its trend, or from second differences of the means where windows hold fewer than four readings.
    """

    FIELDS = (
        *("windows", "last_start", "last_end", "last_ts", "last_value", "step_ms", "period_ms", "ln_p"),
        *("noise", "noise_n", "mean1", "mean2", "max1", "max2", "max3", "min1", "min2", "min3", "rate"),
    )
    __slots__ = (*FIELDS, "disturbed", "noise_now", "ring")

    def __init__(self) -> None:
        self.windows = 0.0
        self.last_start = self.last_end = self.last_ts = self.last_value = math.nan
        self.step_ms = self.period_ms = 0.0
        self.ln_p = 16.0
        self.noise = self.noise_n = 0.0
        self.mean1 = self.mean2 = math.nan
        self.max1 = self.max2 = self.max3 = self.min1 = self.min2 = self.min3 = math.nan
        self.rate = 0.0
        self.noise_now = math.nan  # of the window at hand
        self.disturbed = False  # a finding stands: what is seen now is not ordinary and teaches nothing
        self.ring: list[float] = []

    def numbers(self) -> list[float]:
        """Fields, then the ring padded to its full length."""
        return [*super().numbers(), *self.ring, *([math.nan] * (RING - len(self.ring)))]

    def restore(self, numbers: Iterator[float]) -> None:
        """Inverse of `numbers`."""
        super().restore(numbers)
        self.ring = [value for _, value in zip(range(RING), numbers, strict=False) if not math.isnan(value)]

    def noise_of(self, window: Window) -> float:
        """Noise of a reading as this window alone shows it; NaN if it cannot."""
        if window.count >= _FEW:
            spread = window.stddev * window.stddev
            trend = window.last - window.first
            trend = trend * trend - 2.0 * spread
            return math.sqrt(max(spread - trend / 12.0, 0.0)) if trend > 0.0 else window.stddev
        # |second difference| has mean 0.8 * sqrt(6) noise deviations, less the averaging within windows.
        return abs(self.mean2 - 2.0 * self.mean1 + window.mean) * 0.511 * math.sqrt(window.count)

    def advance(self, window: Window, allowed_per_day: float) -> None:
        """Takes a window into the past, after all detectors have seen it."""
        noise = self.noise_now
        start = window.window_start
        if self.windows > 0.0:
            step = start - self.last_start
            if self.step_ms == 0.0:
                self.step_ms = step
            elif step < 2.5 * self.step_ms:
                self.step_ms += 0.1 * (step - self.step_ms)
            else:
                self.step_ms += 0.01 * (step - self.step_ms)
            count = window.count
            period = (window.last_ts - window.first_ts) / (count - 1) if count > 1 else window.last_ts - self.last_ts
            if self.period_ms == 0.0:
                self.period_ms = period
            else:
                rate = 0.1 if period < 2.5 * self.period_ms else 0.01
                self.period_ms += rate * (period - self.period_ms)
        if not math.isnan(noise):
            seen = self.noise_n = min(self.noise_n + 1.0, _NOISE_MEMORY)
            if seen > 5.0:
                noise = min(noise, 1.5 * self.noise)
            self.noise += (noise - self.noise) / seen
        self.windows += 1.0
        if self.windows % 64 == 2.0 or self.rate != allowed_per_day:
            self.rate = allowed_per_day
            per_day = DAY_MS / max(self.step_ms, 1.0)
            self.ln_p = max(math.log(per_day * STATISTICS / allowed_per_day), 3.0)
        self.last_start, self.last_end = start, window.window_end
        self.last_ts, self.last_value = window.last_ts, window.last
        self.mean2, self.mean1 = self.mean1, window.mean
        self.max3, self.max2, self.max1 = self.max2, self.max1, window.max
        self.min3, self.min2, self.min1 = self.min2, self.min1, window.min
        ring = self.ring
        ring.append(window.mean)
        if len(ring) > RING:
            del ring[0]

    def interrupt(self) -> None:
        """After a gap or maintenance the recent windows say nothing about the next one."""
        self.ring.clear()
        self.mean1 = self.mean2 = math.nan
        self.max1 = self.max2 = self.max3 = self.min1 = self.min2 = self.min3 = math.nan
