"""Load and weather both follow the day: what the one does to a temperature must not be put down to the other."""

import math
import random
from collections.abc import Callable

import pytest
from unit.detect.detect_bench import Value, kinds, noisy, only_model, run

DAY_S = 86_400.0
CHANGE_S, LASTS_S = 3.5 * DAY_S, 6 * 3600.0
LOAD_GAIN, WEATHER_GAIN = 32.0, 2.0  # of the temperature, whose noise is 0.15


def load() -> Callable[[float], float]:
    """Share of full load, minute by minute: follows the day, wanders, and changes for good."""
    rng, wander, values = random.Random(1), 0.0, []
    for minute in range(int((CHANGE_S + LASTS_S) / 60)):
        wander = 0.97 * wander + rng.gauss(0.0, 0.008)
        day = 0.12 * math.sin(2 * math.pi * (minute / 1440 - 0.3))
        values.append(0.5 + day + wander + (0.2 if minute * 60 >= CHANGE_S else 0.0))
    return lambda at_s: values[int(at_s / 60)]


def pump(loaded: Callable[[float], float]) -> dict[tuple[str, str], Value]:
    state = {"warm": LOAD_GAIN * loaded(0.0)}

    def temperature(at_s: float, rng: random.Random) -> float:
        state["warm"] += (1 - math.exp(-60 / 900)) * (LOAD_GAIN * loaded(at_s) - state["warm"])
        weather = WEATHER_GAIN * math.sin(2 * math.pi * (at_s / DAY_S - 0.375))
        return 40 + state["warm"] + weather + rng.gauss(0.0, 0.15)

    return {
        ("pump", "temperature"): temperature,
        ("pump", "current"): lambda at_s, rng: 5 + 40 * loaded(at_s) + rng.gauss(0.0, 0.3),
        ("pump", "flow"): lambda at_s, rng: 10 + 100 * loaded(at_s) + rng.gauss(0.0, 0.8),
    }


def test_a_change_of_load_is_predicted_though_load_and_weather_follow_the_same_day() -> None:
    outcome, bench = run(pump(load()), CHANGE_S + LASTS_S, period_s=60)
    assert kinds(outcome) == []
    model = only_model(bench)
    own = model.members.index("pump/temperature")
    gains = model.weights[own, :15].reshape(5, 3).sum(axis=0) * model.scale[own] / model.scale  # over all lags
    gain = float(gains @ [{"temperature": 0.0, "current": 40.0, "flow": 100.0}[key[5:]] for key in model.members])
    assert abs(gain - LOAD_GAIN) < 0.1 * LOAD_GAIN


@pytest.mark.parametrize(("size", "told"), [(0.8, []), (2.0, ["level-shift"])])
def test_a_step_of_one_sensor_while_its_mates_still_learn_must_be_large(size: float, told: list[str]) -> None:
    def stepping(at_s: float, rng: random.Random) -> float:
        return 5.0 + (size if at_s > 5 * 3600 else 0.0) + rng.gauss(0.0, 0.1)

    outcome, _ = run({("dev", "a"): stepping, ("dev", "b"): noisy(3.0), ("dev", "c"): noisy(7.0)}, 36_000, period_s=60)
    assert kinds(outcome) == told
