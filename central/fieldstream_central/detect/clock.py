"""Clock: a sensor that reports in a steady rhythm suddenly does so at other moments, and goes on like that.

What counts is how far a reading is from a whole number of periods after the one before, judged by its own tail; one
late reading is nothing, the next three must keep to the new moments. The finding ends when the old moments are back,
or after an hour (at least fifty periods) as the new normal. Weakness: a jump by whole periods shows as missing or
doubled readings only, one backwards by more than a window as late data; a device that restarts within three periods
looks the same; what reports irregularly is not judged.
"""

import math

from fieldstream_central.detect.gap import PERIODS
from fieldstream_central.detect.model import Finding, Window
from fieldstream_central.detect.packing import State
from fieldstream_central.detect.past import Past
from fieldstream_central.detect.stuck import duration
from fieldstream_central.detect.tail import Tail

KNOWN_READINGS = 60.0
KEPT_READINGS = 3.0  # that must keep to the new moments
HOLD_MS, HOLD_PERIODS = 3_600_000.0, 50.0
LEAST_SHARE, LEAST_MS = 0.02, 200.0  # of a period, and at least: so much do honest devices hesitate
MOST_JITTER_SHARE = 0.15  # of a period; beyond there is no rhythm to speak of
RETURNED_SHARE = 0.25  # of a jump that may be left when it is over
_FOLLOW = 0.02


class ClockRule(State):
    """Rhythm of one series. `holding` is 1 while its readings come at other moments than they used to."""

    FIELDS = ("period_ms", "offset_ms", "kept", "since", "holding")
    PARTS = ("tail",)
    __slots__ = (*FIELDS, *PARTS)
    name, version = "clock", "1"

    def __init__(self) -> None:
        self.period_ms = self.offset_ms = self.kept = self.since = self.holding = 0.0
        self.tail = Tail()

    def check(self, window: Window, past: Past) -> Finding | None:
        """Finding while readings come at other moments than they used to."""
        interval = window.last_ts - past.last_ts
        if past.windows < 3.0:
            self.period_ms = past.period_ms
            return None
        if not 0.0 < interval <= (PERIODS + window.count - 1) * self.period_ms:
            self.offset_ms = self.holding = 0.0  # after a gap the rhythm may be any
            return None
        off = interval - max(round(interval / self.period_ms), 1) * self.period_ms
        limit = self._limit()
        if abs(off) > limit:
            self._jumped(off, limit, window)
        else:
            self.kept += 1.0
            self.period_ms += max(_FOLLOW, 1.0 / past.windows) * off
            self.tail.learn(abs(off), past.ln_p)
        if not self.offset_ms or self.kept < KEPT_READINGS:
            return self._finding() if self.holding else None
        self.holding = 1.0
        if window.last_ts - self.since > max(HOLD_MS, HOLD_PERIODS * self.period_ms):
            self.offset_ms = self.holding = 0.0
            return None
        return self._finding()

    def _limit(self) -> float:
        tail = self.tail
        usual = tail.threshold if math.isfinite(tail.threshold) else 0.0
        if tail.total < KNOWN_READINGS or usual > MOST_JITTER_SHARE * self.period_ms:
            return math.inf
        return max(usual, LEAST_SHARE * self.period_ms, LEAST_MS)

    def _jumped(self, off: float, limit: float, window: Window) -> None:
        before = self.offset_ms
        self.offset_ms += off
        if abs(self.offset_ms) < max(limit, RETURNED_SHARE * abs(before)):
            self.offset_ms = self.holding = 0.0
        elif not self.holding:
            self.since, self.kept = float(window.last_ts), 0.0

    def _finding(self) -> Finding:
        way = "later" if self.offset_ms > 0.0 else "earlier"
        return Finding(
            kind="clock",
            reason=f"readings come {duration(abs(self.offset_ms))} {way} than their rhythm of one every "
            f"{duration(self.period_ms)} lets expect: the device's clock has jumped, or it has started anew",
            started_at=int(self.since),
            severity="info",
        )
