"""Physical signals of a whole plant: drivers per asset, then each sensor's lagged response.

Drivers: ambient temperature (daily cycle plus slow weather), load per asset (daily cycle, modes, slow random
part) and a working cycle per asset (a compressor, a batch). All sensors of an asset follow the same drivers with
their own gain and lag, so they predict each other as real ones do. Everything follows from the seed: chunk k is
the same in every run that starts at the same time on the same grid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldstream_sim.plant import Asset, Plant, Sensor

Floats = NDArray[np.float64]

DAY_S = 86400.0
WANDER_TAU_S = 1800.0  # of a sensor's own slow process
WEATHER_TAU_S = 14400.0
CHUNK_STEPS = 600


def first_order(driven: Floats, keep: Floats, state: Floats) -> Floats:
    """Column-wise y[t] = keep * y[t-1] + (1 - keep) * driven[t], from `state`, which is advanced in place."""
    out = np.empty_like(driven)
    gain = 1.0 - keep
    for step in range(len(driven)):
        state *= keep
        state += gain * driven[step]
        out[step] = state
    return out


@dataclass(frozen=True)
class RegimeStep:
    """From `at_s` on, the load of asset number `asset` differs by `amount`; until `until_s` if that is not inf."""

    asset: int
    at_s: float
    amount: float
    until_s: float = float("inf")
    standstill: bool = False


class PlantSignals:
    """Noise-free values of all sensors on a time grid, chunk by chunk, and interpolation between grid points.

    `start_s` is seconds since 1970; the grid is start_s + k * grid_s.
    """

    def __init__(self, plant: Plant, seed: int, start_s: float, grid_s: float = 1.0) -> None:
        self.sensors: list[Sensor] = list(plant.sensors)
        self._assets: list[Asset] = list(plant.assets)
        index = {asset.id: number for number, asset in enumerate(self._assets)}
        self._of_asset = np.array([index[sensor.asset_id] for sensor in self.sensors], dtype=np.intp)
        self.seed, self.start_s, self.grid_s = seed, start_s, grid_s
        self._regimes = [
            RegimeStep(
                asset=index[event.asset_id],
                at_s=start_s + event.start_s,
                amount=event.amount,
                until_s=start_s + event.start_s + event.duration_s if event.kind == "maintenance" else float("inf"),
                standstill=event.kind == "maintenance",
            )
            for event in plant.events
        ]
        models = [sensor.model for sensor in self.sensors]
        self._base = np.array([model.base for model in models])
        self._load_gain = np.array([model.load_gain for model in models])
        self._ambient_gain = np.array([model.ambient_gain for model in models])
        self._cycle_gain = np.array([model.cycle_gain for model in models])
        self._wander = np.array([model.wander for model in models])
        lag_s = np.array([max(model.lag_s, 1e-6) for model in models])
        self._lag_keep = np.exp(-grid_s / lag_s)
        self._wander_keep = np.full(len(models), np.exp(-grid_s / WANDER_TAU_S))
        self._load_keep = np.exp(-grid_s / np.array([asset.load_wander_s for asset in self._assets]))
        self._weather_keep = np.array([np.exp(-grid_s / WEATHER_TAU_S)])
        rng = np.random.default_rng([seed, 1])
        self._phase = rng.uniform(0.0, 1.0, len(self._assets))
        self._load_state = rng.standard_normal(len(self._assets)) * _stationary(self._load_keep)
        self._weather_state = rng.standard_normal(1) * _stationary(self._weather_keep)
        self._wander_state = rng.standard_normal(len(models)) * _stationary(self._wander_keep)
        self._mode_index = [0] * len(self._assets)
        self._mode_until = [start_s + rng.exponential(asset.mode_s) for asset in self._assets]
        self._lag_state: Floats | None = None
        self._chunks: list[Floats] = []
        self._first_chunk = 0

    def values(self, sensor: int, at_s: Floats) -> Floats:
        """Noise-free value of sensor number `sensor` at these times, which must not precede the kept chunks."""
        if not len(at_s):
            return np.empty(0)
        position = (at_s - self.start_s) / self.grid_s
        last = int(position.max()) + 1
        while (self._first_chunk + len(self._chunks)) * CHUNK_STEPS <= last:
            self._chunks.append(self._next_chunk())
        first = max(0, int(position.min()) // CHUNK_STEPS - self._first_chunk)
        span = np.concatenate([chunk[:, sensor] for chunk in self._chunks[first : last // CHUNK_STEPS + 1]])
        grid = np.arange(len(span)) + float((first + self._first_chunk) * CHUNK_STEPS)
        return np.interp(position, grid, span)

    def forget_before(self, at_s: float) -> None:
        """Drops chunks that end before this time: a long run stays small."""
        keep_from = int((at_s - self.start_s) / self.grid_s) // CHUNK_STEPS - 1
        while self._chunks and self._first_chunk < keep_from:
            self._chunks.pop(0)
            self._first_chunk += 1

    def _next_chunk(self) -> Floats:
        number = self._first_chunk + len(self._chunks)
        rng = np.random.default_rng([self.seed, 2, number])
        at_s = self.start_s + (number * CHUNK_STEPS + np.arange(CHUNK_STEPS)) * self.grid_s
        ambient = self._ambient(at_s, rng)
        load = self._load(at_s, rng)
        driven = load[:, self._of_asset] * self._load_gain + self._cycle(at_s)[:, self._of_asset] * self._cycle_gain
        if self._lag_state is None:
            self._lag_state = driven[0].copy()
        lagged = first_order(driven, self._lag_keep, self._lag_state)
        white = rng.standard_normal((CHUNK_STEPS, len(self.sensors)))
        wander = first_order(white, self._wander_keep, self._wander_state) / _stationary(self._wander_keep)
        values: Floats = self._base + lagged + ambient[:, None] * self._ambient_gain + wander * self._wander
        return values

    def _ambient(self, at_s: Floats, rng: np.random.Generator) -> Floats:
        weather = first_order(rng.standard_normal((len(at_s), 1)), self._weather_keep, self._weather_state)
        daily = 5.0 * np.sin(2 * np.pi * (at_s / DAY_S - 0.375))  # warmest at 15 h
        return np.asarray(daily + 1.5 * weather[:, 0] / _stationary(self._weather_keep)[0])

    def _load(self, at_s: Floats, rng: np.random.Generator) -> Floats:
        white = rng.standard_normal((len(at_s), len(self._assets)))
        slow = first_order(white, self._load_keep, self._load_state) / _stationary(self._load_keep)
        load = np.empty_like(slow)
        for number, asset in enumerate(self._assets):
            daily = np.sin(2 * np.pi * (at_s / DAY_S - 0.3 - 0.05 * self._phase[number]))
            mean = self._mode(number, asset, at_s, rng) if asset.modes else np.full(len(at_s), asset.load_mean)
            load[:, number] = mean + asset.load_daily * daily + asset.load_wander * slow[:, number]
        for regime in self._regimes:
            inside = (at_s >= regime.at_s) & (at_s < regime.until_s)
            if regime.standstill:
                load[inside, regime.asset] = 0.0
            else:
                load[inside, regime.asset] += regime.amount
        return np.clip(load, 0.0, 1.3)

    def _mode(self, number: int, asset: Asset, at_s: Floats, rng: np.random.Generator) -> Floats:
        level = np.empty(len(at_s))
        for step, now in enumerate(at_s):
            if now >= self._mode_until[number]:
                others = [mode for mode in range(len(asset.modes)) if mode != self._mode_index[number]]
                if others:
                    self._mode_index[number] = int(rng.choice(others))
                self._mode_until[number] = now + 0.25 * asset.mode_s + 0.75 * rng.exponential(asset.mode_s)
            level[step] = asset.modes[self._mode_index[number]]
        return level

    def _cycle(self, at_s: Floats) -> Floats:
        cycle = np.zeros((len(at_s), len(self._assets)))
        for number, asset in enumerate(self._assets):
            if asset.cycle_s > 0:
                phase = (at_s / asset.cycle_s + self._phase[number]) % 1.0
                cycle[:, number] = phase < asset.cycle_duty
        return cycle


def _stationary(keep: Floats) -> Floats:
    """Standard deviation of `first_order` driven by white noise of standard deviation 1."""
    return np.asarray(np.sqrt((1 - keep) / (1 + keep)))
