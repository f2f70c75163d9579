"""All sensors of a plant as streams of readings, slice of time by slice of time."""

import numpy as np
from numpy.typing import NDArray

from fieldstream_sim.faults import ActiveFault, apply, place
from fieldstream_sim.plant import Device, Plant, Sensor
from fieldstream_sim.signals import PlantSignals
from fieldstream_sim.truth import FaultRow, Reading

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


class SensorStream:
    """Readings of one sensor. Slices must be asked for in order; they then depend on the seed alone."""

    def __init__(
        self,
        number: int,
        sensor: Sensor,
        signals: PlantSignals,
        faults: list[ActiveFault],
        *,
        period_ms: int,
        phase_ms: int,
    ) -> None:
        self.sensor, self._number, self._signals = sensor, number, signals
        self.faults, self.period_ms, self._phase_ms = faults, period_ms, phase_ms
        self._noise = np.random.default_rng([signals.seed, 3, number])
        self._fault_noise = np.random.default_rng([signals.seed, 4, number])

    def slice(self, from_ms: int, to_ms: int) -> tuple[Times, Floats]:
        """Event times and values of the readings due in [from_ms, to_ms), all faults applied."""
        first = -((self._phase_ms - from_ms) // self.period_ms)
        last = -((self._phase_ms - to_ms) // self.period_ms)
        ts = np.arange(first, last, dtype=np.int64) * self.period_ms + self._phase_ms
        clean = self._signals.values(self._number, ts / 1000)
        noisy = clean + self._noise.standard_normal(len(ts)) * self.sensor.model.noise
        return apply(self.faults, self.sensor, ts, clean, noisy, rng=self._fault_noise)


class Fleet:
    """A plant in operation from `start_ms` on; `rate_factor` 10 makes every sensor report ten times as often."""

    def __init__(
        self, plant: Plant, seed: int, start_ms: int, *, grid_s: float = 1.0, rate_factor: float = 1.0
    ) -> None:
        self.plant = plant
        self._signals = PlantSignals(plant, seed, start_ms / 1000, grid_s)
        self._placed = place(plant.faults, start_ms)
        phases = np.random.default_rng([seed, 5])
        phase_of = {device.id: float(phases.uniform()) for device in plant.devices}
        self.streams: dict[tuple[str, str], SensorStream] = {}
        for number, sensor in enumerate(self._signals.sensors):
            period_ms = max(1, round(sensor.period_ms / rate_factor))
            self.streams[sensor.key] = SensorStream(
                number,
                sensor,
                self._signals,
                self._placed.get(sensor.key, []),
                period_ms=period_ms,
                phase_ms=int(phase_of[sensor.device_id] * period_ms),
            )

    def readings(self, device: Device, from_ms: int, to_ms: int) -> list[Reading]:
        """Readings of a device due in the slice, by event time."""
        found = []
        for sensor in device.sensors:
            ts, values = self.streams[sensor.key].slice(from_ms, to_ms)
            found += [
                Reading(sensor.device_id, sensor.metric, at, value)
                for at, value in zip(ts.tolist(), values.tolist(), strict=True)
            ]
        found.sort(key=lambda reading: reading.ts)
        return found

    def forget_before(self, at_ms: int) -> None:
        """Frees memory of the past."""
        self._signals.forget_before(at_ms / 1000)

    def fault_rows(self) -> list[FaultRow]:
        """Labels of all faults, as planned."""
        asset_of = {sensor.key: sensor.asset_id for sensor in self.plant.sensors}
        return [
            FaultRow(*key, asset_of[key], item.fault.kind, item.fault.amplitude_sigma, item.start_ms, item.end_ms)
            for key, items in self._placed.items()
            for item in items
        ]
