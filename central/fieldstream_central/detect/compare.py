"""What would change: the episodes of two sets of settings on the same data, or of the live and the shadow detectors."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fieldstream_central.detect.model import Anomaly

DAY_MS = 86_400_000
SAME_MS = 1_800_000  # episodes of one sensor that begin this close are the same finding


@dataclass
class Change:
    """Episodes only the second set has (added), only the first has (removed), and how many both have."""

    added: list[Anomaly] = field(default_factory=list)
    removed: list[Anomaly] = field(default_factory=list)
    kept: int = 0

    def figures(self) -> dict[str, Any]:
        """Counts in all and per day."""
        times = [episode.detected_at for episode in self.added + self.removed]
        days = sorted({time // DAY_MS for time in times})
        per_day = {
            str(day * DAY_MS): {
                "added": sum(episode.detected_at // DAY_MS == day for episode in self.added),
                "removed": sum(episode.detected_at // DAY_MS == day for episode in self.removed),
            }
            for day in days
        }
        return {"added": len(self.added), "removed": len(self.removed), "kept": self.kept, "per_day": per_day}


def compare_episodes(before: Iterable[Anomaly], after: Iterable[Anomaly]) -> Change:
    """Matches episodes of the same sensor that overlap or begin within half an hour of each other."""
    change = Change()
    left: dict[tuple[str, str], list[Anomaly]] = {}
    for episode in before:
        left.setdefault((episode.device_id, episode.metric), []).append(episode)
    for episode in sorted(after, key=lambda one: one.detected_at):
        candidates = left.get((episode.device_id, episode.metric), [])
        match = next((other for other in candidates if _same(episode, other)), None)
        if match is None:
            change.added.append(episode)
        else:
            candidates.remove(match)
            change.kept += 1
    change.removed = sorted(
        (episode for episodes in left.values() for episode in episodes), key=lambda one: one.detected_at
    )
    return change


def _same(one: Anomaly, other: Anomaly) -> bool:
    begin, end = one.started_at - SAME_MS, (one.ended_at or one.detected_at) + SAME_MS
    return other.started_at <= end and (other.ended_at or other.detected_at) >= begin
