"""A device's clock that jumps is told once, for the device; what only looks like it is not."""

import random
from collections.abc import Callable

import pytest
from fieldstream_central.detect.config import DetectionConfig
from fieldstream_central.detect.replay import Bench, Outcome, sensors_of
from fieldstream_central.detect.windows import SensorEntry, Windower
from unit.detect.detect_bench import START_MS

MINUTES, JUMP, BACK = 200, 120, 160
KEYS = [("dev", "flow"), ("dev", "heat"), ("other", "flow")]
REGISTRY = {key: SensorEntry("asset", "pump") for key in KEYS}


def replayed(moment: Callable[[str, int, random.Random], float | None], period_s: float = 60.0) -> Outcome:
    """Readings of three sensors at `moment(device, number, rng)` seconds off their rhythm (None: no reading)."""
    bench, windower, outcome, rng = Bench(DetectionConfig()), Windower(REGISTRY), Outcome(), random.Random(1)
    readings = []
    for number in range(MINUTES):
        for place, key in enumerate(KEYS):
            off = moment(key[0], number, rng)
            if off is not None:
                at_s = number * period_s + 3.0 * place + off
                readings.append((START_MS + round(at_s * 1000), key, 20 + rng.gauss(0, 0.1)))
    for ts, key, value in sorted(readings):
        for window in windower.add(key, ts, value):
            outcome.take(bench.on_window(window))
        outcome.take(bench.on_time(windower.event_time_ms))
    assert bench.errors == {}
    return outcome


@pytest.mark.parametrize("period_s", [10.0, 60.0, 600.0, 3600.0])
@pytest.mark.parametrize("share", [0.2, -0.2])
def test_a_jump_of_the_clock_is_one_episode_of_the_device_until_it_is_back(period_s: float, share: float) -> None:
    jump = share * period_s
    outcome = replayed(lambda device, n, _: jump if device == "dev" and JUMP <= n < BACK else 0.0, period_s)
    (episode,) = outcome.episodes.values()
    assert (episode.kind, episode.device_id, episode.metric) == ("clock", "dev", "")
    assert sensors_of(episode) == ["dev/flow", "dev/heat"]
    assert episode.state == "close"
    assert ("later" if share > 0 else "earlier") in episode.reason
    assert START_MS + (JUMP * period_s + jump) * 1000 <= episode.started_at
    assert episode.detected_at <= START_MS + (JUMP + 6) * period_s * 1000


@pytest.mark.parametrize(
    "moment",
    [
        lambda _, n, rng: rng.gauss(0, 6),
        lambda _, n, rng: rng.uniform(0, 0.5),
        lambda _, n, rng: 12.0 if n == JUMP else 0.0,
        lambda _, n, rng: None if n in (JUMP, JUMP + 4) else 0.0,
        lambda _, n, rng: 0.01 * n,
    ],
    ids=["jitter", "small-jitter", "one-late", "lost-readings", "slow-clock"],
)
def test_what_only_looks_like_a_jump_raises_nothing(
    moment: Callable[[str, int, random.Random], float | None],
) -> None:
    assert [episode.reason for episode in replayed(moment).episodes.values()] == []
