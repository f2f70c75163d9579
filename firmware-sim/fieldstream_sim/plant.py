"""A plant as a file: assets, their devices and sensors, and what goes wrong on them.

The centre reads the same file to fill the asset registry, so the names of tables and keys are a contract;
`docs/simulator.md` lists them. Errors name the file, the entry and the remedy.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

PAYLOAD_FORMS = ("object", "multi", "array")
FAULT_KINDS = {
    "spike": "one reading, or a few in a row, far off",
    "shift": "a constant offset from one reading to the next",
    "ramp": "an offset that grows over the fault's length, minutes to an hour",
    "drift": "an offset that grows over the fault's length, hours",
    "mate": "an offset that comes and goes so slowly that only the asset's other sensors show it",
    "stuck": "the same value over and over",
    "gap": "no readings",
    "noise": "additional noise",
    "gain": "deviations from the working point are multiplied",
    "range": "a value outside the physical or alarm range",
    "rate": "up or down faster than the process can, then back",
    "chatter": "two values in quick alternation",
    "quantisation": "a coarser resolution",
    "clock": "the device's clock jumps; event times are off",
}
EVENT_KINDS = {
    "regime": "the asset works at another load from now on: legitimate, nothing to alarm",
    "maintenance": "the asset stands still for a while: planned, nothing to alarm",
}


class PlantError(Exception):
    """A plant file that cannot be used; the text names file, entry and remedy."""


@dataclass(frozen=True, kw_only=True)
class SensorModel:
    """Physics of one sensor: base + gains times lagged drivers + wander + noise, then rounded to the resolution."""

    base: float = 0.0
    load_gain: float = 0.0  # change of the value per unit of load (0 idle to 1 full)
    ambient_gain: float = 0.0  # change per Kelvin of ambient temperature
    cycle_gain: float = 0.0  # change per unit of the asset's working cycle (0 to 1)
    lag_s: float = 0.0  # thermal lag of load and cycle, first order
    wander: float = 0.0  # standard deviation of the sensor's own slow process, time constant 30 minutes
    noise: float = 0.1  # standard deviation of the measurement noise; the unit of fault amplitudes
    resolution: float = 0.0  # step of the converter; 0: none


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """One sensor of a device. Limits are in its unit; None: no such limit."""

    device_id: str
    metric: str
    asset_id: str
    asset_type: str
    unit: str
    period_ms: int
    label: str
    model: SensorModel
    low_low: float | None = None
    low: float | None = None
    high: float | None = None
    high_high: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Identity of the series."""
        return self.device_id, self.metric


@dataclass(frozen=True, kw_only=True)
class Device:
    """One MQTT client's worth of sensors and the payload form it speaks."""

    id: str
    payload: str
    sensors: tuple[Sensor, ...]


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One machine. `load` and `cycle` drive all of its sensors, which is why they correlate."""

    id: str
    type: str
    area: str
    devices: tuple[Device, ...]
    load_mean: float = 0.6
    load_daily: float = 0.1  # amplitude of the daily load cycle
    load_wander: float = 0.05  # standard deviation of the load's slow random part
    load_wander_s: float = 600.0  # its time constant
    modes: tuple[float, ...] = ()  # load levels between which the asset switches by itself
    mode_s: float = 7200.0  # mean stay in one mode
    cycle_s: float = 0.0  # length of the working cycle; 0: none
    cycle_duty: float = 0.4  # share of the cycle that is "on"
    simulate: bool = True  # False: only known to the registry; a replay sends its readings


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A labelled fault; times in seconds from the start of the run."""

    device_id: str
    metric: str
    kind: str
    start_s: float
    duration_s: float
    amplitude_sigma: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something legitimate that a detector must not alarm on; times in seconds from the start of the run."""

    asset_id: str
    kind: str
    start_s: float
    duration_s: float = 0.0
    amount: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Plant:
    """Everything a run simulates."""

    site: str
    assets: tuple[Asset, ...]
    faults: tuple[Fault, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def devices(self) -> Iterator[Device]:
        """All simulated devices in file order."""
        return (device for asset in self.assets if asset.simulate for device in asset.devices)

    @property
    def sensors(self) -> Iterator[Sensor]:
        """All simulated sensors in file order."""
        return (sensor for device in self.devices for sensor in device.sensors)


@dataclass(slots=True)
class _Reader:
    """Takes values out of one TOML table and complains with file and entry."""

    path: str
    where: str
    table: Mapping[str, Any]
    known: list[str] = field(default_factory=list)

    def take(self, key: str, kind: type, default: Any = ...) -> Any:
        self.known.append(key)
        if key not in self.table:
            if default is ...:
                raise PlantError(f"{self.path}: {self.where} has no {key!r}: add it")
            return default
        value = self.table[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind):
            raise PlantError(f"{self.path}: {self.where}: {key!r} must be a {kind.__name__}, not {value!r}")
        return value

    def children(self, key: str) -> list[Mapping[str, Any]]:
        self.known.append(key)
        found = self.table.get(key, [])
        if not isinstance(found, list):
            raise PlantError(f"{self.path}: {self.where}: write [[{key}]] with double brackets")
        return found

    def finish(self) -> None:
        for key in self.table:
            if key not in self.known:
                guess = get_close_matches(key, self.known, n=1)
                hint = f"; did you mean {guess[0]!r}?" if guess else f"; known are {', '.join(self.known)}"
                raise PlantError(f"{self.path}: {self.where}: unknown key {key!r}{hint}")


def load_plant(path: Path) -> Plant:
    """Plant from a file. Raises PlantError."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlantError(f"{path}: {error}") from error
    top = _Reader(str(path), "the file", table)
    site = top.take("site", str)
    assets = tuple(_asset(str(path), entry, index) for index, entry in enumerate(top.children("asset"), 1))
    faults = tuple(_fault(str(path), entry, index) for index, entry in enumerate(top.children("fault"), 1))
    events = tuple(_event(str(path), entry, index) for index, entry in enumerate(top.children("event"), 1))
    top.finish()
    plant = Plant(site=site, assets=assets, faults=faults, events=events)
    check_plant(plant, str(path))
    return plant


def check_plant(plant: Plant, path: str) -> None:
    """Raises PlantError for what is well-formed but senseless: doubles, unknown names, crossed limits."""
    keys: set[tuple[str, str]] = set()
    devices: set[str] = set()
    for device in (device for asset in plant.assets for device in asset.devices):
        if device.id in devices:
            raise PlantError(f"{path}: device {device.id!r} stands there twice: give each its own id")
        devices.add(device.id)
    for sensor in plant.sensors:
        if sensor.key in keys:
            raise PlantError(f"{path}: sensor {sensor.device_id}/{sensor.metric} stands there twice: remove one")
        keys.add(sensor.key)
        limits = [limit for limit in (sensor.low_low, sensor.low, sensor.high, sensor.high_high) if limit is not None]
        if limits != sorted(limits):
            where = f"sensor {sensor.device_id}/{sensor.metric}"
            raise PlantError(f"{path}: {where}: limits must rise from low_low to high_high, not {limits}")
    for fault in plant.faults:
        if (fault.device_id, fault.metric) not in keys:
            raise PlantError(f"{path}: fault {fault.kind}: no sensor {fault.device_id}/{fault.metric} in this plant")
    for event in plant.events:
        if event.asset_id not in {asset.id for asset in plant.assets}:
            raise PlantError(f"{path}: event {event.kind}: no asset {event.asset_id!r} in this plant")


def _asset(path: str, entry: Mapping[str, Any], index: int) -> Asset:
    reader = _Reader(path, f"asset {entry.get('id', index)!r}", entry)
    asset_id = reader.take("id", str)
    asset_type = reader.take("type", str)
    area = reader.take("area", str, "")
    numbers = {
        item.name: reader.take(item.name, float) for item in fields(Asset) if item.type is float and item.name in entry
    }
    simulate = reader.take("simulate", bool, True)
    modes = tuple(float(level) for level in reader.take("modes", list, []))
    devices = tuple(_device(path, child, asset_id, asset_type) for child in reader.children("device"))
    reader.finish()
    if not devices:
        raise PlantError(f"{path}: asset {asset_id!r} has no [[asset.device]]: add one")
    return Asset(id=asset_id, type=asset_type, area=area, devices=devices, modes=modes, simulate=simulate, **numbers)


def _device(path: str, entry: Mapping[str, Any], asset_id: str, asset_type: str) -> Device:
    reader = _Reader(path, f"device {entry.get('id', '?')!r} of asset {asset_id!r}", entry)
    device_id = reader.take("id", str)
    payload = reader.take("payload", str, "object")
    if payload not in PAYLOAD_FORMS:
        raise PlantError(f"{path}: device {device_id!r}: payload must be one of {', '.join(PAYLOAD_FORMS)}")
    sensors = tuple(_sensor(path, child, device_id, asset_id, asset_type) for child in reader.children("sensor"))
    reader.finish()
    if not sensors:
        raise PlantError(f"{path}: device {device_id!r} has no [[asset.device.sensor]]: add one")
    return Device(id=device_id, payload=payload, sensors=sensors)


def _sensor(path: str, entry: Mapping[str, Any], device_id: str, asset_id: str, asset_type: str) -> Sensor:
    reader = _Reader(path, f"sensor {device_id}/{entry.get('metric', '?')}", entry)
    metric = reader.take("metric", str)
    unit = reader.take("unit", str, "")
    label = reader.take("label", str, f"{device_id} {metric}")
    period_ms = reader.take("period_ms", int, 1000)
    if period_ms < 1:
        raise PlantError(f"{path}: {reader.where}: period_ms must be at least 1")
    if reader.take("model", str, "process") != "process":
        raise PlantError(f'{path}: {reader.where}: the only model is "process"; its parameters shape it')
    limits = {name: reader.take(name, float, None) for name in ("low_low", "low", "high", "high_high") if name in entry}
    model = SensorModel(
        **{item.name: reader.take(item.name, float) for item in fields(SensorModel) if item.name in entry}
    )
    reader.known += [item.name for item in fields(SensorModel)] + ["low_low", "low", "high", "high_high"]
    reader.finish()
    return Sensor(
        device_id=device_id,
        metric=metric,
        asset_id=asset_id,
        asset_type=asset_type,
        unit=unit,
        period_ms=period_ms,
        label=label,
        model=model,
        **limits,
    )


def _fault(path: str, entry: Mapping[str, Any], index: int) -> Fault:
    reader = _Reader(path, f"fault {index}", entry)
    fault = Fault(
        device_id=reader.take("device", str),
        metric=reader.take("metric", str),
        kind=reader.take("kind", str),
        start_s=reader.take("start_s", float),
        duration_s=reader.take("duration_s", float),
        amplitude_sigma=reader.take("amplitude_sigma", float, 10.0),
    )
    reader.finish()
    if fault.kind not in FAULT_KINDS:
        raise PlantError(f"{path}: fault {index}: unknown kind {fault.kind!r}; known are {', '.join(FAULT_KINDS)}")
    return fault


def _event(path: str, entry: Mapping[str, Any], index: int) -> Event:
    reader = _Reader(path, f"event {index}", entry)
    event = Event(
        asset_id=reader.take("asset", str),
        kind=reader.take("kind", str),
        start_s=reader.take("start_s", float),
        duration_s=reader.take("duration_s", float, 0.0),
        amount=reader.take("amount", float, 0.2),
    )
    reader.finish()
    if event.kind not in EVENT_KINDS:
        raise PlantError(f"{path}: event {index}: unknown kind {event.kind!r}; known are {', '.join(EVENT_KINDS)}")
    return event


def parse_fault_option(text: str) -> Fault:
    """Fault from `device/metric:kind:start_s:duration_s[:amplitude_sigma]`. Raises PlantError."""
    parts = text.split(":")
    names = parts[0].split("/")
    try:
        if len(names) != 2 or len(parts) not in (4, 5) or parts[1] not in FAULT_KINDS:
            raise ValueError
        amplitude = float(parts[4]) if len(parts) == 5 else 10.0
        return Fault(
            device_id=names[0],
            metric=names[1],
            kind=parts[1],
            start_s=float(parts[2]),
            duration_s=float(parts[3]),
            amplitude_sigma=amplitude,
        )
    except ValueError:
        raise PlantError(
            f"--fault {text!r}: write device/metric:kind:start_s:duration_s[:amplitude_sigma], "
            f"kind one of {', '.join(FAULT_KINDS)}"
        ) from None
