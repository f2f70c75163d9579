"""Gap: a sensor has fallen silent for longer than its rhythm explains. Judged when event time passes a deadline.

The deadline is 3.2 reading periods after the last reading, more if the sensor has been irregular. Weakness: of an
irregular sensor (reports on change) long silence is normal, and is learned as such.
"""

import math

from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.model import Finding, Window
from fieldstream_central.detect.packing import State
from fieldstream_central.detect.past import Past
from fieldstream_central.detect.stuck import duration

MIN_WINDOWS = 3
PERIODS = 3.2
_LONGEST_FACTOR = 2.0
_DECAY_PER_WINDOW = 0.9995


class GapRule(State):
    """Silence of one series. `over` says that a gap finding is standing."""

    FIELDS = ("longest_ms", "over")
    __slots__ = FIELDS
    name, version = "gap", "1"

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self.over = 0.0

    def heard(self, window: Window, past: Past) -> None:
        """A window has come: silence ends, its length is learned unless it was a finding."""
        if past.windows > 0 and not self.over:
            silence = window.first_ts - past.last_ts
            self.longest_ms = max(self.longest_ms * _DECAY_PER_WINDOW, min(silence, 5.0 * max(past.period_ms, 1.0)))
        self.over = 0.0

    def deadline(self, past: Past, settings: SensorSettings) -> int | None:
        """Event time at which continued silence is a gap; None while the rhythm is unknown or a gap stands."""
        if self.over or past.windows < MIN_WINDOWS or math.isnan(past.last_ts):
            return None
        if settings.gap_s is not None:
            allowed = settings.gap_s * 1000
        else:
            allowed = max(
                PERIODS * past.period_ms, _LONGEST_FACTOR * self.longest_ms + past.period_ms, settings.gap_min_s * 1000
            )
        return int(past.last_ts + allowed)

    def finding(self, past: Past, event_time_ms: int) -> Finding:
        """The gap, as far as it reaches at this event time."""
        self.over = 1.0
        silent = duration(event_time_ms - past.last_ts)
        return Finding(
            kind="gap",
            reason=f"no reading for {silent}; usually one every {duration(past.period_ms)}",
            started_at=int(past.last_ts + past.period_ms),
        )
