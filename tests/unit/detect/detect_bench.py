"""Synthetic windows for tests of detection: deterministic, no simulator, no clock."""

import random
from collections.abc import Callable, Iterable

from fieldstream_central.detect.asset_detection import AssetDetection
from fieldstream_central.detect.config import DetectionConfig
from fieldstream_central.detect.mates import MateModel
from fieldstream_central.detect.model import Anomaly
from fieldstream_central.detect.replay import Bench, Outcome
from fieldstream_central.detect.windows import SensorEntry, Windower

START_MS = 1_767_225_600_000
Value = Callable[[float, random.Random], float | None]


def run(
    sensors: dict[tuple[str, str], Value],
    seconds: float,
    *,
    period_s: float = 1.0,
    registry: dict[tuple[str, str], SensorEntry] | None = None,
    config: DetectionConfig | None = None,
    seed: int = 1,
) -> tuple[Outcome, Bench]:
    """Feeds `value(seconds since start, rng)` of each sensor (None: no reading) through windows and detection."""
    entries = registry or {key: SensorEntry(asset_id="asset") for key in sensors}
    bench, windower, outcome = Bench(config or DetectionConfig()), Windower(entries), Outcome()
    rng = random.Random(seed)
    for step in range(int(seconds / period_s)):
        at_s = step * period_s
        for key, value in sensors.items():
            reading = value(at_s, rng)
            if reading is not None:
                for window in windower.add(key, START_MS + round(at_s * 1000), reading):
                    outcome.take(bench.on_window(window))
        outcome.take(bench.on_time(windower.event_time_ms))
    return outcome, bench


def only_model(bench: Bench) -> MateModel:
    """The mates' model of the only asset."""
    (asset,) = bench.assets.values()
    assert isinstance(asset, AssetDetection)
    (model,) = (group.model for group in asset._groups)
    return model


def kinds(outcome: Outcome) -> list[str]:
    """Kinds of all episodes."""
    return sorted(episode.kind for episode in outcome.episodes.values())


def noisy(level: float, noise: float = 0.1) -> Value:
    """A level with Gaussian noise."""
    return lambda _, rng: level + rng.gauss(0.0, noise)


def seconds_of(episode: Anomaly) -> tuple[float, float]:
    """Start and detection in seconds since the start."""
    return (episode.started_at - START_MS) / 1000, (episode.detected_at - START_MS) / 1000


def states(steps: Iterable[Anomaly]) -> list[str]:
    """States of steps in order."""
    return [step.state for step in steps]
