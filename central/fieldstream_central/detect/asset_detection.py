"""Detection for everything that belongs to one asset: no broker, no Flink, no clock, only windows and event time.

State comes apart by series, so that a window row rewrites little: part "series:DEVICE/METRIC" per series, part
"group:N" per group of mates, part "asset" for what concerns several series. What was dumped and loaded goes on
exactly as if it had never stopped.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from fieldstream_central.detect.config import DetectionConfig, Maintenance
from fieldstream_central.detect.episodes import EpisodeBook, Place
from fieldstream_central.detect.group import Group
from fieldstream_central.detect.mates import MAX_MEMBERS, MateModel
from fieldstream_central.detect.model import Anomaly, Finding, Window
from fieldstream_central.detect.packing import pack, unpack
from fieldstream_central.detect.plug_ins import Detector, load_plug_ins
from fieldstream_central.detect.series import SeriesDetection, moved_together

_SERIES, _GROUP, _ASSET = "series:", "group:", "asset"
Told = tuple[float, float]  # a residual without the word of like assets, and what is left with it, each in its scale


class LikeAssets(Protocol):
    """What assets of the same kind tell each other; see cohort.py."""

    def tell(self, metric: str, at_ms: float, told: Told) -> None:
        """A sensor's residuals of a block."""

    def median(self, metric: str, at_ms: float, own: list[Told]) -> Told:
        """Medians of the others' residuals of that metric in a block; NaN: too few spoke."""


class AssetDetection:
    """All detectors of one asset (or of one device, where the asset is unknown).

    Windows arrive roughly in order of event time; a window that is older than the newest of its series, or the same
    with a higher revision, is a correction. `on_time` says that event time has passed a point: silence is judged
    then, and candidates that waited for the asset's other sensors. `errors` counts exceptions by detector.
    """

    def __init__(
        self, key: str, config: DetectionConfig, like: LikeAssets | None = None, *, shadow: bool = False
    ) -> None:
        self.key, self.config = key, config
        self._like = like
        self._shadow_flag = shadow
        self._plug_ins: tuple[Detector, ...] = load_plug_ins(config.plug_ins)
        self._series: dict[str, SeriesDetection] = {}
        self._groups: list[Group] = []
        self._device_books: dict[str, EpisodeBook] = {}
        self._silent: dict[str, list[str]] = {}  # device -> its sensors in a standing silence
        self._clocks_off: set[str] = set()  # sensors whose readings come at other moments than they used to
        self._pending: list[tuple[SeriesDetection, str, Finding, int]] = []
        self._pending_at: int | None = None
        self._next_gap: int | None = None
        self._maintenance: tuple[Maintenance, ...] = config.maintenance
        self._asset_changed = False
        self.shadow = AssetDetection(key, config.shadow, shadow=True) if config.shadow else None

    @classmethod
    def load(
        cls, key: str, parts: Mapping[str, bytes], config: DetectionConfig, like: LikeAssets | None = None
    ) -> "AssetDetection":
        """Detection with the state that `dump_changed` gave before; {} starts anew. Raises StateVersionError."""
        detection = cls(key, config, like)
        detection._restore({name: part for name, part in parts.items() if not name.startswith("shadow:")})
        if detection.shadow is not None:
            shadow_parts = {name[7:]: part for name, part in parts.items() if name.startswith("shadow:")}
            detection.shadow._restore(shadow_parts)
        return detection

    @property
    def errors(self) -> dict[str, int]:
        """Exceptions in detectors so far, by detector; they stopped nothing else."""
        total: dict[str, int] = {}
        for series in self._series.values():
            for name, count in series.errors.items():
                total[name] = total.get(name, 0) + count
        for group in self._groups:
            if group.errors:
                total["mates"] = total.get("mates", 0) + group.errors
        return total

    def set_maintenance(self, maintenance: Iterable[Maintenance]) -> None:
        """Replaces the planned maintenance of the configuration."""
        self._maintenance = tuple(maintenance)
        if self.shadow is not None:
            self.shadow.set_maintenance(self._maintenance)

    def on_window(self, window: Window) -> list[Anomaly]:
        """Takes a window row in; returns the steps of episodes that follow from it."""
        steps = self._on_window(window)
        if self.shadow is not None:
            steps += self.shadow.on_window(window)
        return steps

    def on_time(self, event_time_ms: int) -> list[Anomaly]:
        """Event time has advanced to this."""
        steps: list[Anomaly] = []
        if self._pending_at is not None and event_time_ms >= self._pending_at:
            steps += self._decide()
        if self._next_gap is not None and event_time_ms >= self._next_gap:
            steps += self._silences(event_time_ms)
        if self.shadow is not None:
            steps += self.shadow.on_time(event_time_ms)
        return steps

    def next_deadline(self) -> int | None:
        """Event time at which `on_time` is needed next; None: not before another window has come."""
        due = [at for at in (self._pending_at, self._next_gap) if at is not None]
        if self.shadow is not None and (shadow_due := self.shadow.next_deadline()) is not None:
            due.append(shadow_due)
        return min(due) if due else None

    def _on_window(self, window: Window) -> list[Anomaly]:
        series = self._series.get(f"{window.device_id}/{window.metric}") or self._new_series(window)
        if window.window_start <= series.past.last_start:
            return series.correct(window)
        steps: list[Anomaly] = []
        if self._pending_at is not None and window.window_start >= self._pending_at:
            steps = self._decide()
        if self._maintenance and self._maintained(series, window.window_start):
            return steps + series.pause(window)
        if self._silent and window.device_id in self._silent:
            steps += self._heard(window)
        found, candidates = series.on_window(window)
        if found:
            steps += found
        if self._clocks_off or series.clock is not None:
            steps += self._clock(series, window)
        if candidates:
            self._pend(series, candidates, window.window_end)
            if len(self._series) == 1:
                steps += self._decide()
        group = self._groups[series.group]
        steps += group.on_window(series, window)
        if group.incident is not None and group.incident.changed:
            self._asset_changed = True
        deadline = series.deadline()
        if deadline is not None and (self._next_gap is None or deadline < self._next_gap):
            self._next_gap = deadline
        return steps

    def _new_series(self, window: Window) -> SeriesDetection:
        place = Place(window.device_id, window.metric, window.site, window.area, window.asset_id, window.asset_type)
        series = self._add(place)
        for number, group in enumerate(self._groups):
            if len(group.model.members) < MAX_MEMBERS:
                series.group = number
                break
        else:
            self._groups.append(self._group(MateModel()))
            series.group = len(self._groups) - 1
        series.member = self._groups[series.group].model.add(series.key)
        return series

    def _group(self, model: MateModel) -> Group:
        return Group(model, self._series, self._like, shadow=self._shadow_flag)

    def _add(self, place: Place) -> SeriesDetection:
        settings = self.config.of(place.asset_type, place.device_id, place.metric)
        series = SeriesDetection(place, settings, self._plug_ins, shadow=self._shadow_flag)
        self._series[series.key] = series
        return series

    def _maintained(self, series: SeriesDetection, at_ms: int) -> bool:
        place = series.place
        return any(work.covers(place.asset_id, place.device_id, place.metric, at_ms) for work in self._maintenance)

    def _pend(self, series: SeriesDetection, candidates: list[tuple[str, Finding]], at_ms: int) -> None:
        waiting = {(other.key, name) for other, name, _, _ in self._pending}
        for name, finding in candidates:
            if (series.key, name) not in waiting:
                self._pending.append((series, name, finding, at_ms))
        if self._pending:
            self._pending_at = max(item[3] for item in self._pending)
        self._asset_changed = True

    def _decide(self) -> list[Anomaly]:
        """Candidates whose time has come: what moved together has a common cause and is dismissed."""
        pending, self._pending, self._pending_at = self._pending, [], None
        self._asset_changed = True
        steps: list[Anomaly] = []
        spiking = {series.key for series, name, _, _ in pending if name == "spike"}
        for series, name, finding, at_ms in pending:
            others = [other for other in self._series.values() if other is not series]
            if name == "spike":
                explained = len(spiking) > 1
            elif name == "noise":
                excess = series.learned.noise.excess(series.past)
                explained = any(other.learned.noise.explains(other.past, excess, at_ms) for other in others)
            elif series.learned.shift.holding:
                continue
            else:
                together = sum(moved_together(series, other, at_ms) for other in others)
                explained = self._groups[series.group].explains(series, together)
            if explained:
                series.dismiss(name)
            else:
                steps += series.accept(name, finding, at_ms)
        return steps

    def _silences(self, event_time_ms: int) -> list[Anomaly]:
        """Gaps due by now: one episode per sensor, or one per device if all of its sensors fell silent."""
        steps: list[Anomaly] = []
        due: dict[str, list[SeriesDetection]] = {}
        for series in self._series.values():
            deadline = series.deadline()
            if deadline is not None and deadline <= event_time_ms:
                if not self._maintained(series, event_time_ms):
                    due.setdefault(series.place.device_id, []).append(series)
                series.changed = True
        for device_id, silent in due.items():
            ours = [series for series in self._series.values() if series.place.device_id == device_id]
            findings = [(series, series.learned.gap.finding(series.past, event_time_ms)) for series in silent]
            if len(silent) == len(ours) > 1:
                steps += self._device_silent(device_id, findings, event_time_ms)
            else:
                for series, finding in findings:
                    steps += series.book.found("gap", "1", finding, event_time_ms, series.settings)
        deadlines = [at for at in (series.deadline() for series in self._series.values()) if at is not None]
        # Under maintenance a deadline may lie behind: looked at again with the next window.
        self._next_gap = min((at for at in deadlines if at > event_time_ms), default=None)
        return steps

    def _device_silent(
        self, device_id: str, findings: list[tuple[SeriesDetection, Finding]], at_ms: int
    ) -> list[Anomaly]:
        first, finding = min(findings, key=lambda item: item[1].started_at)
        members = sorted(series.key for series, _ in findings)
        finding.kind = "gap"
        finding.reason = f"device silent, all {len(members)} sensors: {finding.reason}"
        self._silent[device_id] = members
        return self._of_device(first, "gap", finding, members, at_ms)

    def _clock(self, series: SeriesDetection, window: Window) -> list[Anomaly]:
        """A device's sensors share its clock, so all that show its jump are one episode."""
        off, at_ms = self._clocks_off, window.window_end
        if series.clock is not None:
            off.add(series.key)
            ours = sorted(key for key in off if self._series[key].place.device_id == window.device_id)
            return self._of_device(series, "clock", series.clock, ours, at_ms)
        if series.key not in off:
            return []
        off.discard(series.key)
        self._asset_changed = True
        if any(self._series[key].place.device_id == window.device_id for key in off):
            return []
        return self._device_books[window.device_id].gone("clock", window.first_ts, at_ms)

    def _of_device(
        self, series: SeriesDetection, detector: str, finding: Finding, members: list[str], at_ms: int
    ) -> list[Anomaly]:
        """An episode of the whole device, to which `series` belongs."""
        self._asset_changed = True
        at = series.place
        place = Place(at.device_id, "", at.site, at.area, at.asset_id, at.asset_type)
        book = self._device_books.setdefault(at.device_id, EpisodeBook(place, self._shadow_flag))
        steps = book.found(detector, "1", finding, at_ms, series.settings)
        if book.current is not None:
            book.current.members = sorted({*book.current.members, *members})
            for step in steps:
                step.members = book.current.members
        return steps

    def _heard(self, window: Window) -> list[Anomaly]:
        """A device that was silent as a whole speaks again."""
        self._asset_changed = True
        members = self._silent.pop(window.device_id)
        for key in members:
            series = self._series[key]
            series.changed = True
            if key != f"{window.device_id}/{window.metric}":
                # Its own silence, if it lasts, is judged afresh from now on.
                series.learned.gap.over = 0.0
                series.past.last_ts = float(window.last_ts)
                series.past.interrupt()
        return self._device_books[window.device_id].gone("gap", window.first_ts, window.window_end)

    def dump_changed(self) -> dict[str, bytes]:
        """State parts that changed since the last call."""
        parts: dict[str, bytes] = {}
        for key, series in self._series.items():
            if series.changed:
                series.changed = False
                parts[_SERIES + key] = series.dump()
        for number, group in enumerate(self._groups):
            if group.model.changed:
                group.model.changed = False
                parts[f"{_GROUP}{number}"] = group.model.dump()
        if self._asset_changed:
            self._asset_changed = False
            parts[_ASSET] = self._dump_asset()
        if self.shadow is not None:
            parts.update({f"shadow:{name}": part for name, part in self.shadow.dump_changed().items()})
        return parts

    def _dump_asset(self) -> bytes:
        books = {
            device_id: [[getattr(book.place, name) for name in Place.__slots__], book.to_json()]
            for device_id, book in self._device_books.items()
        }
        pending = [
            [series.key, name, [getattr(finding, field) for field in Finding.__slots__], at_ms]
            for series, name, finding, at_ms in self._pending
        ]
        incidents = [None if group.incident is None else group.incident.to_json() for group in self._groups]
        of_devices = {"books": books, "silent": self._silent, "clocks_off": sorted(self._clocks_off)}
        return pack([], {**of_devices, "pending": pending, "incidents": incidents})

    def _restore(self, parts: Mapping[str, bytes]) -> None:
        groups = sorted((name for name in parts if name.startswith(_GROUP)), key=lambda name: int(name[6:]))
        self._groups = [self._group(MateModel.load(parts[name])) for name in groups]
        for name in _series_in_order(parts, self._groups):
            series = self._add(SeriesDetection.place_of(parts[name]))
            series.restore(parts[name])
        if _ASSET in parts:
            self._restore_asset(unpack(parts[_ASSET])[1] or {})
        deadlines = [at for at in (series.deadline() for series in self._series.values()) if at is not None]
        self._next_gap = min(deadlines, default=None)

    def _restore_asset(self, saved: dict[str, Any]) -> None:
        for device_id, (place, book) in saved.get("books", {}).items():
            self._device_books[device_id] = EpisodeBook(Place(*place), self._shadow_flag)
            self._device_books[device_id].from_json(book)
        for group, incident in zip(self._groups, saved.get("incidents", ()), strict=False):
            if incident is not None:
                group.asset_incident().from_json(incident)
        self._silent = saved.get("silent", {})
        self._clocks_off = set(saved.get("clocks_off", ()))
        self._pending = [
            (self._series[key], name, Finding(*finding), at_ms)
            for key, name, finding, at_ms in saved.get("pending", [])
        ]
        if self._pending:
            self._pending_at = max(item[3] for item in self._pending)


def _series_in_order(parts: Mapping[str, bytes], groups: list[Group]) -> Iterator[str]:
    """Series parts in the order in which the series first appeared."""
    for group in groups:
        for key in group.model.members:
            if _SERIES + key in parts:
                yield _SERIES + key
