"""What detection would have done: recorded readings through the same code as in the live job, one pass.

Reads a folder with readings.csv (device_id, metric, ts, value; by ts), optional assets.csv and maintenance.csv, and
writes anomalies.csv, one row per episode and sensor. truth.csv is never opened.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fieldstream_central.detect.asset_detection import AssetDetection
from fieldstream_central.detect.cohort import CohortDetection, cohort_key
from fieldstream_central.detect.config import DetectionConfig, Maintenance, contradictory
from fieldstream_central.detect.model import Anomaly, Window
from fieldstream_central.detect.windows import UNKNOWN, Key, SensorEntry, Windower

COLUMNS = (
    *("device_id", "metric", "asset_id", "detector", "kind", "severity"),
    *("started_at", "detected_at", "ended_at", "score", "reason"),
)
LIMITS = ("low_low", "low", "high", "high_high")


class DatasetError(Exception):
    """A dataset that cannot be read; names file, line and remedy."""


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
class Dataset:
    """A folder of recorded data."""

    folder: Path
    registry: dict[Key, SensorEntry]
    maintenance: tuple[Maintenance, ...] = ()

    def readings(self) -> Iterator[tuple[Key, int, float]]:
        """Readings in file order. Raises DatasetError."""
        return read_readings(self.folder / "readings.csv")


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


def open_dataset(folder: Path) -> Dataset:
    """Dataset of a folder. Raises DatasetError."""
    if not (folder / "readings.csv").exists():
        raise DatasetError(f"{folder}: no readings.csv there: name the folder that holds it")
    assets = folder / "assets.csv"
    registry = read_assets(assets) if assets.exists() else {}
    maintenance = folder / "maintenance.csv"
    return Dataset(folder, registry, read_maintenance(maintenance) if maintenance.exists() else ())


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
    """Sensors that the episode is about, "DEVICE/" for an asset as a whole; a silent device stands for its sensors."""
    return episode.members if episode.kind == "gap" and episode.members else [f"{episode.device_id}/{episode.metric}"]


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


def _columns(path: Path, header: list[str], wanted: Iterable[str]) -> list[int]:
    missing = [name for name in wanted if name not in header]
    if missing:
        raise DatasetError(f"{path}: line 1: no column {', '.join(missing)}: the header must name it")
    return [header.index(name) for name in wanted]


def read_readings(path: Path) -> Iterator[tuple[Key, int, float]]:
    """Rows of readings.csv. An empty value or NaN is passed on as NaN. Raises DatasetError."""
    keys: dict[tuple[str, str], Key] = {}
    with path.open(newline="", encoding="utf-8", buffering=1 << 20) as file:
        rows = csv.reader(file)
        header = next(rows, [])
        device, metric, at, measured = _columns(path, header, ("device_id", "metric", "ts", "value"))
        for number, row in enumerate(rows, 2):
            if not row:
                continue
            try:
                key = (row[device], row[metric])
                ts, value = int(row[at]), float(row[measured] or "nan")
            except (ValueError, IndexError) as error:
                raise DatasetError(
                    f"{path}: line {number}: {error}: ts must be epoch milliseconds, value a number; mend the line"
                ) from error
            yield keys.setdefault(key, key), ts, value


def read_assets(path: Path) -> dict[Key, SensorEntry]:
    """Registry of assets.csv. Raises DatasetError, also for limits that contradict each other."""
    registry: dict[Key, SensorEntry] = {}
    for number, row in _rows(path, ("device_id", "metric", "asset_id")):
        try:
            limits = [float(row[name]) if row.get(name) else None for name in LIMITS]
        except ValueError as error:
            raise DatasetError(f"{path}: line {number}: {error}: a limit is a number or empty") from error
        if contradictory((limits[0], limits[1], limits[2], limits[3])):
            raise DatasetError(
                f"{path}: line {number}: limits of {row['device_id']}/{row['metric']} contradict each other "
                f"({', '.join(f'{name}={row.get(name)}' for name in LIMITS)}): they must rise from low_low to high_high"
            )
        registry[row["device_id"], row["metric"]] = SensorEntry(
            row["asset_id"] or "", row.get("asset_type") or "", row.get("unit") or None, *limits
        )
    return registry


def read_maintenance(path: Path) -> tuple[Maintenance, ...]:
    """Planned maintenance: asset_id, device_id, metric (each may be empty), start, end. Raises DatasetError."""
    found = []
    for number, row in _rows(path, ("start", "end")):
        try:
            start, end = int(row["start"]), int(row["end"])
        except ValueError as error:
            raise DatasetError(f"{path}: line {number}: {error}: start and end are epoch milliseconds") from error
        names = [row.get(name) or "" for name in ("asset_id", "device_id", "metric")]
        found.append(Maintenance(start, end, *names))
    return tuple(found)


def _rows(path: Path, wanted: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    text = path.read_text(encoding="utf-8")
    rows = csv.DictReader(io.StringIO(text))
    _columns(path, list(rows.fieldnames or []), wanted)
    for row in rows:
        yield rows.line_num, {name: value or "" for name, value in row.items() if name}


__all__ = [
    "UNKNOWN",
    "Bench",
    "Dataset",
    "DatasetError",
    "Outcome",
    "open_dataset",
    "replay",
    "replay_windows",
    "sensors_of",
    "write_anomalies",
]
