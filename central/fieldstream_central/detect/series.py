"""Everything that is learned about one series, and its detectors in their order."""

import math
from collections.abc import Iterator
from typing import Any, Protocol

from fieldstream_central.detect.clock import ClockRule
from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.episodes import EpisodeBook, Place
from fieldstream_central.detect.gap import GapRule
from fieldstream_central.detect.learned_range import LearnedRange
from fieldstream_central.detect.limits import LimitRule, RateRule
from fieldstream_central.detect.model import Anomaly, Finding, Window
from fieldstream_central.detect.noise import NoiseDetector, ResolutionDetector
from fieldstream_central.detect.packing import State, pack, unpack
from fieldstream_central.detect.past import Past
from fieldstream_central.detect.plug_ins import Detector
from fieldstream_central.detect.shift import FLOOR_NOISES, ShiftDetector
from fieldstream_central.detect.spike import SpikeDetector
from fieldstream_central.detect.stuck import StuckRule

INTERRUPTION_WINDOWS = 10.0
READINGS_KNOWN = 150.0  # readings before a spike, a step or more noise is called unusual
COOL_DOWN_WINDOWS, COOL_DOWN_MOST_MS, COOL_DOWN_FEWEST = 60.0, 3_600_000.0, 3.0


class _Check(Protocol):
    name: str
    version: str

    def check(self, window: Window, past: Past, settings: SensorSettings, /) -> Finding | None: ...


class Learned(State):
    """The learned numbers of one series: its past and its detectors, in the order in which they are packed."""

    PARTS = ("past", "limit", "rate", "stuck", "gap", "clock", "spike", "shift", "noise", "resolution", "range")
    __slots__ = PARTS

    def __init__(self) -> None:
        self.past = Past()
        self.limit, self.rate, self.stuck, self.gap = LimitRule(), RateRule(), StuckRule(), GapRule()
        self.clock = ClockRule()
        self.spike, self.shift = SpikeDetector(), ShiftDetector()
        self.noise, self.resolution = NoiseDetector(), ResolutionDetector()
        self.range = LearnedRange()


class SeriesDetection:
    """The detectors of one series. `errors` counts exceptions by detector."""

    def __init__(
        self, place: Place, settings: SensorSettings, plug_ins: tuple[Detector, ...] = (), *, shadow: bool = False
    ) -> None:
        self.place, self.settings = place, settings
        self.key = f"{place.device_id}/{place.metric}"
        self.learned = Learned()
        self.past = self.learned.past
        self.book = EpisodeBook(place, shadow)
        self.errors: dict[str, int] = {}
        self.changed = False
        self.clock: Finding | None = None  # stands for all sensors of the device, so the asset tells it
        self.member = -1  # number in the asset's mate model
        self.group = -1
        self._plug_ins = [plug_in for plug_in in plug_ins if plug_in.name not in settings.disabled]
        self._plug_in_state: dict[str, dict[str, Any]] = {}
        self.arrange()

    def arrange(self) -> None:
        """Sets up the order of detectors; to be called again after `learned` was replaced."""
        learned = self.learned
        self.past = learned.past
        order: list[_Check] = [learned.limit, learned.rate, learned.stuck, learned.noise, learned.resolution]
        order += [learned.spike, learned.shift]
        if learned.range.name in self.settings.enabled:
            order.append(learned.range)
        disabled = self.settings.disabled
        self.checks = [(check.name, check) for check in order if check.name not in disabled]
        self.gaps = learned.gap.name not in disabled
        self.clocks = learned.clock.name not in disabled

    def on_window(self, window: Window) -> tuple[list[Anomaly], list[tuple[str, Finding]]]:
        """Steps to publish, and candidates that the asset's other sensors may explain."""
        past, settings, book = self.past, self.settings, self.book
        self.changed = True
        learned = self.learned
        most_ms = max(COOL_DOWN_MOST_MS, COOL_DOWN_FEWEST * past.step_ms)
        book.least_cool_down_ms = min(COOL_DOWN_WINDOWS * past.step_ms, most_ms)
        at_ms = window.window_end
        steps: list[Anomaly] = []
        if learned.gap.over or (
            past.windows > 3.0 and window.window_start - past.last_start > INTERRUPTION_WINDOWS * past.step_ms
        ):
            past.interrupt()
        learned.gap.heard(window, past)
        if self.clocks:
            self.clock = learned.clock.check(window, past)
        if "gap" in book.active:
            steps += book.gone("gap", window.first_ts, at_ms)
        past.noise_now = past.noise_of(window)
        past.disturbed = bool(book.active) or learned.noise.raised
        candidates: list[tuple[str, Finding]] = []
        for name, check in self.checks:
            try:
                finding = check.check(window, past, settings)
            except Exception:  # a broken detector is counted and never stops the others
                self.errors[name] = self.errors.get(name, 0) + 1
                continue
            if finding is None:
                if name in book.active:
                    steps += book.gone(name, window.first_ts, at_ms)
            elif (
                name == "spike"
                or (name == "level-shift" and not learned.shift.holding)
                or (name == "noise" and not learned.noise.holding)
            ):
                if past.windows * past.step_ms < READINGS_KNOWN * past.period_ms:
                    self.dismiss(name)  # too little is known of what is ordinary
                else:
                    candidates.append((name, finding))
            else:
                steps += book.found(name, check.version, finding, at_ms, settings)
        if self._plug_ins:
            steps += self._run_plug_ins(window, at_ms)
        past.advance(window, settings.false_alarms_per_sensor_day)
        return steps, candidates

    def _run_plug_ins(self, window: Window, at_ms: int) -> list[Anomaly]:
        steps: list[Anomaly] = []
        for plug_in in self._plug_ins:
            try:
                finding = plug_in.on_window(window, self._plug_in_state.setdefault(plug_in.name, {}))
            except Exception:  # as above
                self.errors[plug_in.name] = self.errors.get(plug_in.name, 0) + 1
                continue
            if finding is not None:
                steps += self.book.found(plug_in.name, plug_in.version, finding, at_ms, self.settings)
            elif plug_in.name in self.book.active:
                steps += self.book.gone(plug_in.name, window.first_ts, at_ms)
        return steps

    def accept(self, name: str, finding: Finding, at_ms: int) -> list[Anomaly]:
        """A candidate that nothing explains."""
        self.changed = True
        if name == "level-shift":
            self.learned.shift.confirm()
        elif name == "noise":
            self.learned.noise.confirm()
        return self.book.found(name, "1", finding, at_ms, self.settings)

    def dismiss(self, name: str) -> None:
        """A candidate that the asset's other sensors explain."""
        self.changed = True
        if name == "level-shift":
            self.learned.shift.dismiss(self.past)
        elif name == "noise":
            self.learned.noise.dismiss(self.past)

    def correct(self, window: Window) -> list[Anomaly]:
        """A window that is a correction, or comes after later ones: it may touch an episode, or break a limit."""
        self.changed = True
        book, at_ms = self.book, max(window.window_end, int(self.past.last_end))
        episode = book.current
        covered = (
            episode is not None
            and window.last_ts >= episode.started_at
            and (episode.ended_at is None or window.first_ts <= episode.ended_at)
        )
        if covered and episode is not None:
            late = window.mean != episode.observed and episode.detector == "limit"
            return book.corrected(window.mean, at_ms, f"{window.count} readings by now") if late else []
        rule = LimitRule()
        rule.pending_since = float(window.last_ts)
        finding = rule.check(window, self.past, self.settings) if "limit" not in self.settings.disabled else None
        if finding is None or "limit" in book.active:
            return []
        finding.over_at = window.last_ts
        finding.reason += " (late data)"
        return book.found("limit", rule.version, finding, at_ms, self.settings)

    def pause(self, window: Window) -> list[Anomaly]:
        """Under maintenance: nothing is judged or learned; what stands is closed."""
        self.changed = True
        past = self.past
        past.interrupt()
        past.last_start, past.last_end = window.window_start, window.window_end
        past.last_ts, past.last_value = window.last_ts, window.last
        self.learned.gap.over = 0.0
        self.learned.shift.holding = 0.0
        return self.book.close_all(window.first_ts, window.window_end, "ended by planned maintenance")

    def deadline(self) -> int | None:
        """Event time at which continued silence is a gap."""
        return self.learned.gap.deadline(self.past, self.settings) if self.gaps else None

    def dump(self) -> bytes:
        """State as bytes."""
        rest: dict[str, Any] = {}
        if self.book.current is not None:
            rest["book"] = self.book.to_json()
        if self._plug_in_state:
            rest["plug_ins"] = self._plug_in_state
        rest["place"] = [getattr(self.place, name) for name in Place.__slots__]
        return pack([float(self.member), float(self.group), *self.learned.numbers()], rest)

    def restore(self, part: bytes) -> None:
        """Inverse of `dump`."""
        numbers, rest = unpack(part)
        source: Iterator[float] = iter(numbers)
        self.member, self.group = int(next(source)), int(next(source))
        self.learned.restore(source)
        self.book.from_json((rest or {}).get("book"))
        self._plug_in_state = (rest or {}).get("plug_ins", {})
        self.changed = False

    @staticmethod
    def place_of(part: bytes) -> Place:
        """Where the dumped series is."""
        return Place(*unpack(part)[1]["place"])


def moved_together(first: SeriesDetection, other: SeriesDetection, at_ms: int) -> bool:
    """Whether `other` made an unusual move at about the time of a candidate of `first`."""
    shift = other.learned.shift
    reach = 3.5 * max(first.past.step_ms, other.past.step_ms)
    if not math.isfinite(shift.moved_at) or abs(shift.moved_at - at_ms) > reach:
        return False
    # A wobble of a mate explains no leap: its move must be of comparable rarity or size.
    own = first.learned.shift
    return shift.moved > 0.3 * own.moved or shift.moved_noises > max(FLOOR_NOISES, 0.3 * own.moved_noises)
