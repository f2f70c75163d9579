"""A group of mates at work: gathers blocks, lets them be judged, and turns verdicts into episodes."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fieldstream_central.detect.echoes import ABOUT
from fieldstream_central.detect.episodes import Place
from fieldstream_central.detect.incident import AFTERMATH_MS, NAME, VERSION, AssetIncident, echoes
from fieldstream_central.detect.judgement import READY_BLOCKS, READY_MS, Verdict, accuse, judge_block
from fieldstream_central.detect.mates import Floats, MateModel
from fieldstream_central.detect.model import Anomaly, Finding, Window
from fieldstream_central.detect.residuals import Suspicion
from fieldstream_central.detect.series import SeriesDetection

if TYPE_CHECKING:
    from fieldstream_central.detect.asset_detection import LikeAssets, Told

_TELLING = frozenset(("stuck", "noise", "resolution"))  # detectors whose word on a sensor spares it the mates'
_EXPLAINED_SHARE = 0.35  # of a step that may remain after the mates' prediction
_YOUNG_RATIO = 2.5  # thresholds that a step must be of while the mates are still learning
_STANDS_SHARE = 0.4  # of a step that must show in the residual


class Group:
    """The mate model of some sensors of one asset, and those sensors."""

    def __init__(
        self, model: MateModel, series: Mapping[str, SeriesDetection], like: "LikeAssets | None", *, shadow: bool
    ) -> None:
        self.model, self._series = model, series
        self._like = like
        self._shadow = shadow
        self.incident: AssetIncident | None = None
        self.errors = 0

    def on_window(self, series: SeriesDetection, window: Window) -> list[Anomaly]:
        """Adds a window; the first one beyond the block closes it and has it judged."""
        model = self.model
        block = window.window_start // model.block_ms
        steps: list[Anomaly] = []
        if block > model.block:
            if model.block >= 0:
                model.skip(block - model.block - 1)
                try:
                    steps = self._close(window.window_start)
                except Exception:  # counted, as for every detector; it stops no other
                    self.errors += 1
            model.block = window.window_start // model.block_ms
        model.take(series.member, window.mean, window.last_ts)
        return steps

    def explains(self, series: SeriesDetection, moved_together: int) -> bool:
        """Whether the asset's other sensors account for a step of this one that has just been seen."""
        if len(self.model.members) < 2:
            return False
        if not self.model.ready or self.model.total < READY_BLOCKS or self.model.age_ms < READY_MS / 4:
            return moved_together > 0
        if moved_together >= max(2, (len(self.model.members) - 1) / 2) or self._predicted(series):
            return True
        self._accuse(series)
        return True  # for now: the mates have the word

    def _accuse(self, series: SeriesDetection) -> None:
        """Puts a step on trial: the mates tell within minutes whether the plant or the sensor has changed."""
        test = self.model.tests[series.member]
        if not test.on_trial and not test.held and test.scale > 0:
            shift = series.learned.shift
            size = abs(shift.size) / self.model.scale[series.member]
            if abs(float(self.model.echoes.recent()[series.member])) < _STANDS_SHARE * size:
                return  # a step back to what the mates predict: if it ends a fault, the residual's own jump tells
            ratio = abs(shift.size) / shift.tail.threshold
            if ratio < _YOUNG_RATIO and self.model.age_ms < READY_MS:
                return  # the mates' word is not worth much yet
            accuse(self.model, series.member, Suspicion("level-shift", ratio, float(size)))

    def _predicted(self, series: SeriesDetection) -> bool:
        """Whether the mates predict the series' last step, within what the model usually misses."""
        model = self.model
        test = model.tests[series.member]
        now, before = np.empty(len(model.members)), np.empty(len(model.members))
        for member, key in enumerate(model.members):
            ring = self._series[key].past.ring
            if len(ring) < 5:
                now[member] = before[member] = model.center[member]
                continue
            now[member] = sum(ring[-3:]) / 3
            before[member] = sum(ring[:-3]) / (len(ring) - 3)
        at_ms = float(model.block * model.block_ms)
        _, expected_now = model.predict(model.standardise(now), at_ms)
        _, expected_before = model.predict(model.standardise(before), at_ms)
        member = series.member
        step = (now[member] - before[member]) / model.scale[member]
        missed = abs(step - (expected_now[member] - expected_before[member]))
        if missed < _EXPLAINED_SHARE * abs(step):
            return True
        return bool(missed < test.jump_tail.threshold * test.jump_scale)

    def _close(self, now_ms: int) -> list[Anomaly]:
        model = self.model
        at_ms = model.block * model.block_ms
        members = [self._series[key] for key in model.members]
        values = model.close_block(max(series.past.step_ms for series in members))
        if values is None:
            return []
        settings = members[0].settings
        like, left = self._told(at_ms)
        verdicts = judge_block(
            model,
            values,
            float(at_ms),
            like=like,
            left=left,
            broken=np.array([bool(_TELLING & series.book.active.keys()) for series in members]),
            noises=np.array([series.past.noise for series in members]),
            allowed_per_day=settings.false_alarms_per_sensor_day,
            accept_ms=settings.accept_after_h * 3_600_000,
        )
        if self._like is not None and model.ready:
            for series, test in zip(members, model.tests, strict=True):
                if not (math.isnan(test.raw) or math.isnan(test.left)):
                    test.told_at = float(at_ms)
                    self._like.tell(series.place.metric, test.told_at, (test.raw, test.left))
        steps: list[Anomaly] = []
        for verdict in verdicts:
            series = members[verdict.member]
            if NAME not in series.settings.disabled:
                steps += self._publish(series, verdict, now_ms)
        return steps

    def _told(self, at_ms: int) -> tuple[Floats, Floats]:
        """What like assets' sensors showed in the block before, and what was left of it."""
        if self._like is None:
            return np.zeros(len(self.model.members)), np.zeros(len(self.model.members))
        before = float(at_ms - self.model.block_ms)
        own: dict[str, list[Told]] = {}
        metrics = [self._series[key].place.metric for key in self.model.members]
        for metric, test in zip(metrics, self.model.tests, strict=True):
            if test.told_at == before:
                own.setdefault(metric, []).append((test.raw, test.left))
        medians = np.array([self._like.median(metric, before, own.get(metric, [])) for metric in metrics])
        return medians[:, 0], medians[:, 1]

    def asset_incident(self) -> AssetIncident:
        """The asset's own episode."""
        if self.incident is None:
            at = self._series[self.model.members[0]].place
            place = Place(at.device_id, "", at.site, at.area, at.asset_id, at.asset_type)
            self.incident = AssetIncident(place, shadow=self._shadow)
        return self.incident

    def _publish(self, series: SeriesDetection, verdict: Verdict, now_ms: int) -> list[Anomaly]:
        series.changed = True
        last_ts = self.model.last_ts(verdict.member)
        if verdict.suspicion is None:
            if self.incident is not None and series.key in self.incident.doubted:
                return self.incident.gone(series.key, last_ts, now_ms)
            return series.book.gone(NAME, last_ts, now_ms)
        finding = self._finding(series, verdict, verdict.suspicion, last_ts)
        others = [] if series.book.open else self._others_to_blame(verdict, now_ms)
        if others:
            sensors = [series.key, *others]
            return self.asset_incident().found(sensors, finding, now_ms, series.settings)
        return series.book.found(NAME, VERSION, finding, now_ms, series.settings)

    def _others_to_blame(self, verdict: Verdict, now_ms: int) -> list[str]:
        """Sensors that explain the verdict as well, and those of which something is told or was just now."""
        members = self.model.members
        rival = int(self.model.tests[verdict.member].rival)
        others = {members[rival]} if 0 <= rival < len(members) else set()
        told = [(key, self._series[key].book) for key in members]
        if self.incident is not None:
            told += [(key, self.incident.book) for key in self.incident.sensors]
        others |= {key for key, book in told if echoes(book, now_ms)}
        tried = zip(members, self.model.tests, strict=True)
        others |= {key for key, test in tried if now_ms - test.tried_at < AFTERMATH_MS}
        return sorted(others - {members[verdict.member]})

    def _finding(self, series: SeriesDetection, verdict: Verdict, suspicion: Suspicion, last_ts: int) -> Finding:
        difference = verdict.observed - verdict.expected
        mates = [key for key in self.model.members if key != series.key]
        named = ", ".join(mates[:3]) + (f" and {len(mates) - 3} more" if len(mates) > 3 else "")
        basis = f"what {named} predict" if mates else "its daily pattern"
        return Finding(
            kind=suspicion.kind,
            reason=f"reads {abs(difference):.3g} {'above' if difference > 0 else 'below'} {basis} "
            f"({verdict.observed:.5g} instead of {verdict.expected:.5g})",
            started_at=last_ts - (ABOUT // 2 * self.model.block_ms if suspicion.kind == "spike" else 0),
            observed=verdict.observed,
            expected=verdict.expected,
            expected_low=verdict.expected - verdict.band,
            expected_high=verdict.expected + verdict.band,
            score=min(1.0, 0.5 * suspicion.ratio),
        )
