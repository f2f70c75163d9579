"""Labelled faults: what each kind does to the readings of one sensor.

Amplitudes are in units of the sensor's measurement noise, so that a fault of amplitude 8 is equally hard on a
thermometer and on a flow meter. Faults change values before the converter rounds them, as in reality; `stuck` and
`quantisation` act after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldstream_sim.plant import Fault, Sensor

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Mask = NDArray[np.bool_]

RATE_RISE_S = 60.0
MATE_EDGE_SHARE = 0.25  # a mate fault fades in and out over this share of its length


@dataclass(slots=True)
class ActiveFault:
    """A fault placed in time, with what it must remember between slices of the series."""

    fault: Fault
    start_ms: int
    end_ms: int
    held: float | None = None


def place(faults: Sequence[Fault], start_ms: int) -> dict[tuple[str, str], list[ActiveFault]]:
    """Faults by sensor, their times counted from `start_ms`."""
    placed: dict[tuple[str, str], list[ActiveFault]] = {}
    for fault in faults:
        begin = start_ms + round(fault.start_s * 1000)
        active = ActiveFault(fault, begin, begin + round(fault.duration_s * 1000))
        placed.setdefault((fault.device_id, fault.metric), []).append(active)
    return placed


def _offset(fault: Fault, share: Floats, elapsed_s: Floats, sensor: Sensor, clean: Floats) -> Floats:
    """What a fault adds to the values before rounding; `share` runs 0 to 1 over the fault."""
    size = fault.amplitude_sigma * sensor.model.noise
    match fault.kind:
        case "shift" | "spike":
            offset = np.full(len(share), size)
        case "ramp" | "drift":
            offset = size * share
        case "mate":
            offset = size * np.clip(np.minimum(share, 1 - share) / MATE_EDGE_SHARE, 0.0, 1.0)
        case "rate":
            offset = size * np.clip(elapsed_s / RATE_RISE_S, 0.0, 1.0)
        case "gain":
            offset = _gain_factor(size, sensor) * (clean - sensor.model.base)
        case "range":
            offset = _out_of_range(size, sensor) - clean
        case _:
            offset = np.zeros(len(share))
    return offset


def _gain_factor(size: float, sensor: Sensor) -> float:
    """Factor at which the usual deviation from the working point grows by `size`."""
    model = sensor.model
    usual = 0.6 * abs(model.load_gain) + 5.0 * abs(model.ambient_gain) + abs(model.cycle_gain) * 0.5
    return size / max(usual, model.noise)


def _out_of_range(size: float, sensor: Sensor) -> float:
    if sensor.high_high is not None:
        return sensor.high_high + size
    model = sensor.model
    span = abs(model.load_gain) * 1.3 + 10.0 * abs(model.ambient_gain) + abs(model.cycle_gain) + 6 * model.wander
    return model.base + span + size


def apply(
    active: Sequence[ActiveFault], sensor: Sensor, ts: Times, clean: Floats, noisy: Floats, *, rng: np.random.Generator
) -> tuple[Times, Floats]:
    """The readings that leave the sensor: event times and values after all faults and rounding.

    `clean` is free of noise, `noisy` has it; slices of one series must come in order of time.
    """
    values = noisy.copy()
    hits = [(item, inside) for item in active if (inside := _inside(item, ts, sensor)).any()]
    for item, inside in hits:
        elapsed_ms = (ts[inside] - item.start_ms).astype(float)
        share = elapsed_ms / max(1, item.end_ms - item.start_ms)
        values[inside] += _offset(item.fault, share, elapsed_ms / 1000, sensor, clean[inside])
        size = item.fault.amplitude_sigma * sensor.model.noise
        if item.fault.kind == "noise":
            values[inside] += rng.standard_normal(len(share)) * size
        elif item.fault.kind == "chatter":
            values[inside] += size * ((ts[inside] // (2 * sensor.period_ms)) % 2)
    if sensor.model.resolution > 0:
        values = np.round(values / sensor.model.resolution) * sensor.model.resolution
    for item in active:
        before = np.flatnonzero(ts < item.start_ms)
        if len(before):
            item.held = float(values[before[-1]])
    keep, moved = _after_conversion(hits, sensor, ts, values)
    return moved[keep], np.round(values[keep], 9)


def _after_conversion(
    hits: Sequence[tuple[ActiveFault, Mask]], sensor: Sensor, ts: Times, values: Floats
) -> tuple[Mask, Times]:
    """Faults behind the converter: changes `values` in place, says which readings remain and when."""
    keep = np.ones(len(ts), dtype=bool)
    moved = ts.copy()
    for item, inside in hits:
        size = item.fault.amplitude_sigma * sensor.model.noise
        match item.fault.kind:
            case "stuck":
                item.held = float(values[inside][0]) if item.held is None else item.held
                values[inside] = item.held
            case "gap":
                keep &= ~inside
            case "quantisation":
                values[inside] = np.round(values[inside] / size) * size
            case "clock":
                moved[inside] += round(item.fault.amplitude_sigma * 1000)
    return keep, moved


def _inside(item: ActiveFault, ts: Times, sensor: Sensor) -> Mask:
    # However short, a fault hits at least the first reading after its start.
    return np.asarray((ts >= item.start_ms) & (ts < max(item.end_ms, item.start_ms + sensor.period_ms)))
