"""The demo's plant through detection: every injected fault found, nothing else, and hours of calm raise nothing."""

from dataclasses import replace

import pytest
from fieldstream_central.detect.config import DetectionConfig
from fieldstream_central.detect.replay import Bench, Outcome
from fieldstream_central.detect.score import Alarm, LabelledFault, score
from fieldstream_central.detect.windows import SensorEntry, Windower
from fieldstream_sim import cli
from fieldstream_sim.fleet import Fleet
from fieldstream_sim.plant import Plant, load_plant
from fieldstream_sim.replay import Mapping, mapped_readings, parse_time, read_recording
from fieldstream_sim.truth import Reading

START_MS = 1_795_500_000_000


def detect(readings: list[Reading], out: Outcome, rig: tuple[Bench, Windower]) -> None:
    bench, windower = rig
    for reading in readings:
        for window in windower.add((reading.device_id, reading.metric), reading.ts, reading.value):
            out.take(bench.on_window(window))
        out.take(bench.on_time(windower.event_time_ms))


def run_plant(plant: Plant, seconds: int, seed: int) -> tuple[Outcome, Fleet]:
    registry = {
        s.key: SensorEntry(s.asset_id, s.asset_type, s.unit, s.low_low, s.low, s.high, s.high_high)
        for s in plant.sensors
    }
    fleet, out, rig = Fleet(plant, seed, START_MS), Outcome(), (Bench(DetectionConfig()), Windower(registry))
    for at in range(START_MS, START_MS + seconds * 1000, 60_000):
        readings = [r for device in plant.devices for r in fleet.readings(device, at, at + 60_000)]
        detect(sorted(readings, key=lambda reading: reading.ts), out, rig)
    assert rig[0].errors == {}
    return out, fleet


@pytest.mark.parametrize("seed", [1, 11])
def test_every_fault_of_the_demo_is_found_once_and_nothing_else(seed: int) -> None:
    out, fleet = run_plant(load_plant(cli.plant_path("demo")), 360, seed)
    alarms = [Alarm(e.device_id, e.metric, e.asset_id, e.kind, e.detected_at) for e in out.episodes.values()]
    faults = [
        LabelledFault(f.device_id, f.metric, f.asset_id, f.kind, f.amplitude_sigma, f.start, f.end)
        for f in fleet.fault_rows()
    ]
    result = score(alarms, faults, 1.0)
    assert (result.recall, result.precision, result.repeats_per_event) == (1.0, 1.0, 0.0)


def test_hours_of_the_demo_without_faults_raise_nothing() -> None:
    out, _ = run_plant(replace(load_plant(cli.plant_path("demo")), faults=()), 3 * 3600, 21)
    assert [episode.reason for episode in out.episodes.values()] == []


@pytest.mark.parametrize("first", [cli.DEFAULT_FROM, "2013-11-26", "2013-12-02"])
def test_recorded_failure_is_found_on_its_windows_and_nothing_before_it(first: str) -> None:
    path = cli.plant_path("demo").parent.parent / "recordings" / cli.DEFAULT_RECORDING
    recording = read_recording(path, parse_time(first), parse_time(cli.DEFAULT_TO))
    mapping = Mapping(recording.times_ms[0], START_MS, cli.DEFAULT_SPEEDUP)
    key = ("recorded-machine", "temperature")
    registry = {key: SensorEntry("recorded-machine", "replayed-machine")}
    out = Outcome()
    readings = mapped_readings(recording, mapping, *key)
    detect(readings, out, (Bench(DetectionConfig()), Windower(registry)))
    (episode,) = out.episodes.values()
    begin, end = (mapping(parse_time(text)) for text in cli.DEFAULT_FAILURE)
    assert begin <= episode.detected_at <= end
    assert "outside everything seen before" in episode.reason
