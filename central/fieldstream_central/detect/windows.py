"""Readings to window rows, as the pipeline makes them: tumbling event-time windows, corrections for late readings.

A window is emitted when event time passes its end, in order of (end, device, metric); a reading for a window already
emitted gives a correction with a higher revision, up to the allowed lateness. The first reading of an identity
stands; repeats are dropped.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fieldstream_central.detect.model import Window

WINDOW_MS = 10_000
ALLOWED_LATENESS_MS = 600_000


@dataclass(frozen=True, slots=True)
class SensorEntry:
    """What the asset registry says about a sensor."""

    asset_id: str = ""
    asset_type: str = ""
    unit: str | None = None
    low_low: float | None = None
    low: float | None = None
    high: float | None = None
    high_high: float | None = None


UNKNOWN = SensorEntry()
Key = tuple[str, str]


class _Open:
    """One window being filled. Sums are taken relative to the first value, which keeps the variance exact."""

    __slots__ = ("first", "first_ts", "last", "last_ts", "least", "most", "offset", "seen", "squares", "total")

    def __init__(self, ts: int, value: float) -> None:
        self.seen = {ts}
        self.offset = self.first = self.last = self.least = self.most = value
        self.first_ts = self.last_ts = ts
        self.total = self.squares = 0.0

    def add(self, ts: int, value: float) -> bool:
        if ts in self.seen:
            return False
        self.seen.add(ts)
        difference = value - self.offset
        self.total += difference
        self.squares += difference * difference
        if value < self.least:
            self.least = value
        elif value > self.most:
            self.most = value
        if ts > self.last_ts:
            self.last_ts, self.last = ts, value
        elif ts < self.first_ts:
            self.first_ts, self.first = ts, value
        return True


class Windower:
    """Windows of all series. `duplicates`, `too_late` and `not_finite` count what was left out."""

    def __init__(self, registry: Mapping[Key, SensorEntry]) -> None:
        self._registry = registry
        self._slots: dict[int, dict[Key, _Open]] = {}
        self._emitted_to = -1  # slots below this were emitted
        self.duplicates = self.too_late = self.not_finite = 0

    def add(self, key: Key, ts: int, value: float) -> Iterator[Window]:
        """Takes a reading; yields the windows that event time has passed by it, and corrections."""
        if not math.isfinite(value):
            self.not_finite += 1
            return
        slot = ts // WINDOW_MS
        if slot > self._emitted_to and slot not in self._slots:
            yield from self.advance(slot)
            self._slots[slot] = {}
        if ts < self._emitted_to * WINDOW_MS - ALLOWED_LATENESS_MS:
            self.too_late += 1
            return
        windows = self._slots.setdefault(slot, {})
        window = windows.get(key)
        if window is None:
            windows[key] = window = _Open(ts, value)
        elif not window.add(ts, value):
            self.duplicates += 1
            return
        if slot < self._emitted_to:
            yield self._row(key, slot, window)

    def advance(self, slot: int) -> Iterator[Window]:
        """Emits all windows before this slot number and forgets those beyond the allowed lateness."""
        for number in sorted(number for number in self._slots if self._emitted_to <= number < slot):
            for key in sorted(self._slots[number]):
                yield self._row(key, number, self._slots[number][key])
        self._emitted_to = max(self._emitted_to, slot)
        horizon = slot - ALLOWED_LATENESS_MS // WINDOW_MS - 1
        for number in [number for number in self._slots if number < horizon]:
            del self._slots[number]

    @property
    def event_time_ms(self) -> int:
        """All windows that end by this time were emitted."""
        return self._emitted_to * WINDOW_MS

    def finish(self) -> Iterator[Window]:
        """Emits what is left."""
        if self._slots:
            yield from self.advance(max(self._slots) + 1)

    def _row(self, key: Key, slot: int, window: _Open) -> Window:
        entry = self._registry.get(key, UNKNOWN)
        count = len(window.seen)
        mean = window.total / count
        return Window(
            key[0],
            key[1],
            slot * WINDOW_MS,
            slot * WINDOW_MS + WINDOW_MS,
            count,
            window.offset + mean,
            math.sqrt(max(window.squares / count - mean * mean, 0.0)),
            window.least,
            window.most,
            window.first,
            window.last,
            window.first_ts,
            window.last_ts,
            "",
            "",
            entry.asset_id,
            entry.asset_type,
            entry.unit,
            entry.low_low,
            entry.low,
            entry.high,
            entry.high_high,
            count,
        )
