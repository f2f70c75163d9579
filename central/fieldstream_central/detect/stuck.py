"""Stuck value: the same reading again and again, longer than this sensor ever does by itself.

A window is flat when all its readings equal the last one of the window before. The share of flat windows gives the
length of run that the allowed false alarms permit; the longest run seen so far is respected on top. A series that
never varied is not judged. Weakness: a sensor that is honestly constant for long (a tank at rest, coarse steps)
raises its own limit, so being stuck is found late there.
"""

import math

from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.model import Finding, Window
from fieldstream_central.detect.packing import State
from fieldstream_central.detect.past import Past

MIN_WINDOWS = 3
MIN_READINGS = 5
MIN_VARIED = 5  # windows that must have varied before anything is judged
_MEMORY = 5000.0
_LONGEST_FACTOR = 2.5
_DOUBT = 1.5  # standard deviations of a count
_RARER = 3.0  # natural logs by which a run of single readings is to be rarer than allowed: a window or two longer


class StuckRule(State):
    """Stuck detection of one series."""

    FIELDS = ("run_windows", "run_readings", "run_start", "varied", "flats", "longest", "active")
    __slots__ = FIELDS
    name, version = "stuck", "1"

    def __init__(self) -> None:
        self.run_windows = self.run_readings = self.run_start = 0.0
        self.varied = self.flats = self.longest = 0.0
        self.active = 0.0

    def check(self, window: Window, past: Past, settings: SensorSettings) -> Finding | None:
        """Finding while the value stands still for too long."""
        if window.max != window.min or window.min != past.last_value:
            self._run_over(window, past)
            return None
        self.run_windows += 1.0
        self.run_readings += window.count
        if self.varied < MIN_VARIED:
            return None
        lasted_ms = window.last_ts - self.run_start
        if settings.stuck_s is not None:
            stuck = lasted_ms >= settings.stuck_s * 1000
        else:
            allowed = self._allowed_windows(past.ln_p, window.count)
            stuck = self.run_windows >= allowed and self.run_readings >= MIN_READINGS
        if not stuck:
            return None
        self.active = 1.0
        unit = f" {window.unit}" if window.unit else ""
        return Finding(
            kind="stuck",
            reason=f"stuck at {window.last:.6g}{unit} for {duration(lasted_ms)}",
            started_at=int(self.run_start),
            observed=window.last,
            expected_low=window.last - past.noise,
            expected_high=window.last + past.noise,
        )

    def _allowed_windows(self, ln_p: float, readings: int) -> float:
        # Two imagined flat windows among forty, and as many more as chance may have withheld: a short history must not
        # claim that flat windows hardly happen.
        flats = self.flats + 2.0
        share = (flats + _DOUBT * math.sqrt(flats)) / (self.varied + self.flats + 40.0)
        by_chance = (ln_p + (_RARER if readings == 1 else 0.0)) / -math.log(share)
        return max(MIN_WINDOWS, by_chance, _LONGEST_FACTOR * self.longest + 1.0)

    def _run_over(self, window: Window, past: Past) -> None:
        run = self.run_windows
        if run > 0.0:
            if not self.active:
                self.longest = max(self.longest * 0.995, run)
                self.flats += run
            self.run_windows = 0.0
        self.varied += 1.0
        if self.varied + self.flats > _MEMORY:
            self.varied *= 0.5
            self.flats *= 0.5
        self.active = 0.0
        self.run_readings = 1.0
        # The second reading of a run is the first known to show it: two equal ones make a run.
        self.run_start = window.last_ts + past.period_ms


def duration(milliseconds: float) -> str:
    """A length of time as people say it."""
    seconds = milliseconds / 1000
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 86_400:.1f} days"
