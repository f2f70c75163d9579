"""Recorded data sent as if it happened now: event times are mapped onto the present at a stated speed-up.

The first recorded row meets a whole multiple of 10 s, so that at a speed-up of 8640 each of the pipeline's 10 s
windows holds exactly one recorded day.
"""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fieldstream_sim.truth import Reading

WINDOW_MS = 10_000


class RecordingError(Exception):
    """A recording that cannot be read; names file, line and remedy."""


@dataclass(frozen=True)
class Recording:
    """Recorded values by recorded time (epoch milliseconds)."""

    times_ms: list[int]
    values: list[float]


def parse_time(text: str) -> int:
    """Epoch milliseconds of an ISO 8601 time; UTC where no zone is named."""
    moment = datetime.fromisoformat(text.strip())
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def read_recording(path: Path, from_ms: int | None = None, to_ms: int | None = None) -> Recording:
    """Rows of a `timestamp,value` file within [from_ms, to_ms). Raises RecordingError."""
    times, values = [], []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if not {"timestamp", "value"} <= set(rows.fieldnames or ()):
                raise RecordingError(f"{path}: line 1: columns timestamp,value expected, found {rows.fieldnames}")
            for row in rows:
                try:
                    at_ms, value = parse_time(row["timestamp"]), float(row["value"])
                except (ValueError, TypeError) as error:
                    raise RecordingError(f"{path}: line {rows.line_num}: {error}: mend or remove the line") from error
                if (from_ms is None or at_ms >= from_ms) and (to_ms is None or at_ms < to_ms):
                    times.append(at_ms)
                    values.append(value)
    except OSError as error:
        raise RecordingError(f"{path}: {error}") from error
    if not times:
        raise RecordingError(f"{path}: no rows between the given times: check --from and --to")
    return Recording(times, values)


class Mapping:
    """Recorded time to present time."""

    def __init__(self, recorded_start_ms: int, present_start_ms: int, speedup: float) -> None:
        self._recorded, self.start_ms, self._speedup = recorded_start_ms, present_start_ms, speedup

    def __call__(self, recorded_ms: int) -> int:
        return self.start_ms + round((recorded_ms - self._recorded) / self._speedup)


def next_window_start(now_ms: int) -> int:
    """The next whole multiple of the window length."""
    return -(-now_ms // WINDOW_MS) * WINDOW_MS


def mapped_readings(recording: Recording, mapping: Mapping, device_id: str, metric: str) -> list[Reading]:
    """Readings in present time. Rows that fall on the same millisecond keep the first, as identity demands."""
    found: list[Reading] = []
    for at_ms, value in zip(recording.times_ms, recording.values, strict=True):
        ts = mapping(at_ms)
        if not found or ts > found[-1].ts:
            found.append(Reading(device_id, metric, ts, value))
    return found
