"""Alarm limits LL, L, H, HH (ISA-18.2) with deadband and on/off delay, and the rate-of-change limit.

The mean of a window is compared, so that one noisy reading is no alarm; where a window holds fewer than three
readings, L and H must be broken twice in a row. Limits that contradict each other are ignored as a whole and
counted. Weakness: an excursion shorter than a window hides in the mean; the spike detector sees it.
"""

from fieldstream_central.detect.config import SensorSettings, contradictory
from fieldstream_central.detect.model import Finding, Window
from fieldstream_central.detect.packing import State
from fieldstream_central.detect.past import Past

KINDS = ("limit-low-low", "limit-low", "limit-high", "limit-high-high")
_WORDS = {"limit-low-low": "LL", "limit-low": "L", "limit-high": "H", "limit-high-high": "HH"}


class LimitRule(State):
    """Limit alarms of one series."""

    FIELDS = ("active", "since", "pending_since", "clear_since", "contradictions")
    __slots__ = FIELDS
    name, version = "limit", "1"

    def __init__(self) -> None:
        self.active = -1.0  # index into KINDS
        self.since = self.pending_since = self.clear_since = 0.0
        self.contradictions = 0.0

    def check(self, window: Window, past: Past, settings: SensorSettings) -> Finding | None:
        """Finding while a limit is broken."""
        low_low = window.low_low if settings.low_low is None else settings.low_low
        low = window.low if settings.low is None else settings.low
        high = window.high if settings.high is None else settings.high
        high_high = window.high_high if settings.high_high is None else settings.high_high
        mean = window.mean
        if self.active < 0.0 and (
            (high is None or mean <= high)
            and (high_high is None or mean <= high_high)
            and (low is None or mean >= low)
            and (low_low is None or mean >= low_low)
        ):
            self.pending_since = 0.0
            return None
        limits = (low_low, low, high, high_high)
        if contradictory(limits):
            self.contradictions += 1.0
            self.active = -1.0
            return None
        broken = _broken(mean, limits)
        if broken is not None:
            return self._broken(broken, window, past, settings, limits[broken] or 0.0)
        return self._inside(window, past, settings, limits)

    def _broken(self, index: int, window: Window, past: Past, settings: SensorSettings, limit: float) -> Finding | None:
        self.clear_since = 0.0
        if self.active < 0.0:
            if self.pending_since == 0.0:
                self.pending_since = float(window.last_ts)
                if index in (1, 2) and window.count < 3 and past.windows > 0:
                    return None
            if window.last_ts - self.pending_since < settings.on_delay_s * 1000:
                return None
            self.since = self.pending_since
            self.active = float(index)
        elif abs(index - 1.5) > abs(self.active - 1.5) or (index < 2) != (self.active < 2.0):
            self.active = float(index)  # escalates; it does not fall back to H before it is over
        return self._finding(window, limit)

    def _inside(
        self, window: Window, past: Past, settings: SensorSettings, limits: tuple[float | None, ...]
    ) -> Finding | None:
        index = int(self.active)
        if index < 0:
            return None
        # Back inside means: inside the milder limit of that side, by the deadband.
        edge = limits[1] if index < 2 and limits[1] is not None else limits[2] if index >= 2 else None
        edge = edge if edge is not None else limits[index]
        if edge is None:
            self.active = -1.0
            return None
        span = [limit for limit in limits if limit is not None]
        deadband = max(
            settings.deadband_share * (max(span) - min(span)), 2.0 * past.noise / max(window.count, 1) ** 0.5
        )
        inside = window.mean > edge + deadband if index < 2 else window.mean < edge - deadband
        if not inside:
            self.clear_since = 0.0
            return self._finding(window, edge)
        if self.clear_since == 0.0:
            self.clear_since = float(window.first_ts)
        if window.window_end - self.clear_since >= settings.off_delay_s * 1000:
            self.active, self.clear_since, self.pending_since = -1.0, 0.0, 0.0
            return None
        return self._finding(window, edge)

    def _finding(self, window: Window, limit: float) -> Finding:
        index = int(self.active)
        kind = KINDS[index]
        below = index < 2
        unit = f" {window.unit}" if window.unit else ""
        return Finding(
            kind=kind,
            reason=f"{window.mean:.5g}{unit} is {'below' if below else 'above'} limit {_WORDS[kind]} "
            f"({limit:.5g}{unit})",
            started_at=int(self.since),
            severity="critical" if index in (0, 3) else "warning",
            observed=window.mean,
            expected=limit,
            expected_low=limit if below else None,
            expected_high=None if below else limit,
        )


def _broken(mean: float, limits: tuple[float | None, ...]) -> int | None:
    for index in (0, 1):
        limit = limits[index]
        if limit is not None and mean < limit:
            return index
    for index in (3, 2):
        limit = limits[index]
        if limit is not None and mean > limit:
            return index
    return None


class RateRule(State):
    """Configured rate-of-change limit, units per minute; without one it never finds anything."""

    FIELDS = ("since",)
    __slots__ = FIELDS
    name, version = "rate-of-change", "1"

    def __init__(self) -> None:
        self.since = 0.0

    def check(self, window: Window, past: Past, settings: SensorSettings) -> Finding | None:
        """Finding while the mean moves faster than allowed."""
        allowed = settings.max_rate_per_min
        if allowed is None or past.mean1 != past.mean1:
            return None
        minutes = max(window.window_start - past.last_start, 1) / 60_000
        rate = (window.mean - past.mean1) / minutes
        if abs(rate) <= allowed:
            self.since = 0.0
            return None
        self.since = self.since or float(window.last_ts)
        return Finding(
            kind="rate-of-change",
            reason=f"changes by {rate:.4g} per minute; allowed are {allowed:.4g}",
            started_at=int(self.since),
            observed=rate,
            expected_low=-allowed,
            expected_high=allowed,
        )
