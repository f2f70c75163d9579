"""Life of an episode: open, update, close; one at a time per series, whatever number of detectors agree.

Findings of further detectors join the open episode: it takes the kind and reason of the most severe finding and
names the others. A finding soon after the end re-opens the episode instead of making a new one. The identity is a
hash of sensor, detector and start, so a replay after a crash gives the same one. Revisions only rise.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.model import Anomaly, Finding

SLOW_COOL_DOWN_MS = 3 * 3_600_000
SEVERITIES = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Place:
    """What an anomaly says about where it is."""

    device_id: str
    metric: str
    site: str = ""
    area: str = ""
    asset_id: str = ""
    asset_type: str = ""


@dataclass(slots=True)
class EpisodeBook:
    """The open or last closed episode of one series (or of one asset)."""

    place: Place
    shadow: bool = False
    current: Anomaly | None = None
    active: dict[str, str] = field(default_factory=dict)  # detector -> kind of its standing finding
    reported_at: int = 0
    least_cool_down_ms: float = 0.0  # sixty windows: slow sensors repeat themselves slowly

    def _cool_down_ms(self, detector: str, settings: SensorSettings) -> float:
        # What the mates doubt again soon after is the same doubt: a slow fault crosses its threshold more than once.
        slow = SLOW_COOL_DOWN_MS if self.current is not None and detector == self.current.detector == "mates" else 0.0
        return max(settings.cool_down_s * 1000, self.least_cool_down_ms, slow)

    @property
    def open(self) -> bool:
        """Whether an episode stands."""
        return self.current is not None and self.current.ended_at is None

    def found(
        self, detector: str, version: str, finding: Finding, at_ms: int, settings: SensorSettings
    ) -> list[Anomaly]:
        """A detector's finding at event time `at_ms`; returns the steps to publish."""
        known = self.active.get(detector)
        self.active[detector] = finding.kind
        episode = self.current
        if episode is None or (
            episode.ended_at is not None and at_ms - episode.ended_at > self._cool_down_ms(detector, settings)
        ):
            steps = [self._opened(detector, version, finding, at_ms)]
        elif episode.ended_at is not None:
            if finding.over_at is not None and finding.kind == episode.kind:
                self.active.pop(detector, None)
                return []  # the same blip seen again in the next window
            episode.ended_at = None
            self._take(detector, version, finding)
            steps = [self._step("open", at_ms)]
        else:
            steps = self._joined(detector, version, finding, at_ms=at_ms, known=known, settings=settings)
        if finding.over_at is not None:
            self.active.pop(detector, None)
            if not self.active:
                steps += self._closed(max(finding.over_at, finding.started_at), at_ms)
        return steps

    def gone(self, detector: str, ended_at: int, at_ms: int) -> list[Anomaly]:
        """The detector's finding no longer holds."""
        if self.active.pop(detector, None) is None or not self.open or self.active:
            return []
        return self._closed(ended_at, at_ms)

    def close_all(self, ended_at: int, at_ms: int, why: str) -> list[Anomaly]:
        """Ends whatever stands, for a reason outside the detectors (maintenance)."""
        self.active.clear()
        if not self.open or self.current is None:
            return []
        self.current.reason = f"{self.current.reason}; {why}"
        return self._closed(ended_at, at_ms)

    def corrected(self, observed: float, at_ms: int, why: str) -> list[Anomaly]:
        """A late correction concerns the episode: it is updated, never doubled."""
        if self.current is None:
            return []
        self.current.observed = observed
        base = self.current.reason.split("; corrected", 1)[0]
        self.current.reason = f"{base}; corrected: {why}"
        return [self._step("close" if self.current.ended_at is not None else "update", at_ms)]

    def _opened(self, detector: str, version: str, finding: Finding, at_ms: int) -> Anomaly:
        place = self.place
        started_at = min(finding.started_at, at_ms)
        name = f"{place.device_id}\0{place.metric}\0{place.asset_id}\0{detector}\0{started_at}\0{self.shadow}"
        self.current = Anomaly(
            anomaly_id=hashlib.sha256(name.encode()).hexdigest()[:24],
            device_id=place.device_id,
            metric=place.metric,
            site=place.site,
            area=place.area,
            asset_id=place.asset_id,
            asset_type=place.asset_type,
            detector=detector,
            detector_version=version,
            kind=finding.kind,
            severity=finding.severity,
            state="open",
            started_at=started_at,
            detected_at=at_ms,
            observed=finding.observed,
            expected=finding.expected,
            expected_low=finding.expected_low,
            expected_high=finding.expected_high,
            score=finding.score,
            reason=finding.reason,
            evidence_start=started_at,
            evidence_end=at_ms,
            shadow=self.shadow,
            revision=0,
        )
        return self._step("open", at_ms)

    def _joined(
        self, detector: str, version: str, finding: Finding, *, at_ms: int, known: str | None, settings: SensorSettings
    ) -> list[Anomaly]:
        episode = self.current
        assert episode is not None  # noqa: S101 - `found` has looked
        rank, now = SEVERITIES.index(finding.severity), SEVERITIES.index(episode.severity)
        if rank > now:
            self._take(detector, version, finding)
            return [self._step("update", at_ms)]
        if detector == episode.detector:
            changed = finding.kind != episode.kind and rank == now
            if changed or at_ms - self.reported_at >= settings.update_every_s * 1000:
                self._take(detector, version, finding)
                return [self._step("update", at_ms)]
            return []
        if known is None:
            base, _, others = episode.reason.partition("; also ")
            if finding.kind != episode.kind and finding.kind not in others.split(", "):
                episode.reason = f"{base}; also {', '.join(filter(None, [others, finding.kind]))}"
                return [self._step("update", at_ms)]
        return []

    def _take(self, detector: str, version: str, finding: Finding) -> None:
        episode = self.current
        assert episode is not None  # noqa: S101 - callers have looked
        others = episode.reason.partition("; also ")[2]
        if SEVERITIES.index(finding.severity) >= SEVERITIES.index(episode.severity):
            episode.severity = finding.severity
            episode.detector, episode.detector_version = detector, version
            episode.kind = finding.kind
            episode.reason = finding.reason + (f"; also {others}" if others else "")
            episode.observed, episode.expected = finding.observed, finding.expected
            episode.expected_low, episode.expected_high = finding.expected_low, finding.expected_high
        episode.score = max(episode.score, finding.score)

    def _closed(self, ended_at: int, at_ms: int) -> list[Anomaly]:
        episode = self.current
        assert episode is not None  # noqa: S101 - callers have looked
        episode.ended_at = max(min(ended_at, at_ms), episode.started_at)
        return [self._step("close", at_ms)]

    def _step(self, state: str, at_ms: int) -> Anomaly:
        episode = self.current
        assert episode is not None  # noqa: S101 - callers have looked
        episode.state = state
        episode.revision += 1
        episode.evidence_end = max(episode.evidence_end, at_ms)
        self.reported_at = at_ms
        return Anomaly.from_record(episode.to_record())

    def to_json(self) -> dict[str, Any] | None:
        """What must survive; None if there is nothing."""
        if self.current is None:
            return None
        return {"episode": self.current.to_record(), "active": self.active, "reported_at": self.reported_at}

    def from_json(self, saved: dict[str, Any] | None) -> None:
        """Inverse of `to_json`."""
        if saved:
            self.current = Anomaly.from_record(saved["episode"])
            self.active, self.reported_at = dict(saved["active"]), int(saved["reported_at"])
