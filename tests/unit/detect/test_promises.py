"""What detection promises beside finding faults: state, order, bad input, maintenance, shadow, plug-ins."""

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from fieldstream_central.detect.asset_detection import AssetDetection
from fieldstream_central.detect.config import DetectionConfig, DetectionConfigError, Maintenance, SensorSettings
from fieldstream_central.detect.model import Anomaly, Finding, Window
from fieldstream_central.detect.packing import StateVersionError, pack
from fieldstream_central.detect.replay import Bench
from fieldstream_central.detect.tail import Tail
from fieldstream_central.detect.windows import SensorEntry, Windower
from unit.detect.detect_bench import START_MS, kinds, noisy, run, states

KEY = ("dev", "temperature")


def make_window(number: int, value: float, *, spread: float = 0.1, **changes: Any) -> Window:
    """Window number `number` of ten readings around `value`."""
    start = START_MS + number * 10_000
    window = Window("dev", "temperature", start, start + 10_000, 10, value, spread, value - spread, value + spread,
                    value, value + spread / 3, start, start + 9_000, revision=10)  # fmt: skip
    return replace(window, **changes)


def windows(count: int, seed: int = 3) -> list[Window]:
    rng = random.Random(seed)
    return [make_window(number, 20 + rng.gauss(0, 0.03), spread=0.1 + rng.random() / 50) for number in range(count)]


def test_records_go_to_avro_and_back_unchanged() -> None:
    window = make_window(1, 20.0, high=30.0, unit="Cel")
    assert Window.from_record(window.to_record()) == window
    steps = AssetDetection.load("a", {}, DetectionConfig()).on_window(replace(window, mean=50.0))
    assert [Anomaly.from_record(step.to_record()) for step in steps] == steps != []


def test_state_dumped_and_loaded_goes_on_exactly_as_if_it_had_never_stopped() -> None:
    rows = windows(60) + [make_window(number, 23.0 + number / 1000) for number in range(60, 80)]
    whole = AssetDetection.load("a", {}, DetectionConfig())
    expected = [step for row in rows for step in whole.on_window(row)]
    parts: dict[str, bytes] = {}
    found = []
    for row in rows:
        resumed = AssetDetection.load("a", parts, DetectionConfig())
        found += resumed.on_window(row)
        parts.update(resumed.dump_changed())
    assert found == expected
    assert "level-shift" in {step.kind for step in found}


def test_mate_state_survives_a_dump_bit_by_bit() -> None:
    sensors = {("dev", name): noisy(5.0) for name in "abc"}
    _, bench = run(sensors, 4 * 3600, period_s=60)
    (asset,) = bench.assets.values()
    parts = asset.dump_changed()
    again = AssetDetection.load("asset", parts, DetectionConfig())
    assert again.dump_changed() == {}
    for series in again._series.values():
        series.changed = True
    for group in again._groups:
        group.model.changed = True
    assert again.dump_changed() == {name: part for name, part in parts.items() if name != "asset"}


def test_state_of_a_series_stays_within_four_kilobytes() -> None:
    sensors = {("dev", f"s{number}"): noisy(5.0) for number in range(6)}
    _, bench = run(sensors, 24 * 3600, period_s=60)
    (asset,) = bench.assets.values()
    size = sum(len(part) for part in asset.dump_changed().values())
    assert size / len(sensors) < 4096


def test_state_of_a_newer_program_is_refused_by_name() -> None:
    part = bytearray(pack([1.0]))
    part[0] = 99
    with pytest.raises(StateVersionError, match="99"):
        AssetDetection.load("a", {"series:dev/temperature": bytes(part), "group:0": bytes(part)}, DetectionConfig())


def test_same_windows_give_the_same_episode_identity() -> None:
    rows = [make_window(0, 20.0, high=30.0), make_window(1, 40.0, high=30.0)]
    ids = set()
    for _ in range(2):
        detection = AssetDetection.load("a", {}, DetectionConfig())
        ids |= {step.anomaly_id for row in rows for step in detection.on_window(row)}
    assert len(ids) == 1


def test_episode_opens_escalates_and_closes_with_rising_revisions() -> None:
    detection = AssetDetection.load("a", {}, DetectionConfig())
    limits = {"high": 30.0, "high_high": 40.0}
    levels = [20, 20, 20, 35, 45, 35, 35, 20, 20, 20, 20, 20]
    steps = [s for n, level in enumerate(levels) for s in detection.on_window(make_window(n, level, **limits))]
    assert states(steps) == ["open", "update", "close"]
    assert [step.kind for step in steps] == ["limit-high", "limit-high-high", "limit-high-high"]
    assert [step.revision for step in steps] == [1, 2, 3]
    assert len({step.anomaly_id for step in steps}) == 1
    assert steps[0].severity == "warning" and steps[1].severity == "critical"


def test_late_correction_updates_the_episode_and_opens_no_second_one() -> None:
    detection = AssetDetection.load("a", {}, DetectionConfig())
    steps = [s for n in range(6) for s in detection.on_window(make_window(n, 35.0 if n > 2 else 20.0, high=30.0))]
    more = detection.on_window(make_window(4, 36.0, high=30.0, count=12, revision=12))
    assert states(steps) == ["open"]
    assert states(more) == ["update"]
    assert more[0].anomaly_id == steps[0].anomaly_id
    assert more[0].revision == 2


def test_late_window_that_broke_a_limit_is_still_told_once() -> None:
    detection = AssetDetection.load("a", {}, DetectionConfig())
    for number in (0, 1, 2, 4, 5):
        assert detection.on_window(make_window(number, 20.0, high=30.0)) == []
    steps = detection.on_window(make_window(3, 50.0, high=30.0))
    assert states(steps) == ["open", "close"]
    assert detection.on_window(make_window(3, 50.0, high=30.0, revision=11)) == []


def test_crossed_limits_in_a_window_are_ignored_and_counted() -> None:
    detection = AssetDetection.load("a", {}, DetectionConfig())
    assert detection.on_window(make_window(0, 50.0, low_low=60.0, low=10.0)) == []
    (series,) = detection._series.values()
    assert series.learned.limit.contradictions == 1


def test_maintenance_raises_nothing_and_teaches_nothing() -> None:
    work = Maintenance(START_MS + 300_000, START_MS + 600_000, asset_id="asset")
    config = DetectionConfig(maintenance=(work,))

    def value(at_s: float, rng: random.Random) -> float:
        return (90.0 if 300 <= at_s < 600 else 20.0) + rng.gauss(0, 0.1)

    registry = {KEY: SensorEntry("asset", high=50.0)}
    outcome, bench = run({KEY: value}, 900, registry=registry, config=config)
    assert kinds(outcome) == []
    (series,) = bench.assets["asset"]._series.values()
    assert series.learned.shift.tail.threshold < 10
    outcome, _ = run({KEY: value}, 900, registry=registry)
    assert "limit-high" in kinds(outcome)


def test_shadow_runs_beside_without_changing_the_live_alarms() -> None:
    shadow = DetectionConfig(all=SensorSettings(high=25.0))
    rows = [*windows(30), make_window(30, 28.0, high=30.0), make_window(31, 28.0, high=30.0)]
    live = AssetDetection.load("a", {}, DetectionConfig(all=SensorSettings(disabled=("level-shift", "spike"))))
    both = AssetDetection.load("a", {}, DetectionConfig(all=live.config.all, shadow=shadow))
    alone = [step for row in rows for step in live.on_window(row)]
    steps = [step for row in rows for step in both.on_window(row)]
    assert [step for step in steps if not step.shadow] == alone == []
    assert {step.kind for step in steps if step.shadow} == {"limit-high"}


class Broken:
    name, version = "broken", "1"

    def on_window(self, window: Window, state: dict[str, Any]) -> Finding | None:
        raise RuntimeError("on purpose")


class TooWarm:
    name, version = "too-warm", "2"

    def on_window(self, window: Window, state: dict[str, Any]) -> Finding | None:
        state["seen"] = state.get("seen", 0) + 1
        if window.mean <= 25.0:
            return None
        return Finding(kind="too-warm", reason=f"{window.mean:.1f} after {state['seen']}", started_at=window.last_ts)


def test_broken_plug_in_is_counted_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldstream_central.detect.asset_detection.load_plug_ins", lambda _: (Broken(), TooWarm()))
    detection = AssetDetection.load("a", {}, DetectionConfig())
    steps = [s for n in range(4) for s in detection.on_window(make_window(n, 20.0 if n < 3 else 30.0))]
    assert [(step.detector, step.detector_version, step.reason) for step in steps] == [
        ("too-warm", "2", "30.0 after 4")
    ]
    assert detection.errors == {"broken": 4}


@pytest.mark.parametrize(
    "values",
    [
        [5.0],
        [5.0] * 500,
        [math.nan] * 50,
        [0.0, 1e300, -1e300, 0.0] * 20,
    ],
)
def test_degenerate_series_raise_no_exception(values: list[float]) -> None:
    outcome, bench = run({KEY: lambda at_s, _: values[int(at_s)]}, len(values))
    assert bench.errors == {}
    if values == [5.0] * 500:
        assert kinds(outcome) == [], "a series that never varied is not judged stuck"


def test_windower_corrects_for_late_readings_and_drops_doubled_ones() -> None:
    windower = Windower({})
    found = list(windower.add(KEY, 1_000, 1.0)) + list(windower.add(KEY, 12_000, 2.0))
    assert [(window.count, window.mean) for window in found] == [(1, 1.0)]
    (late,) = windower.add(KEY, 500, 3.0)
    assert (late.count, late.mean, late.first, late.revision) == (2, 2.0, 3.0, 2)
    assert list(windower.add(KEY, 500, 9.0)) == []
    assert windower.duplicates == 1
    assert late.stddev == pytest.approx(1.0)


def test_late_and_disordered_rows_do_not_confuse_detection() -> None:
    rows = windows(80)
    random.Random(1).shuffle(rows)
    detection = AssetDetection.load("a", {}, DetectionConfig())
    assert [step for row in rows for step in detection.on_window(row)] == []
    assert detection.errors == {}


def test_settings_layers_hold_in_their_order_and_mistakes_are_named() -> None:
    table = {
        "all": {"gap_min_s": 1.0},
        "asset_type": {"pump": {"gap_min_s": 2.0}},
        "metric": {"flow": {"gap_min_s": 3.0}},
        "sensor": {"p/flow": {"gap_min_s": 4.0}},
    }
    config = DetectionConfig.from_table(table, "d.toml")
    assert config.of("fan", "x", "speed").gap_min_s == 1.0
    assert config.of("pump", "x", "speed").gap_min_s == 2.0
    assert config.of("pump", "x", "flow").gap_min_s == 3.0
    assert config.of("pump", "p", "flow").gap_min_s == 4.0
    with pytest.raises(DetectionConfigError, match="did you mean 'gap_min_s'"):
        DetectionConfig.from_table({"all": {"gap_mins": 1.0}}, "d.toml")
    with pytest.raises(DetectionConfigError, match="contradict"):
        DetectionConfig.from_table({"all": {"low_low": 5.0, "low": 1.0}}, "d.toml")


def test_tail_threshold_keeps_the_allowed_false_alarms_within_a_factor() -> None:
    rng = random.Random(2)
    tail = Tail()
    beyond = 0
    ln_p = math.log(2000)
    for number in range(60_000):
        value = abs(rng.gauss(0, 1))
        if number > 10_000 and value > tail.threshold:
            beyond += 1
        tail.learn(value, ln_p)
    assert 3 <= beyond <= 75  # 25 expected: rather fewer than more


def test_ten_thousand_sensors_at_once_are_judged_and_alarm_nothing() -> None:
    bench, rng = Bench(DetectionConfig()), random.Random(4)
    for slot in range(12):
        at_ms = slot * 60_000
        for number in range(10_000):
            value = 20.0 + rng.gauss(0, 0.1)
            row = Window(
                f"d{number}", "t", at_ms, at_ms + 10_000, 1, value, 0.0, value, value, value, value, at_ms, at_ms
            )
            row.asset_id, row.asset_type = f"a{number // 5}", "pump"
            assert bench.on_window(row) == []
        assert bench.on_time(at_ms + 10_000) == []
    assert (bench.rows, len(bench.assets), bench.errors) == (120_000, 2000, {})


def test_series_that_starts_in_mid_fault_is_taken_as_it_is_and_its_end_is_told_at_most_once() -> None:
    outcome, bench = run({("d", "t"): lambda at_s, rng: (30.0 if at_s < 200 else 20.0) + rng.gauss(0, 0.1)}, 900)
    assert len(outcome.episodes) <= 1
    assert bench.errors == {}
