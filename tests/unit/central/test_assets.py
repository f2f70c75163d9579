"""Plant files: every sensor becomes a record; what contradicts itself is refused by name."""

from pathlib import Path

import pytest
from fieldstream_central.assets import PlantFileError, sensors

PLANT = """
site = "works"
[[asset]]
id = "pump-1"
type = "pump"
  [[asset.device]]
  id = "drive"
    [[asset.device.sensor]]
    metric = "temperature"
    unit = "Cel"
    {limits}
"""


def plant(tmp_path: Path, limits: str) -> Path:
    file = tmp_path / "plant.toml"
    file.write_text(PLANT.replace("{limits}", limits))
    return file


def test_a_sensor_carries_its_place_and_limits(tmp_path: Path) -> None:
    [sensor] = sensors(plant(tmp_path, "high = 80\nhigh_high = 90.5"))
    assert (sensor["site"], sensor["asset_id"], sensor["device_id"]) == ("works", "pump-1", "drive")
    assert (sensor["low"], sensor["high"], sensor["high_high"]) == (None, 80.0, 90.5)


def test_limits_that_do_not_rise_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlantFileError, match=r"plant\.toml: drive/temperature: the limits must rise"):
        list(sensors(plant(tmp_path, "low = 10\nhigh = 5")))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    file = plant(tmp_path, "")
    file.write_text(file.read_text().replace('type = "pump"', ""))
    with pytest.raises(PlantFileError, match="lacks 'type'"):
        list(sensors(file))
