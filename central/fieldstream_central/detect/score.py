"""How good were the alarms? Episodes against labelled faults, without point adjustment.

An alarm is true when it was raised on the fault's sensor, or on its asset as a whole, within [start, end + 30 min].
The first such alarm detects the fault, further ones are repeats. Unmatched alarms of one sensor within an hour are
one false episode. Precision is detections over detections plus false episodes.
"""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from fieldstream_central.detect.dataset import DatasetError, open_dataset
from fieldstream_central.detect.windows import Key

GRACE_MS = 1_800_000
MERGE_MS = 3_600_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
KINDS = (
    *("spike", "shift", "ramp", "drift", "mate", "stuck", "gap", "noise", "gain", "range", "rate", "chatter"),
    *("quantisation", "clock", "recorded-failure"),
)


class ScoreError(Exception):
    """Predictions or truth that cannot be read; names file, line and remedy."""


@dataclass(frozen=True)
class Alarm:
    """One row of anomalies.csv."""

    device_id: str
    metric: str
    asset_id: str
    kind: str
    detected_at: int


@dataclass(slots=True)
class LabelledFault:
    """One row of truth.csv and what became of it."""

    device_id: str
    metric: str
    asset_id: str
    kind: str
    amplitude_sigma: float
    start: int
    end: int
    found_at: int | None = None
    found_as: str = ""
    repeats: int = 0

    def concerns(self, alarm: Alarm) -> bool:
        """Whether the alarm is about this fault."""
        if not self.start <= alarm.detected_at <= self.end + GRACE_MS:
            return False
        if alarm.metric == "":
            return alarm.asset_id == self.asset_id != "" or alarm.device_id == self.device_id
        return alarm.device_id == self.device_id and alarm.metric == self.metric


@dataclass
class Score:
    """The result; `false_alarms` holds the first alarm of each false episode."""

    faults: list[LabelledFault]
    false_alarms: list[Alarm] = field(default_factory=list)
    sensor_days: float = 0.0

    @property
    def found(self) -> list[LabelledFault]:
        """Faults that were detected."""
        return [fault for fault in self.faults if fault.found_at is not None]

    @property
    def recall(self) -> float:
        """Share of faults detected."""
        return len(self.found) / len(self.faults) if self.faults else float("nan")

    @property
    def precision(self) -> float:
        """Detections over detections plus false episodes."""
        alarms = len(self.found) + len(self.false_alarms)
        return len(self.found) / alarms if alarms else float("nan")

    @property
    def false_per_sensor_day(self) -> float:
        """False episodes per sensor and day."""
        return len(self.false_alarms) / self.sensor_days if self.sensor_days else float("nan")

    @property
    def repeats_per_event(self) -> float:
        """Further alarms per detected fault."""
        return sum(fault.repeats for fault in self.found) / len(self.found) if self.found else 0.0

    def of(self, *kinds: str, within_ms: int | None = None) -> float:
        """Recall of these kinds; with `within_ms` only detections that fast count."""
        chosen = [fault for fault in self.faults if fault.kind in kinds]
        hits = [
            fault
            for fault in chosen
            if fault.found_at is not None and (within_ms is None or fault.found_at - fault.start <= within_ms)
        ]
        return len(hits) / len(chosen) if chosen else float("nan")

    def table(self) -> list[dict[str, Any]]:
        """One row per kind and amplitude, then one per kind, then all."""
        rows = []
        kinds = sorted({fault.kind for fault in self.faults})
        for kind in kinds:
            ours = [fault for fault in self.faults if fault.kind == kind]
            amplitudes = sorted({fault.amplitude_sigma for fault in ours})
            for amplitude in amplitudes if len(amplitudes) > 1 else []:
                rows.append(_row(kind, f"{amplitude:g}", [f for f in ours if f.amplitude_sigma == amplitude]))
            rows.append(_row(kind, "all", ours))
        rows.append(_row("all", "all", self.faults))
        return rows


def _row(kind: str, amplitude: str, faults: list[LabelledFault]) -> dict[str, Any]:
    delays = sorted((f.found_at - f.start) / 1000 for f in faults if f.found_at is not None)
    return {
        "kind": kind,
        "amplitude": amplitude,
        "faults": len(faults),
        "found": len(delays),
        "recall": len(delays) / len(faults) if faults else float("nan"),
        "delay_median_s": median(delays) if delays else float("nan"),
        "delay_p95_s": delays[min(len(delays) - 1, int(0.95 * len(delays)))] if delays else float("nan"),
        "repeats": sum(f.repeats for f in faults),
    }


def score(alarms: Iterable[Alarm], faults: list[LabelledFault], sensor_days: float) -> Score:
    """Matches alarms with faults; `faults` are filled in."""
    result = Score(faults, sensor_days=sensor_days)
    by_asset: dict[tuple[str, str], list[LabelledFault]] = {}
    for fault in faults:
        by_asset.setdefault((fault.device_id, fault.metric), []).append(fault)
    last_false: dict[tuple[str, str], int] = {}
    for alarm in sorted(alarms, key=lambda one: one.detected_at):
        candidates = faults if alarm.metric == "" else by_asset.get((alarm.device_id, alarm.metric), [])
        matched = [fault for fault in candidates if fault.concerns(alarm)]
        for fault in matched:
            if fault.found_at is None:
                fault.found_at, fault.found_as = alarm.detected_at, alarm.kind
            else:
                fault.repeats += 1
        if not matched:
            key = (alarm.device_id, alarm.metric)
            if alarm.detected_at - last_false.get(key, -MERGE_MS - 1) > MERGE_MS:
                result.false_alarms.append(alarm)
            last_false[key] = alarm.detected_at
    return result


def read_alarms(path: Path) -> list[Alarm]:
    """Alarms of an anomalies.csv. Raises ScoreError."""
    return [
        Alarm(row["device_id"], row["metric"], row["asset_id"], row["kind"], int(row["detected_at"]))
        for _, row in _rows(path, ("device_id", "metric", "asset_id", "kind", "detected_at"))
    ]


def read_truth(path: Path) -> list[LabelledFault]:
    """Faults of a truth.csv. Raises ScoreError, also for an unknown kind."""
    faults = []
    for number, row in _rows(path, ("device_id", "metric", "asset_id", "kind", "amplitude_sigma", "start", "end")):
        if row["kind"] not in KINDS:
            raise ScoreError(
                f"{path}: line {number}: unknown fault kind {row['kind']!r}: use one of {', '.join(KINDS)}"
            )
        try:
            faults.append(
                LabelledFault(
                    row["device_id"],
                    row["metric"],
                    row["asset_id"],
                    row["kind"],
                    float(row["amplitude_sigma"] or "nan"),
                    int(row["start"]),
                    int(row["end"]),
                )
            )
        except ValueError as error:
            raise ScoreError(f"{path}: line {number}: {error}: times are epoch milliseconds") from error
    return faults


def sensor_days_of(folder: Path) -> float:
    """Sensors times days of the readings in `folder`; NaN if there are none. Raises DatasetError."""
    sensors: set[Key] = set()
    first, last = math.inf, -math.inf
    try:
        dataset = open_dataset(folder)
    except DatasetError:
        return math.nan
    for key, ts, _ in dataset.readings():
        sensors.add(key)
        first, last = min(first, ts), max(last, ts)
    return len(sensors) * (last - first) / DAY_MS if sensors else 0.0


def _rows(path: Path, wanted: tuple[str, ...]) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        file = path.open(newline="", encoding="utf-8")
    except OSError as error:
        raise ScoreError(f"{path}: {error}") from error
    with file:
        rows = csv.DictReader(file)
        missing = [name for name in wanted if name not in (rows.fieldnames or ())]
        if missing:
            raise ScoreError(f"{path}: line 1: no column {', '.join(missing)}: the header must name it")
        for row in rows:
            yield rows.line_num, {name: value or "" for name, value in row.items() if name}
