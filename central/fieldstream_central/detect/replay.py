"""What detection would have done: recorded readings through the same code as in the live job, one pass.

Writes anomalies.csv, one row per episode and sensor.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fieldstream_central.detect.asset_detection import AssetDetection
from fieldstream_central.detect.cohort import CohortDetection, cohort_key
from fieldstream_central.detect.config import DetectionConfig
from fieldstream_central.detect.dataset import Dataset
from fieldstream_central.detect.model import Anomaly, Window
from fieldstream_central.detect.windows import Windower

COLUMNS = (
    *("device_id", "metric", "asset_id", "detector", "kind", "severity"),
    *("started_at", "detected_at", "ended_at", "score", "reason"),
)


class Bench:
    """Many cohorts' detection in one process, driven by window rows and event time as the Flink job drives it."""

    def __init__(self, config: DetectionConfig) -> None:
        self._config = config
        self._cohorts: dict[str, CohortDetection] = {}
        self.rows = 0

    def on_window(self, window: Window) -> list[Anomaly]:
        """A window row for whichever asset it belongs to."""
        key = cohort_key(window)
        cohort = self._cohorts.get(key)
        if cohort is None:
            cohort = self._cohorts[key] = CohortDetection(self._config)
        self.rows += 1
        return cohort.on_window(window)

    def on_time(self, event_time_ms: int) -> list[Anomaly]:
        """Event time has advanced."""
        return [step for cohort in self._cohorts.values() for step in cohort.on_time(event_time_ms)]

    @property
    def assets(self) -> Mapping[str, AssetDetection]:
        """Detection by asset."""
        return {key: asset for cohort in self._cohorts.values() for key, asset in cohort.assets.items()}

    @property
    def errors(self) -> dict[str, int]:
        """Exceptions in detectors, by detector."""
        total: dict[str, int] = {}
        for cohort in self._cohorts.values():
            for name, count in cohort.errors.items():
                total[name] = total.get(name, 0) + count
        return total


@dataclass
class Outcome:
    """Result of a replay. `episodes` holds each at its last revision, in order of detection."""

    episodes: dict[str, Anomaly] = field(default_factory=dict)
    steps: int = 0
    windows: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def take(self, steps: Iterable[Anomaly]) -> None:
        """Adds steps of episodes."""
        for step in steps:
            self.episodes[step.anomaly_id] = step
            self.steps += 1


def replay(dataset: Dataset, config: DetectionConfig) -> Outcome:
    """Runs detection over a dataset. Raises DatasetError."""
    config = replace(config, maintenance=config.maintenance + dataset.maintenance)
    bench, windower, outcome = Bench(config), Windower(dataset.registry), Outcome()
    event_time = -1
    for key, ts, value in dataset.readings():
        for window in windower.add(key, ts, value):
            outcome.take(bench.on_window(window))
        if windower.event_time_ms > event_time:
            event_time = windower.event_time_ms
            outcome.take(bench.on_time(event_time))
    for window in windower.finish():
        outcome.take(bench.on_window(window))
    outcome.take(bench.on_time(windower.event_time_ms))
    outcome.windows, outcome.errors = bench.rows, bench.errors
    outcome.left_out = {
        "duplicates": windower.duplicates,
        "too_late": windower.too_late,
        "not_finite": windower.not_finite,
    }
    return outcome


def replay_windows(windows: Iterable[Window], config: DetectionConfig) -> Outcome:
    """Runs detection over window rows in order of their ends, as the job takes them."""
    bench, outcome, event_time = Bench(config), Outcome(), -1
    for window in windows:
        if window.window_end > event_time:
            outcome.take(bench.on_time(event_time))
            event_time = window.window_end
        outcome.take(bench.on_window(window))
    outcome.take(bench.on_time(event_time))
    outcome.windows, outcome.errors = bench.rows, bench.errors
    return outcome


def sensors_of(episode: Anomaly) -> list[str]:
    """Sensors that the episode is about, "DEVICE/" for an asset as a whole; a device stands for its sensors."""
    of_device = episode.kind in ("gap", "clock") and episode.members
    return episode.members if of_device else [f"{episode.device_id}/{episode.metric}"]


def write_anomalies(path: Path, episodes: Iterable[Anomaly]) -> int:
    """Writes anomalies.csv; returns the number of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for episode in sorted(episodes, key=lambda one: (one.detected_at, one.device_id, one.metric)):
            for member in sensors_of(episode):
                device_id, _, metric = member.rpartition("/")
                ended_at = "" if episode.ended_at is None else episode.ended_at
                writer.writerow(
                    (
                        *(device_id, metric, episode.asset_id, episode.detector, episode.kind, episode.severity),
                        *(episode.started_at, episode.detected_at, ended_at, f"{episode.score:.4g}", episode.reason),
                    )
                )
                rows += 1
    return rows
