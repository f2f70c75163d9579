"""Asset mates: sensors of one asset predict each other, and the time of day; what is left over is tested.

Per block (a minute, or the slowest sensor's step) the model holds one fading moment matrix of all features: each
sensor's block mean, four lagged averages of it (first-order thermal lag), daily harmonics, a constant. Every now and
then a ridge regression per sensor on the others' features is solved from it (recursive least squares in batches,
Plackett 1950). A sensor whose finding stands is replaced by its prediction, so it teaches nothing and misleads no
mate; ordinary residuals are clipped before they teach (bounded influence, Huber 1964).

A prediction from a state of the plant never seen before is worth less: thresholds widen with the features'
Mahalanobis distance, which also points to the culprit, since a broken mate is far away for all but itself.
Weaknesses: two sensors alone cannot tell which of them is wrong; more than twelve sensors are split into groups in
order of appearance; before an hour of history there is no judgement.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldstream_central.detect.echoes import Echoes
from fieldstream_central.detect.packing import pack, unpack
from fieldstream_central.detect.residuals import MemberTests

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MAX_MEMBERS = 12
MIN_BLOCK_MS = 60_000
WARM_BLOCKS = 20
MEMORY_MS = 5 * 86_400_000
DAY_MS = 86_400_000.0
HARMONICS = 4
_FIRST_SOLVE = 40
_SOLVE_EVERY_MS = 90 * 60_000
_DAILY_AFTER_DAYS = 0.8
# Shrinkage of the daily pattern: nearly full until most of a day has been seen, then less with the cube of the days.
# What the pattern is held back from, the mates' weights take up: load and weather both follow the day, and the next
# change of load would be mispredicted. Let go at once, the first day's weather would be taken for every day's.
_EARLY_DAILY_RIDGE, _DAILY_RIDGE = 3.0, 0.02
_RIDGE, _YOUNG_RIDGE = 1e-3, 3.0
_LIKE_BLOCKS = 50.0  # for so many the word of like assets is believed as it is
_CLIP = 4.0
_LAGS_MS = (150_000.0, 400_000.0, 1_000_000.0, 2_600_000.0)  # on a log scale: their sums come near any lag between
_LAGS = len(_LAGS_MS)
LIKE_MS = 300_000.0
LEFT_FADE = 1 / 40
LEAST_HEED = 0.5  # of its own spread that a sensor must take from like assets to be heard by them


class MateModel:
    """Moments, regressions and tests of one group of sensors."""

    def __init__(self) -> None:
        self.members: list[str] = []
        self.tests: list[MemberTests] = []
        self.block_ms = MIN_BLOCK_MS
        self.block = -1
        self.blocks = 0.0  # learned so far, fading
        self.total = 0.0  # learned so far, all
        self.next_solve = float(_FIRST_SOLVE)
        self._sums: list[float] = []
        self._counts: list[int] = []
        self._last_ts: list[int] = []
        self._warm: list[list[float]] = []
        self.center = np.zeros(0)
        self.scale = np.zeros(0)
        self.lagged = np.zeros((0, _LAGS))  # of what is believed
        self.lagged_raw = np.zeros((0, _LAGS))  # of what is measured
        self.like = np.zeros(0)  # what like assets' sensors of the same metric show of late
        self.left = np.zeros(0)  # what is left of that there once their own regressions have had it
        self.shared = np.zeros(0)  # what of it is expected here too
        self.echoes = Echoes(0, _LAGS)
        self.moments = np.zeros((0, 0))
        self.weights = np.zeros((0, 0))
        self.bias = np.zeros(0)  # offsets accepted as normal, model units
        self.reach = np.zeros(0)  # largest size of believed values: predictions beyond twice that are cut
        self.regime_left = 0  # blocks of fast learning after a change of regime
        self.changed = False

    @property
    def ready(self) -> bool:
        """Whether there are predictions at all."""
        return self.weights.size > 0

    @property
    def age_ms(self) -> float:
        """How long has been learned so far, silence left out."""
        return self.total * self.block_ms

    def add(self, key: str) -> int:
        """Adds a sensor; learning starts over when one joins after the warm-up, which is rare."""
        self.members.append(key)
        self.tests.append(MemberTests())
        self._sums.append(0.0)
        self._counts.append(0)
        self._last_ts.append(0)
        self._restart()
        return len(self.members) - 1

    def _restart(self) -> None:
        self._warm = []
        self.blocks = self.total = 0.0
        self.next_solve = float(_FIRST_SOLVE)
        self.weights = np.zeros((0, 0))
        self.center = np.zeros(0)
        self.changed = True

    def take(self, member: int, mean: float, last_ts: int) -> None:
        """Adds a window of the current block."""
        self._sums[member] += mean
        self._counts[member] += 1
        self._last_ts[member] = last_ts

    def close_block(self, step_ms: float) -> Floats | None:
        """Ends the current block. Values by member, NaN where silent; None while still warming up.

        `step_ms` is the slowest member's window spacing; during warm-up it sets the block length.
        """
        values = [total / count if count else math.nan for total, count in zip(self._sums, self._counts, strict=True)]
        for index in range(len(self._sums)):
            self._sums[index], self._counts[index] = 0.0, 0
        self.changed = True
        if self.center.size:
            return np.array(values)
        wanted = max(MIN_BLOCK_MS, round(step_ms / 1000) * 1000)
        if wanted > 1.5 * self.block_ms or wanted < 0.6 * self.block_ms:
            self.block_ms = wanted
            self.block = -1
            self._warm = []
            return None
        self._warm.append(values)
        if len(self._warm) >= WARM_BLOCKS:
            self._begin()
        return None

    def skip(self, blocks: int) -> None:
        """So many whole blocks passed without any reading."""
        if blocks > 0:
            for test in self.tests:
                test.silent_blocks += float(blocks)

    def _begin(self) -> None:
        history = np.array(self._warm)
        known = np.isfinite(history)
        count = np.maximum(known.sum(axis=0), 1)
        filled = np.where(known, history, 0.0)
        self.center = filled.sum(axis=0) / count
        spread = np.sqrt((np.where(known, history - self.center, 0.0) ** 2).sum(axis=0) / count)
        self.scale = np.where(spread > 0, spread, np.maximum(np.abs(self.center) * 1e-3, 1e-6))
        size = self._size()
        self.lagged = np.zeros((len(self.members), _LAGS))
        self.lagged_raw = np.zeros((len(self.members), _LAGS))
        self.like, self.left, self.shared = np.zeros((3, len(self.members)))
        self.echoes = Echoes(len(self.members), _LAGS)
        self.moments = np.zeros((size, size))
        self.reach = np.ones(len(self.members))
        self.bias = np.zeros(len(self.members))
        for number, row in enumerate(np.where(known, (history - self.center) / self.scale, 0.0)):
            self._learn(self._features(row, (self.block - len(history) + number) * self.block_ms))
            self._follow(row)
        self._warm = []

    def _size(self) -> int:
        return (2 + _LAGS) * len(self.members) + HARMONICS + 1

    def _features(self, standard: Floats, at_ms: float) -> Floats:
        count = len(self.members)
        features = np.empty(self._size())
        features[:count] = standard
        features[count : (1 + _LAGS) * count] = self.lagged.T.ravel()
        features[(1 + _LAGS) * count : (2 + _LAGS) * count] = self.like
        angle = 2.0 * math.pi * (at_ms / DAY_MS)
        features[-5:-1] = (math.sin(angle), math.cos(angle), math.sin(2 * angle), math.cos(2 * angle))
        features[-1] = 1.0
        return features

    def _follow(self, believed: Floats, measured: Floats | None = None) -> None:
        raw = believed if measured is None else np.where(np.isfinite(measured), measured, believed)
        # Grows by measured values only: predictions that feed on predictions must not run away.
        self.reach = np.maximum(self.reach, np.where(believed == raw, np.abs(raw), 0.0))
        keep = self._keep()
        self.lagged = keep * self.lagged + (1 - keep) * believed[:, None]
        self.lagged_raw = keep * self.lagged_raw + (1 - keep) * raw[:, None]

    def _keep(self) -> Floats:
        return np.asarray(np.exp(-self.block_ms / np.array(_LAGS_MS)))

    def hear(self, like: Floats, left: Floats) -> None:
        """Takes in what like assets' sensors showed in the block before, and what was left of it once their regressions
        had had it, in units of their scales. NaN: not known; the first stays as it was, the second fades in hours."""
        gain = 1.0 - math.exp(-self.block_ms / LIKE_MS)
        self.like += gain * np.nan_to_num(like - self.like)
        self.left += np.where(np.isnan(left), -LEFT_FADE * self.left, left - self.left) * gain
        self.shared = self.left * np.array([test.share * test.scale for test in self.tests])

    def unusual(self) -> Floats:
        """How far beyond twice its usual size is what like assets show, by member, in units of their scale."""
        mine = slice((1 + _LAGS) * len(self.members), (2 + _LAGS) * len(self.members))
        usual = np.sqrt(np.diag(self.moments)[mine] / max(self.blocks, 1.0))
        return np.asarray(np.maximum(np.abs(self.like) - 2.0 * usual, 0.0))

    def told_apart(self) -> Floats:
        """The part of the predictions that rests on like assets."""
        count = len(self.members)
        return np.asarray(self.weights[:, (1 + _LAGS) * count : (2 + _LAGS) * count] @ self.like)

    def heeding(self) -> Mask:
        """Who takes from like assets what they share: who hardly does sees it by its own mates, and knows nothing of it
        to tell."""
        count = len(self.members)
        own = np.diagonal(self.weights, (1 + _LAGS) * count)
        return np.asarray(own >= LEAST_HEED * np.array([test.raw_scale for test in self.tests]))

    def believe(self, member: int) -> None:
        """What was set aside is believed after all: the lagged averages take the measured values."""
        self.lagged[member] = self.lagged_raw[member]

    def disbelieve(self, member: int) -> None:
        """The member's recent residual was its own error: it leaves the lagged averages."""
        self.lagged[member] -= self.echoes.lagged[member]

    def settle(self, standard: Floats) -> None:
        """After a standstill: the lagged averages start from here."""
        known = np.isfinite(standard)
        self.lagged[known] = standard[known, None]
        self.lagged_raw[known] = standard[known, None]

    def with_measured(self, features: Floats, member: int, standard: Floats) -> Floats:
        """The features if the member's measured values were true."""
        count = len(self.members)
        changed = features.copy()
        changed[member] = standard[member]
        changed[count + member : (1 + _LAGS) * count : count] = self.lagged_raw[member]
        return changed

    def _learn(self, features: Floats, weight: float = 1.0) -> None:
        memory = max(MEMORY_MS / self.block_ms, 40.0 * len(features))
        keep = 1.0 - 1.0 / memory
        self.moments *= keep
        self.moments += weight * np.outer(features, features)
        self.blocks = self.blocks * keep + weight
        self.total += 1.0
        if self.total >= self.next_solve:
            self._solve()
            self.next_solve = self.total + max(20.0, min(0.15 * self.total, _SOLVE_EVERY_MS / self.block_ms))

    def _others(self, member: int) -> NDArray[np.intp]:
        count = len(self.members)
        return np.array(
            [index for index in range(self._size()) if index % count != member or index >= count * (1 + _LAGS)]
        )

    def _solve(self) -> None:
        size = self._size()
        scaled = self.moments / self.blocks
        ridge = self._ridge()
        weights = np.zeros((len(self.members), size))
        for member in range(len(self.members)):
            others = self._others(member)
            left = scaled[np.ix_(others, others)] + ridge * np.eye(len(others))
            left[-1, -1] -= ridge * 0.99  # the constant is hardly shrunk
            daily = np.arange(-1 - HARMONICS, -1)
            left[daily, daily] += self._daily_ridge()
            right = scaled[others, member].copy()
            # Until it is known better, what moves like assets moves this one as much.
            like = others == (1 + _LAGS) * len(self.members) + member
            left[like, like] += _LIKE_BLOCKS / self.blocks
            right[like] += _LIKE_BLOCKS / self.blocks * self.tests[member].raw_scale
            weights[member, others] = np.linalg.solve(left, right)
        self.weights = weights.astype(np.float32).astype(float)  # single precision does, and is half the state

    def _ridge(self) -> float:
        return _RIDGE + _YOUNG_RIDGE / self.blocks

    def _daily_ridge(self) -> float:
        days = self.age_ms / DAY_MS
        return _EARLY_DAILY_RIDGE if days < _DAILY_AFTER_DAYS else _DAILY_RIDGE / days**3

    def distance(self, member: int, features: Floats) -> float:
        """Mahalanobis distance of the other sensors' features from all seen, 1 on average."""
        others = self._others(member)
        left = self.moments[np.ix_(others, others)] / self.blocks + 0.1 * self._ridge() * np.eye(len(others))
        part = features[others]
        return float(part @ np.linalg.solve(left, part)) / len(others)

    def standardise(self, values: Floats) -> Floats:
        """Values in the units of the model."""
        return np.asarray((values - self.center) / self.scale - self.bias)

    def predict(self, standard: Floats, at_ms: float) -> tuple[Floats, Floats]:
        """Features and predictions; missing values must be filled."""
        features = self._features(standard, at_ms)
        bound = 2.0 * self.reach + 3.0
        return features, np.minimum(np.maximum(self.weights @ features, -bound), bound) + self.shared

    def bound(self, most: float) -> Floats:
        """So many residual scales by member, model units; infinite where the scale is not known yet."""
        return np.array([most * test.scale if test.scale > 0.0 else math.inf for test in self.tests])

    def absorb(
        self, standard: Floats, at_ms: float, predicted: Floats, *, taught: Mask, believed: Mask, weight: float
    ) -> None:
        """Learns a block. Who is not taught enters the moments as predicted, the rest clipped; who is not believed
        enters the lagged averages as predicted."""
        known = np.isfinite(standard)
        residual = np.where(known, standard - predicted, 0.0)
        mature = self.age_ms > DAY_MS and weight <= 1.0
        bound = self.bound(_CLIP if mature else math.inf)
        ordinary = np.where(taught, np.minimum(np.maximum(residual, -bound), bound), 0.0)
        self._learn(self._features(predicted + ordinary, at_ms), weight)
        deviation = np.where(believed, residual, 0.0)
        self.echoes.follow(deviation, self._keep())
        self._follow(predicted + deviation, standard)

    def absorb_unjudged(self, standard: Floats, at_ms: float) -> None:
        """Learns a block before there are predictions; missing values count as average."""
        filled = np.where(np.isfinite(standard), standard, 0.0)
        self._learn(self._features(filled, at_ms))
        self._follow(filled)

    def accept(self, member: int, residual: float) -> None:
        """A lasting offset becomes the new normal: from now on it is taken off the member's values."""
        self.bias[member] += residual
        self.lagged[member] = self.lagged_raw[member] = self.lagged_raw[member] - residual

    def last_ts(self, member: int) -> int:
        """Event time of the member's last reading."""
        return self._last_ts[member]

    def dump(self) -> bytes:
        """State as bytes."""
        size = self._size()
        upper = np.triu_indices(size)
        head = [float(self.block_ms), float(self.block), self.blocks, self.total, self.next_solve]
        head.append(float(self.regime_left))
        started = bool(self.center.size)
        numbers = [*head, *self._sums, *map(float, self._counts), *map(float, self._last_ts)]
        for test in self.tests:
            numbers += test.numbers()
        if started:
            numbers += [
                *self.center,
                *self.scale,
                *self.bias,
                *self.reach,
                *self.lagged.ravel(),
                *self.lagged_raw.ravel(),
                *self.like,
                *self.left,
                *self.moments[upper],
                *self.echoes.numbers(),
            ]
        if self.ready:
            numbers += [*self.weights.ravel()]
        numbers += [getattr(test, name) for test in self.tests for name in test.LATER]
        numbers += self.echoes.bounded.ravel().tolist()
        numbers += [test.doubts for test in self.tests]
        return pack(numbers, {"members": self.members, "started": started, "ready": self.ready, "warm": self._warm})

    @classmethod
    def load(cls, part: bytes) -> "MateModel":
        """Inverse of `dump`."""
        numbers, rest = unpack(part)
        model = cls()
        for key in rest["members"]:
            model.add(key)
        model._fill(iter(numbers), rest)
        model.changed = False
        return model

    def _fill(self, numbers: Iterator[float], rest: dict[str, Any]) -> None:
        count, size = len(self.members), self._size()

        def take(length: int) -> Floats:
            return np.array([next(numbers) for _ in range(length)])

        block_ms, block, self.blocks, self.total, self.next_solve, regime_left = take(6).tolist()
        self.regime_left = int(regime_left)
        self.block_ms, self.block = int(block_ms), int(block)
        self._sums = take(count).tolist()
        self._counts = [int(value) for value in take(count)]
        self._last_ts = [int(value) for value in take(count)]
        for test in self.tests:
            test.restore(numbers)
        self._warm = rest["warm"]
        if rest["started"]:
            self.center, self.scale, self.bias, self.reach = (take(count) for _ in range(4))
            self.lagged = take(_LAGS * count).reshape(count, _LAGS)
            self.lagged_raw = take(_LAGS * count).reshape(count, _LAGS)
            self.like, self.left = take(count), take(count)
            self.shared = np.zeros(count)
            self.moments = np.zeros((size, size))
            self.moments[np.triu_indices(size)] = take(size * (size + 1) // 2)
            self.moments = self.moments + np.triu(self.moments, 1).T
            self.echoes = Echoes(count, _LAGS)
            self.echoes.restore(numbers)
        if rest["ready"]:
            self.weights = take(count * size).reshape(count, size)
        for test in self.tests:
            for name in test.LATER:
                setattr(test, name, next(numbers, 0.0))
        bounded = self.echoes.bounded
        bounded.flat[:] = [next(numbers, 0.0) for _ in range(bounded.size)]
        for test in self.tests:
            test.doubts = next(numbers, 0.0)
