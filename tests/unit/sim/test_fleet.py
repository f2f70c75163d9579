"""The fleet's physics and faults: reproducible, correlated, labelled truthfully."""

from dataclasses import replace

import numpy as np
import pytest
from fieldstream_sim.cli import plant_path
from fieldstream_sim.dataset import labelled_plant, write_dataset
from fieldstream_sim.fleet import Fleet
from fieldstream_sim.plant import FAULT_KINDS, Fault, Plant, load_plant
from fieldstream_sim.random_plant import Schedule
from numpy.typing import NDArray

START_MS = 1_767_225_600_000
DEVICE, METRIC = "pump-1-drive", "temperature"


@pytest.fixture(scope="module")
def demo() -> Plant:
    return replace(load_plant(plant_path("demo")), faults=())


def series(
    plant: Plant, seconds: int, seed: int = 1, slice_ms: int = 10_000
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    stream = Fleet(plant, seed, START_MS).streams[DEVICE, METRIC]
    parts = [stream.slice(at, at + slice_ms) for at in range(START_MS, START_MS + seconds * 1000, slice_ms)]
    return np.concatenate([ts for ts, _ in parts]), np.concatenate([values for _, values in parts])


@pytest.mark.parametrize("name", ["demo", "pump-hall", "cold-store", "paint-line"])
def test_ready_plants_are_valid(name: str) -> None:
    plant = load_plant(plant_path(name))
    assert len(list(plant.sensors)) >= 30
    if name == "demo":
        assert len(list(plant.devices)) >= 20
        assert len(list(plant.sensors)) >= 60
        assert {device.payload for device in plant.devices} == {"object", "multi", "array"}


def test_same_seed_gives_the_same_readings_whatever_the_slices(demo: Plant) -> None:
    ts, values = series(demo, 120)
    again_ts, again = series(demo, 120, slice_ms=60_000)
    assert ts.tolist() == again_ts.tolist()
    assert values.tolist() == again.tolist()
    assert series(demo, 120, seed=2)[1].tolist() != values.tolist()


def test_sensors_of_one_asset_follow_the_same_load() -> None:
    plant = load_plant(plant_path("pump-hall"))
    fleet = Fleet(plant, 1, START_MS)
    end = START_MS + 6 * 3_600_000
    flow = fleet.streams["pump-1-hydraulics", "flow"].slice(START_MS, end)[1][::60]
    pressure = fleet.streams["pump-1-hydraulics", "pressure"].slice(START_MS, end)[1][::60]
    other = fleet.streams["pump-2-hydraulics", "flow"].slice(START_MS, end)[1][::60]
    assert np.corrcoef(flow, pressure)[0, 1] > 0.95
    assert abs(np.corrcoef(np.diff(flow, 20), np.diff(other, 20))[0, 1]) < 0.9


@pytest.mark.parametrize("kind", sorted(FAULT_KINDS))
def test_fault_changes_its_own_time_and_nothing_else(kind: str, demo: Plant) -> None:
    fault = Fault(device_id=DEVICE, metric=METRIC, kind=kind, start_s=60, duration_s=60, amplitude_sigma=20)
    clean_ts, clean = series(demo, 180)
    ts, values = series(replace(demo, faults=(fault,)), 180)
    assert ts[ts < START_MS + 60_000].tolist() == clean_ts[clean_ts < START_MS + 60_000].tolist()
    outside = clean_ts < START_MS + 60_000
    assert values[: outside.sum()].tolist() == clean[outside].tolist()
    after = (clean_ts >= START_MS + 121_000).sum()
    assert values[-after:].tolist() == clean[-after:].tolist()
    inside = (ts >= START_MS + 60_000) & (ts < START_MS + 120_000)
    clean_inside = (clean_ts >= START_MS + 60_000) & (clean_ts < START_MS + 120_000)
    changed = inside.sum() != clean_inside.sum() or values[inside].tolist() != clean[clean_inside].tolist()
    assert changed


def test_shift_has_the_amplitude_that_its_label_says(demo: Plant) -> None:
    fault = Fault(device_id=DEVICE, metric=METRIC, kind="shift", start_s=60, duration_s=60, amplitude_sigma=20)
    _, clean = series(demo, 120)
    _, values = series(replace(demo, faults=(fault,)), 120)
    noise = next(sensor.model.noise for sensor in demo.sensors if sensor.key == (DEVICE, METRIC))
    assert (values - clean)[61:].mean() == pytest.approx(20 * noise, rel=0.02)


def test_dataset_is_ordered_complete_and_reproducible(tmp_path) -> None:  # type: ignore[no-untyped-def]
    plant = labelled_plant(5, 12, 60_000, Schedule(days=2, faults_per_sensor_day=1.0))
    for name in ("one", "two"):
        write_dataset(plant, 5, 2, tmp_path / name)
    files = ("readings.csv", "assets.csv", "truth.csv", "events.csv", "maintenance.csv")
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)
    rows = [line.split(",") for line in (tmp_path / "one" / "readings.csv").read_text().splitlines()[1:]]
    times = [int(row[2]) for row in rows]
    assert times == sorted(times)
    assert len({(row[0], row[1]) for row in rows}) == 12
    truth = (tmp_path / "one" / "truth.csv").read_text().splitlines()
    assert truth[0] == "device_id,metric,asset_id,kind,amplitude_sigma,start,end"
    assert len(truth) > 1
