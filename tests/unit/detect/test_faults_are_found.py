"""Each kind of fault, on one sensor of a calm asset, is found within a minute or two and told in words."""

import random

import pytest
from fieldstream_central.detect.config import DetectionConfig
from fieldstream_central.detect.windows import SensorEntry
from unit.detect.detect_bench import Value, kinds, noisy, run, seconds_of

KEY, MATE = ("dev", "temperature"), ("dev", "pressure")
FROM_S, TO_S = 400.0, 640.0


def faulty(change: Value) -> Value:
    """A noisy level that `change` replaces during the fault."""
    calm = noisy(20.0)
    return lambda at_s, rng: change(at_s, rng) if FROM_S <= at_s < TO_S else calm(at_s, rng)


FAULTS: dict[str, tuple[Value, str]] = {
    "stuck": (lambda _, rng: 20.03, "stuck"),
    "gap": (lambda _, rng: None, "gap"),
    "shift": (lambda _, rng: 21.5 + rng.gauss(0, 0.1), "level-shift"),
    "noise": (lambda _, rng: 20.0 + rng.gauss(0, 0.7), "noise-increase"),
    "chatter": (lambda at_s, rng: 19.25 + 1.5 * (int(at_s) % 2), "chattering"),
    "range": (lambda _, rng: 60.0 + rng.gauss(0, 0.1), "limit-high-high"),
    "spike": (lambda at_s, rng: 24.0 if at_s == FROM_S + 3 else 20.0 + rng.gauss(0, 0.1), "spike"),
    "quantisation": (lambda _, rng: round(20.0 + rng.gauss(0, 0.3)) * 1.0, "quantisation"),
}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_fault_is_found_soon_after_its_start_and_not_before(name: str) -> None:
    change, kind = FAULTS[name]
    registry = {
        KEY: SensorEntry("asset", high=50.0, high_high=55.0),
        MATE: SensorEntry("asset"),
    }
    outcome, _ = run({KEY: faulty(change), MATE: noisy(5.0)}, 820, registry=registry)
    found = [episode for episode in outcome.episodes.values() if episode.metric == "temperature"]
    assert found, "nothing was found"
    named = f"{found[0].kind} {found[0].reason}"
    # Coarse steps may look like a stuck value first, and noise throws a spike before it is known as noise.
    assert kind in named or name in ("quantisation", "noise", "chatter")
    started, detected = seconds_of(found[0])
    assert FROM_S <= started <= detected <= TO_S + 20
    assert len(found) == 1, f"repeats: {kinds(outcome)}"
    assert [episode.metric for episode in outcome.episodes.values()] == ["temperature"], "a mate was blamed"
    assert len(found[0].reason) > 10


PERIODS_S = [0.1, 1.0, 10.0, 60.0, 600.0, 3600.0]


@pytest.mark.parametrize("period_s", PERIODS_S)
@pytest.mark.parametrize("name", ["shift", "stuck", "gap"])
def test_fault_is_found_at_any_sampling_period(name: str, period_s: float) -> None:
    begin_s = max(500 * period_s, 300.0)
    end_s = begin_s + max(20 * period_s, min(100 * period_s, 3600.0), 300.0)
    change, calm = FAULTS[name][0], noisy(20.0)

    def value(at_s: float, rng: random.Random) -> float | None:
        return change(at_s, rng) if begin_s <= at_s < end_s else calm(at_s, rng)

    outcome, _ = run({KEY: value, MATE: noisy(5.0)}, end_s + 20 * period_s, period_s=period_s)
    episode = next(iter(outcome.episodes.values()))
    # Where the two sensors' model is older than half a day, the asset is told, since either may be wrong.
    assert (episode.kind, episode.metric) == (FAULTS[name][1], "temperature") or episode.metric == ""
    assert begin_s <= seconds_of(episode)[1] <= end_s
    assert len(outcome.episodes) == 1


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_calm_signals_raise_nothing_at_any_sampling_period(period_s: float) -> None:
    outcome, bench = run({KEY: noisy(20.0), MATE: noisy(5.0)}, 2000 * period_s, period_s=period_s)
    assert kinds(outcome) == []
    assert bench.errors == {}


def test_a_move_faster_than_the_limit_set_for_it_is_told_as_rate_of_change() -> None:
    config = DetectionConfig.from_table({"metric": {"temperature": {"max_rate_per_min": 3.0}}}, "test")
    ramp = faulty(lambda at_s, rng: 20.0 + (at_s - FROM_S) / 10.0)
    outcome, _ = run({KEY: ramp, MATE: noisy(5.0)}, 820, config=config)
    (episode,) = outcome.episodes.values()
    assert "rate-of-change" in f"{episode.kind} {episode.reason}"


def test_excursions_that_come_back_again_and_again_are_ordinary() -> None:
    def value(at_s: float, rng: random.Random) -> float:
        return (30.0 if round(at_s) % 1000 == 5 else 20.0) + rng.gauss(0, 0.1)

    outcome, _ = run({KEY: value}, 20_000)
    first = [seconds_of(episode)[0] for episode in outcome.episodes.values() if episode.kind == "spike"]
    assert 0 < len(first) < 8
    assert max(first) < 12_000


def test_steps_of_a_lone_sensor_that_come_every_few_hours_are_a_habit_and_a_larger_one_is_told() -> None:
    hour, fault = 3600.0, 70 * 3600.0

    def value(at_s: float, rng: random.Random) -> float:
        mode = 3.0 * (round(at_s / hour) // 5 % 3)
        return 20.0 + mode + (15.0 if at_s >= fault else 0.0) + rng.gauss(0, 0.1)

    outcome, _ = run({KEY: value}, 72 * hour, period_s=60.0)
    told = [seconds_of(episode)[1] for episode in outcome.episodes.values()]
    assert len([at_s for at_s in told if at_s < fault]) <= 3
    assert [at_s for at_s in told if 24 * hour < at_s < fault] == []
    assert any(fault <= at_s < fault + hour for at_s in told)


def test_common_step_of_all_sensors_is_the_plant_and_no_fault() -> None:
    def stepping(low: float, high: float) -> Value:
        return lambda at_s, rng: (high if at_s > 500 else low) + rng.gauss(0, 0.1)

    outcome, _ = run({KEY: stepping(20, 23), MATE: stepping(5, 8)}, 900)
    assert kinds(outcome) == []


def test_whole_device_falling_silent_is_one_incident_naming_its_sensors() -> None:
    def silent(at_s: float, rng: random.Random) -> float | None:
        return None if 300 <= at_s < 500 else 20 + rng.gauss(0, 0.1)

    other = ("other", "temperature")
    outcome, _ = run({KEY: silent, MATE: silent, other: noisy(3.0)}, 700)
    (episode,) = outcome.episodes.values()
    assert (episode.kind, episode.device_id, episode.metric) == ("gap", "dev", "")
    assert episode.members == ["dev/pressure", "dev/temperature"]
    assert episode.state == "close"


def test_slow_drift_of_one_of_three_mates_is_found_and_blamed_on_it() -> None:
    day = 86_400.0
    load = random.Random(5)
    level = [0.0]

    def shared(at_s: float) -> float:
        while len(level) <= at_s / 60:
            level.append(level[-1] * 0.995 + load.gauss(0, 0.1))
        return level[int(at_s / 60)]

    def sensor(gain: float, drift: float = 0.0) -> Value:
        def value(at_s: float, rng: random.Random) -> float:
            off = drift * max(0.0, at_s - 2 * day) / (8 * 3600)
            return 20 + gain * shared(at_s) + off + rng.gauss(0, 0.1)

        return value

    sensors = {("dev", "a"): sensor(1.0), ("dev", "b"): sensor(2.0, drift=2.0), ("dev", "c"): sensor(-1.5)}
    outcome, _ = run(sensors, 2.34 * day, period_s=60)
    assert [episode.metric for episode in outcome.episodes.values()] == ["b"]
    assert seconds_of(next(iter(outcome.episodes.values())))[1] < 2 * day + 8 * 3600
