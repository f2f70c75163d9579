"""Plant files and options: mistakes are named with file, entry and remedy."""

from pathlib import Path

import pytest
from fieldstream_sim.plant import PlantError, load_plant, parse_fault_option
from fieldstream_sim.replay import Mapping, RecordingError, mapped_readings, parse_time, read_recording

GOOD = """site = "s"
[[asset]]
id = "a"
type = "pump"
  [[asset.device]]
  id = "d"
    [[asset.device.sensor]]
    metric = "m"
    unit = "Cel"
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("unit", "unti"), "sensor d/m: unknown key 'unti'; did you mean 'unit'"),
        (GOOD.replace('site = "s"', ""), "no 'site'"),
        (GOOD + "    low = 5\n    high = 1\n", "limits must rise"),
        (GOOD + '    period_ms = "fast"\n', "'period_ms' must be a int"),
        (GOOD + '[[fault]]\ndevice = "d"\nmetric = "m"\nkind = "gremlin"\nstart_s = 1\nduration_s = 1\n', "gremlin"),
        (GOOD + '[[fault]]\ndevice = "x"\nmetric = "m"\nkind = "gap"\nstart_s = 1\nduration_s = 1\n', "no sensor x/m"),
        (GOOD + GOOD.split("\n", 1)[1], "device 'd' stands there twice"),
        ("site = ", "Invalid value"),
    ],
)
def test_mistake_in_a_plant_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plant.toml"
    path.write_text(text)
    with pytest.raises(PlantError, match=message) as caught:
        load_plant(path)
    assert "plant.toml" in str(caught.value)


def test_fault_option_reads_as_documented() -> None:
    fault = parse_fault_option("pump-1/flow:stuck:60:30:12")
    assert (fault.device_id, fault.metric, fault.kind) == ("pump-1", "flow", "stuck")
    assert (fault.start_s, fault.duration_s, fault.amplitude_sigma) == (60.0, 30.0, 12.0)
    with pytest.raises(PlantError, match="write device/metric"):
        parse_fault_option("pump-1:stuck")


def test_recording_is_mapped_onto_the_present_at_the_speed_up(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("timestamp,value\n2026-01-01 00:00:00,1\n2026-01-01 01:00:00,2\n2026-01-02 00:00:00,3\n")
    recording = read_recording(path, to_ms=parse_time("2026-01-02"))
    readings = mapped_readings(recording, Mapping(recording.times_ms[0], 50_000, 3600.0), "d", "m")
    assert [(reading.ts, reading.value) for reading in readings] == [(50_000, 1.0), (51_000, 2.0)]


def test_bad_line_of_a_recording_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("timestamp,value\n2026-01-01 00:00:00,1\nnever,2\n")
    with pytest.raises(RecordingError, match=r"r\.csv: line 3"):
        read_recording(path)
