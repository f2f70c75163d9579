"""One incident of the asset as a whole: for doubts of its mates that cannot be pinned on one sensor.

Two sensors that explain what is seen about equally well, and a further doubt in an asset where an episode stands or
has just ended, mostly come from one fault. They are told as one episode of the asset, without a metric, that names
the sensors; the sensors' own episodes stay as they are.
"""

from typing import Any

from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.episodes import EpisodeBook, Place
from fieldstream_central.detect.model import Anomaly, Finding

NAME, VERSION = "mates", "3"  # of the detector
# After the beginning and the end of an episode of one sensor, a doubt about another one is the asset's.
ONSET_MS, AFTERMATH_MS = 6 * 3_600_000, 2 * 3_600_000


def echoes(book: EpisodeBook, now_ms: int) -> bool:
    """Whether what is doubted now may be an echo of the book's episode."""
    episode = book.current
    if episode is None:
        return False
    return now_ms - episode.detected_at < ONSET_MS or 0 <= now_ms - (episode.ended_at or 0) < AFTERMATH_MS


class AssetIncident:
    """The asset's episode. `doubted` holds the sensors about which a doubt stands that was told here."""

    def __init__(self, place: Place, *, shadow: bool) -> None:
        self._place, self._shadow = place, shadow
        self.book = EpisodeBook(place, shadow)
        self.doubted: set[str] = set()
        self.changed = False

    @property
    def sensors(self) -> list[str]:
        """Sensors named so far."""
        return [] if self.book.current is None else self.book.current.members

    def found(self, sensors: list[str], finding: Finding, at_ms: int, settings: SensorSettings) -> list[Anomaly]:
        """A doubt about the first of `sensors`, which may as well be about the others."""
        self.doubted.add(sensors[0])
        self.changed = True
        finding.reason = f"{sensors[0]} {finding.reason}; the fault may as well be in {' or '.join(sensors[1:])}"
        steps = self.book.found(NAME, VERSION, finding, at_ms, settings)
        current = self.book.current
        if current is not None:
            current.members = sorted({*current.members, *sensors})
            for step in steps:
                step.members = current.members
        return steps

    def gone(self, sensor: str, ended_at: int, at_ms: int) -> list[Anomaly]:
        """The doubt about a sensor no longer stands."""
        self.doubted.discard(sensor)
        self.changed = True
        return [] if self.doubted else self.book.gone(NAME, ended_at, at_ms)

    def to_json(self) -> list[Any] | None:
        """What must survive; None if there is nothing."""
        self.changed = False
        saved = self.book.to_json()
        return None if saved is None else [saved, sorted(self.doubted)]

    def from_json(self, saved: list[Any]) -> None:
        """Inverse of `to_json`."""
        self.book.from_json(saved[0])
        self.doubted = set(saved[1])
