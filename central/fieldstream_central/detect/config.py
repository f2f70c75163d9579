"""Settings of detection in layers: all, then asset type, then metric, then sensor; the later one holds.

[all]
false_alarms_per_sensor_day = 0.01
[asset_type.pump]
deadband_share = 0.02
[metric.vibration]
off_delay_s = 60
[sensor."pump-1-drive/temperature"]
high_high = 105.0
disabled = ["level-shift"]
[[maintenance]]
asset_id = "pump-9"
start = 2026-01-05T06:00:00Z
end = 2026-01-05T10:00:00Z
[shadow.all]                      # a second set of settings that runs beside this one without notifying
false_alarms_per_sensor_day = 0.1
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

LAYERS = ("asset_type", "metric", "sensor")


class DetectionConfigError(Exception):
    """A settings file that cannot be used; names file, entry and remedy."""


@dataclass(frozen=True, kw_only=True)
class SensorSettings:
    """What may be set per layer. Defaults need no configuration."""

    false_alarms_per_sensor_day: float = 0.01  # the one knob: thresholds follow from it; lower is quieter
    disabled: tuple[str, ...] = ()  # detectors that do not run
    enabled: tuple[str, ...] = ()  # detectors that are off by default and shall run: learned-range
    low_low: float | None = None  # limits here override the asset registry's
    low: float | None = None
    high: float | None = None
    high_high: float | None = None
    deadband_share: float = 0.01  # of the limit's distance to the other side, at least two noise deviations
    on_delay_s: float = 0.0  # a limit must be broken for this long
    off_delay_s: float = 30.0  # and kept for this long before the alarm closes
    max_rate_per_min: float | None = None  # rate-of-change limit, units per minute
    gap_s: float | None = None  # silence that is a gap; None: learned from the sensor's own rhythm
    gap_min_s: float = 30.0  # silence shorter than this never is one
    stuck_s: float | None = None  # time without change that is stuck; None: learned
    cool_down_s: float = 600.0  # a finding of the same sensor this soon after an episode re-opens it
    update_every_s: float = 600.0  # an open episode is reported again at most this often
    accept_after_h: float = 24.0  # a lasting change is the new normal after this long


@dataclass(frozen=True)
class Maintenance:
    """Planned work on an asset, a device or a sensor (empty: all): raises nothing, teaches nothing."""

    start: int
    end: int
    asset_id: str = ""
    device_id: str = ""
    metric: str = ""

    def covers(self, asset_id: str, device_id: str, metric: str, at_ms: int) -> bool:
        """Whether this sensor is under maintenance at this event time."""
        return (
            self.start <= at_ms < self.end
            and self.asset_id in ("", asset_id)
            and self.device_id in ("", device_id)
            and self.metric in ("", metric)
        )


@dataclass(kw_only=True)
class DetectionConfig:
    """All layers, planned maintenance, and optionally a second set that runs in the shadow."""

    all: SensorSettings = field(default_factory=SensorSettings)
    layers: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: shipped_layers())  # noqa: PLW0108 - defined below
    maintenance: tuple[Maintenance, ...] = ()
    shadow: "DetectionConfig | None" = None
    plug_ins: tuple[str, ...] | None = None  # entry points to load; None: all that are installed
    _resolved: dict[tuple[str, str, str], SensorSettings] = field(default_factory=dict, repr=False)

    def of(self, asset_type: str, device_id: str, metric: str) -> SensorSettings:
        """Settings of one sensor, all layers applied."""
        key = (asset_type, device_id, metric)
        found = self._resolved.get(key)
        if found is None:
            merged: dict[str, Any] = {}
            for layer, name in zip(LAYERS, (asset_type, metric, f"{device_id}/{metric}"), strict=True):
                merged.update(self.layers.get(layer, {}).get(name, {}))
            found = replace(self.all, **merged) if merged else self.all
            self._resolved[key] = found
        return found

    @classmethod
    def load(cls, path: Path) -> "DetectionConfig":
        """Configuration from a TOML file. Raises DetectionConfigError."""
        try:
            table = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise DetectionConfigError(f"{path}: {error}") from error
        return cls.from_table(table, str(path))

    @classmethod
    def from_table(cls, table: Mapping[str, Any], source: str) -> "DetectionConfig":
        """Configuration from parsed TOML; `source` names it in errors. Raises DetectionConfigError."""
        known = ("all", *LAYERS, "maintenance", "shadow", "plug_ins")
        for key in table:
            if key not in known:
                raise DetectionConfigError(f"{source}: unknown table {key!r}; known are {', '.join(known)}")
        layers = shipped_layers()
        for layer in LAYERS:
            for name, values in table.get(layer, {}).items():
                layers[layer].setdefault(str(name), {}).update(_checked(values, f"{source}: [{layer}.{name}]"))
        shadow = table.get("shadow")
        plug_ins = table.get("plug_ins")
        return cls(
            all=SensorSettings(**_checked(table.get("all", {}), f"{source}: [all]")),
            layers=layers,
            maintenance=tuple(_maintenance(entry, source) for entry in table.get("maintenance", [])),
            shadow=cls.from_table(shadow, f"{source}: shadow") if shadow else None,
            plug_ins=tuple(plug_ins) if plug_ins is not None else None,
        )


def shipped_layers() -> dict[str, dict[str, dict[str, Any]]]:
    """The layers of `defaults.toml`, which a configuration adds to."""
    table = tomllib.loads(files("fieldstream_central.detect").joinpath("defaults.toml").read_text())
    return {
        layer: {name: _checked(values, "defaults.toml") for name, values in table.get(layer, {}).items()}
        for layer in LAYERS
    }


def contradictory(limits: tuple[float | None, float | None, float | None, float | None]) -> bool:
    """Whether limits LL, L, H, HH do not rise in this order."""
    given = [limit for limit in limits if limit is not None]
    return any(low > high for low, high in pairwise(given))


def _checked(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = {item.name: item.type for item in fields(SensorSettings)}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            guess = get_close_matches(key, known, n=1)
            hint = f"; did you mean {guess[0]!r}?" if guess else f"; known are {', '.join(known)}"
            raise DetectionConfigError(f"{where}: unknown setting {key!r}{hint}")
        if key in ("disabled", "enabled"):
            checked[key] = tuple(value)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise DetectionConfigError(f"{where}: {key} must be a number, not {value!r}")
        else:
            checked[key] = float(value)
    if contradictory((checked.get("low_low"), checked.get("low"), checked.get("high"), checked.get("high_high"))):
        raise DetectionConfigError(f"{where}: limits contradict each other: low_low <= low <= high <= high_high")
    if checked.get("false_alarms_per_sensor_day", 1.0) <= 0:
        raise DetectionConfigError(f"{where}: false_alarms_per_sensor_day must be above 0; 0.001 is very quiet")
    return checked


def _maintenance(entry: Mapping[str, Any], source: str) -> Maintenance:
    try:
        return Maintenance(
            start=_epoch_ms(entry["start"]),
            end=_epoch_ms(entry["end"]),
            asset_id=entry.get("asset_id", ""),
            device_id=entry.get("device_id", ""),
            metric=entry.get("metric", ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DetectionConfigError(f"{source}: [[maintenance]]: needs start and end as dates: {error!r}") from error


def _epoch_ms(value: Any) -> int:
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    if isinstance(value, int):
        return value
    raise TypeError(f"{value!r} is no date")
