"""Plants and fault schedules drawn from a seed: no two alike, so that nothing can be tuned to one of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fieldstream_sim.plant import FAULT_KINDS, Asset, Device, Event, Fault, Plant, Sensor, SensorModel

HOUR_S = 3600.0
DAY_S = 86400.0
QUIET_START_S = DAY_S  # no fault before: detectors state a warm-up, the truth respects one day
DATASET_KINDS = tuple(kind for kind in FAULT_KINDS if kind != "clock")
# metric, unit, base, load gain, ambient gain, cycle gain, lag in s, noise, resolution (all scaled at random)
_Row = tuple[str, str, float, float, float, float, float, float, float]
_METRICS: dict[str, list[_Row]] = {
    "pump": [
        ("temperature", "Cel", 40, 32, 0.4, 3, 900, 0.15, 0.05),
        ("current", "A", 5, 40, 0, 4, 5, 0.3, 0.05),
        ("pressure", "bar", 2, 5.5, 0, 0.6, 15, 0.03, 0.005),
        ("flow", "m3/h", 10, 100, 0, 9, 12, 0.8, 0.1),
        ("vibration", "mm/s", 1, 2, 0, 0.2, 20, 0.08, 0.01),
        ("oil_temperature", "Cel", 35, 18, 0.6, 2, 2400, 0.1, 0.0),
    ],
    "cold-room": [
        ("temperature", "Cel", -21, 3, 0.08, -2, 600, 0.06, 0.01),
        ("humidity", "%", 75, 8, 0.1, -5, 700, 0.4, 0.1),
        ("suction_pressure", "bar", 1.7, 0.5, 0.01, -0.6, 40, 0.02, 0.005),
        ("power", "kW", 4, 8, 0.05, 5, 20, 0.15, 0.01),
    ],
    "paint-booth": [
        ("temperature", "Cel", 22, 2, 0.1, 0.2, 500, 0.08, 0.02),
        ("humidity", "%", 55, 6, -0.3, 0.5, 400, 0.35, 0.1),
        ("airflow", "m/s", 0.2, 0.3, 0, 0.02, 10, 0.008, 0.001),
        ("paint_pressure", "bar", 2.2, 3, 0, 0.6, 6, 0.04, 0.01),
        ("paint_flow", "ml/min", 25, 320, 0, 40, 8, 4, 1),
    ],
}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How much goes wrong. `amplitude` fixes all amplitudes; None draws 8 to 24."""

    days: float
    faults_per_sensor_day: float = 0.12
    kinds: Sequence[str] = DATASET_KINDS
    amplitude: float | None = None
    regimes_per_asset_day: float = 0.15
    maintenances_per_asset_day: float = 0.05


def random_plant(seed: int, sensors: int, period_ms: int) -> Plant:
    """A plant with this many sensors."""
    rng = np.random.default_rng([seed, 10])
    assets: list[Asset] = []
    left = sensors
    while left > 0:
        kind = str(rng.choice(list(_METRICS)))
        rows = _METRICS[kind][: max(1, min(left, int(rng.integers(3, len(_METRICS[kind]) + 1))))]
        asset_id = f"{kind}-{len(assets) + 1:03d}"
        assets.append(_asset(rng, asset_id, kind, rows, period_ms))
        left -= len(rows)
    return Plant(site=f"random-{seed}", assets=tuple(assets))


def _asset(
    rng: np.random.Generator,
    asset_id: str,
    kind: str,
    rows: list[_Row],
    period_ms: int,
) -> Asset:
    style = rng.choice(["calm", "modes", "cycle"], p=[0.6, 0.2, 0.2])
    devices = []
    half = (len(rows) + 1) // 2
    for number, part in enumerate((rows[:half], rows[half:]), 1):
        device_id = f"{asset_id}-{number}"
        found = tuple(_sensor(rng, device_id, asset_id, kind, row, period_ms=period_ms) for row in part)
        if found:
            devices.append(Device(id=device_id, payload="object", sensors=found))
    return Asset(
        id=asset_id,
        type=kind,
        area=f"area-{int(rng.integers(1, 5))}",
        devices=tuple(devices),
        load_mean=float(rng.uniform(0.45, 0.7)),
        load_daily=float(rng.uniform(0.05, 0.18)),
        load_wander=float(rng.uniform(0.02, 0.07)),
        load_wander_s=float(rng.uniform(600, 3600)),
        modes=(0.35, 0.6, 0.85) if style == "modes" else (),
        mode_s=float(rng.uniform(1.5, 6)) * HOUR_S,
        cycle_s=float(rng.uniform(900, 3600)) if style == "cycle" else 0.0,
        cycle_duty=float(rng.uniform(0.3, 0.7)),
    )


def _sensor(
    rng: np.random.Generator,
    device_id: str,
    asset_id: str,
    kind: str,
    row: _Row,
    *,
    period_ms: int,
) -> Sensor:
    metric, unit, base, load, ambient, cycle, lag, noise, resolution = row
    vary = rng.uniform(0.8, 1.25, 6)
    noise *= float(vary[0])
    model = SensorModel(
        base=base * float(vary[1]) if base > 0 else base,
        load_gain=load * float(vary[2]),
        ambient_gain=ambient * float(vary[3]),
        cycle_gain=cycle * float(vary[4]),
        lag_s=lag * float(vary[5]),
        wander=noise * float(rng.uniform(0.0, 0.8)),
        noise=noise,
        resolution=resolution,
    )
    # Limits lie outside what the process can do at its extremes; six sensors of ten have some.
    driven = (min(0.0, 1.3 * model.load_gain), max(0.0, 1.3 * model.load_gain))
    margin = 12 * abs(model.ambient_gain) + 12 * noise
    low = model.base + driven[0] + min(0.0, model.cycle_gain) - margin
    high = model.base + driven[1] + max(0.0, model.cycle_gain) + margin
    span = high - low
    limited = bool(rng.uniform() < 0.6)
    return Sensor(
        device_id=device_id,
        metric=metric,
        asset_id=asset_id,
        asset_type=kind,
        unit=unit,
        period_ms=period_ms,
        label=f"{asset_id} {metric}",
        low_low=round(low - 0.05 * span, 4) if limited else None,
        low=round(low, 4) if limited else None,
        high=round(high, 4) if limited else None,
        high_high=round(high + 0.05 * span, 4) if limited else None,
        model=model,
    )


def duration_s(kind: str, period_s: float, rng: np.random.Generator) -> float:
    """How long a fault of this kind lasts; at least some readings, whatever the sampling period."""
    hours = {
        "spike": (0.0, 0.0),
        "shift": (1.0, 4.0),
        "ramp": (0.5, 1.5),
        "drift": (8.0, 14.0),
        "mate": (3.0, 6.0),
        "stuck": (0.75, 3.0),
        "gap": (0.4, 3.0),
        "noise": (0.5, 3.0),
        "gain": (3.0, 8.0),
        "range": (0.25, 1.0),
        "rate": (0.5, 1.5),
        "chatter": (0.5, 2.0),
        "quantisation": (1.0, 4.0),
        "clock": (0.5, 1.0),
    }[kind]
    if kind == "spike":
        return period_s
    fewest = 40 if kind in ("noise", "quantisation", "stuck") else 12
    return max(float(rng.uniform(*hours)) * HOUR_S, fewest * period_s)


def random_faults(plant: Plant, seed: int, schedule: Schedule) -> tuple[Fault, ...]:
    """Faults by schedule; faults of one asset do not overlap and leave four hours between them."""
    rng = np.random.default_rng([seed, 11])
    faults: list[Fault] = []
    end_s = schedule.days * DAY_S
    for asset in plant.assets:
        sensors = [sensor for device in asset.devices for sensor in device.sensors]
        rate = schedule.faults_per_sensor_day * len(sensors)
        free_s = QUIET_START_S
        while rate > 0:
            start_s = free_s + rng.exponential(DAY_S / rate)
            sensor = sensors[int(rng.integers(len(sensors)))]
            kind = str(rng.choice(list(schedule.kinds)))
            period_s = sensor.period_ms / 1000
            lasts_s = duration_s(kind, period_s, rng)
            amplitude = schedule.amplitude or float(rng.choice([8.0, 12.0, 16.0, 24.0]))
            if kind in ("noise", "quantisation") and schedule.amplitude is None:
                amplitude /= 2
            if start_s + lasts_s + 1800 > end_s:
                break
            faults.append(
                Fault(
                    device_id=sensor.device_id,
                    metric=sensor.metric,
                    kind=kind,
                    start_s=round(start_s),
                    duration_s=lasts_s,
                    amplitude_sigma=amplitude,
                )
            )
            free_s = start_s + lasts_s + 4 * HOUR_S
    return tuple(faults)


def random_events(plant: Plant, seed: int, schedule: Schedule, faults: Sequence[Fault]) -> tuple[Event, ...]:
    """Regime changes and planned maintenance, two hours or more away from faults of the same asset."""
    rng = np.random.default_rng([seed, 12])
    asset_of = {sensor.key: sensor.asset_id for sensor in plant.sensors}
    events: list[Event] = []
    for asset in plant.assets:
        busy = [
            (fault.start_s - 2 * HOUR_S, fault.start_s + fault.duration_s + 2 * HOUR_S)
            for fault in faults
            if asset_of[fault.device_id, fault.metric] == asset.id
        ]
        for kind, per_day in (
            ("regime", schedule.regimes_per_asset_day),
            ("maintenance", schedule.maintenances_per_asset_day),
        ):
            for _ in range(int(rng.poisson(per_day * schedule.days))):
                start_s = float(rng.uniform(0.5 * DAY_S, max(schedule.days - 0.2, 0.6) * DAY_S))
                lasts_s = float(rng.uniform(0.5, 3.0)) * HOUR_S if kind == "maintenance" else 0.0
                amount = float(rng.choice([-1, 1]) * rng.uniform(0.08, 0.25))
                if all(start_s + lasts_s < begin or start_s > end for begin, end in busy):
                    events.append(
                        Event(
                            asset_id=asset.id,
                            kind=kind,
                            start_s=round(start_s),
                            duration_s=round(lasts_s),
                            amount=amount,
                        )
                    )
                    busy.append((start_s - 2 * HOUR_S, start_s + lasts_s + 2 * HOUR_S))
    return tuple(events)
