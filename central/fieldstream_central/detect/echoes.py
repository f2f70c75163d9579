"""What a sensor's own error does to the predictions of its mates, at every time scale that is tested.

A sensor that is off by d(t) shows d as its own residual and shifts every mate's prediction by the regression's weights
times d and its lagged averages. Both are linear, so for each sensor its residual's own lagged averages are kept, and
ring, short and long means of all of them: with these, "what would be left of everybody's residual if c alone were
off?" has an exact answer, whatever the course of the fault (fault reconstruction: Dunia and Qin 1998).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Mask = NDArray[np.bool_]

RING, JUMP_RECENT = 12, 3
ABOUT = 5  # blocks about a spike: two before it, itself, two after
ALONE_SHARE = 0.5  # of a spike's size by which it sticks out of either neighbour
LASTING_SHARE = 0.3  # of a jump's size that each of its three blocks must be away from those before
FOLLOW_MEMORY, FOLLOW_MOST = 1500.0, 3.0  # blocks; deviations of the predicted excess that one block may count for
SHORT, LONG = 1 / 8, 1 / 30
_GAINS = np.array([[SHORT], [LONG]])
STATISTICS = ("mate-shift", "mate-inconsistency", "drift", "spike")  # jump, short mean, long mean, excess of one block


class Echoes:
    """Residuals of `count` sensors, shape (count, 1 + lags): own residual, then its lagged averages."""

    def __init__(self, count: int, lags: int) -> None:
        self.lagged = np.zeros((count, lags))
        self.ring = np.zeros((RING, count, 1 + lags))
        self.filled = np.zeros(count)  # entries of the ring that hold something, by sensor
        self.values = np.full((ABOUT, count), np.nan)  # the last blocks' own, NaN where silent
        self.excess = np.zeros(count)  # of the block in their middle, see `_exceed`
        self.followed = np.zeros((2, count))  # predicted excess times the value's, and times itself
        # Single precision does for means, and is half the state.
        self.short = np.zeros((count, 1 + lags), np.float32)
        self.long = np.zeros((count, 1 + lags), np.float32)
        self.bounded = np.zeros((2, count), np.float32)  # short and long mean of the own, each block's bounded

    def take(self, residual: Floats, values: Floats, bound: Floats) -> None:
        """Takes the block's residuals and values in. `bound` is what one block may count for in a bounded mean."""
        self.values[:-1] = self.values[1:]
        self.values[-1] = values
        now = np.concatenate((residual[:, None], self.lagged), axis=1)
        self.ring[:-1] = self.ring[1:]
        self.ring[-1] = now
        np.minimum(self.filled + 1.0, RING, out=self.filled)
        self.short += SHORT * (now - self.short)
        self.long += LONG * (now - self.long)
        self.bounded += _GAINS * (np.clip(residual, -bound, bound) - self.bounded)
        self._exceed()

    def _exceed(self) -> None:
        """How far the block in the middle is off those about it, beyond what its mates' excess lets expect.

        From one block to the next most of what a prediction does is its mates' noise, so it is followed only so far as
        it has proved right: by the regression of the value's excess on the predicted one.
        """
        value, left = _middle(self.values), _middle(self.ring[-ABOUT:, :, 0])
        known = np.isfinite(value) & (self.filled >= ABOUT)
        value, left = np.where(known, value, 0.0), np.where(known, left, 0.0)
        predicted = value - left
        product, square = self.followed
        share = np.clip(product / np.maximum(square, 1e-12), 0.0, 1.0)
        self.excess = value - share * predicted
        bound = np.where(square > 0.0, FOLLOW_MOST * np.sqrt(square), np.inf)
        weight = known / np.maximum(np.abs(predicted) / bound, 1.0) ** 2 / FOLLOW_MEMORY
        self.followed += weight * (predicted * np.array((value, predicted)) - self.followed)

    def follow(self, deviation: Floats, keep: Floats) -> None:
        """How far the values that entered the model's lagged averages were from their predictions."""
        self.lagged *= keep
        self.lagged += (1.0 - keep) * deviation[:, None]

    def sizes(self) -> Floats:
        """Sizes of the sensors' own jump, bounded short and long mean, and excess, of shape (4, count)."""
        return np.abs([self._jump(self.ring[:, :, 0]), *self.bounded, self.excess])

    def alone(self) -> Mask:
        """Whose excess is a spike: residual and value stick out of both their neighbours."""
        sign, least = np.sign(self.excess), ALONE_SHARE * np.abs(self.excess)
        found = self.filled >= ABOUT
        for about in (self.ring[-ABOUT:, :, 0], self.values):
            found = found & (np.minimum((about[2] - about[1]) * sign, (about[2] - about[3]) * sign) > least)
        return found

    def means(self, number: int) -> Floats | Singles:
        """Jump, short or long mean of all residuals and their lagged averages, of shape (count, 1 + lags)."""
        if number == 0:
            return np.where(self._jump(self.ring[:, :, 0])[:, None] != 0.0, self._step(self.ring), 0.0)
        return self.short if number == 1 else self.long

    def _before(self, ring: Floats) -> Floats:
        """Mean of the blocks before the last three."""
        count = np.maximum(self.filled - JUMP_RECENT, 1.0)
        return np.asarray(ring[:-JUMP_RECENT].sum(axis=0) / (count[:, None] if ring.ndim == 3 else count))

    def _step(self, ring: Floats) -> Floats:
        return np.asarray(ring[-JUMP_RECENT:].sum(axis=0) / JUMP_RECENT - self._before(ring))

    def _jump(self, ring: Floats) -> Floats:
        """The last three blocks against those before; 0 while the three disagree."""
        signs = np.sign(ring[-JUMP_RECENT:] - self._before(ring)).sum(axis=0)
        agreed = (np.abs(signs) == JUMP_RECENT) & (self.filled >= 2 * JUMP_RECENT)
        return np.where(agreed, self._step(ring), 0.0)

    def lasting(self) -> Mask:
        """Whose last three blocks all stand off those before: of one alone the next two say whether it is a spike."""
        ring = self.ring[:, :, 0]
        away = np.abs(ring[-JUMP_RECENT:] - self._before(ring))
        return np.asarray(away.min(axis=0) > LASTING_SHARE * away.mean(axis=0))

    def returned(self, share: float) -> Mask:
        """Whose last three blocks have jumped back to the prediction: no more than this share of the jump remains."""
        return np.asarray(np.abs(self.recent()) < share * np.abs(self._jump(self.ring[:, :, 0])))

    def recent(self) -> Floats:
        """Mean of the last residuals by sensor."""
        return np.asarray(self.ring[-JUMP_RECENT:, :, 0].mean(axis=0))

    def back(self) -> Floats:
        """Step of the last two residuals from those before the last three, by sensor."""
        ring = self.ring[:, :, 0]
        return np.asarray(ring[-7:-3].mean(axis=0) - ring[-2:].mean(axis=0))

    def effects(self, weights: Floats, means: Floats | Singles) -> Floats:
        """Shape (count, count); at [c, i] what sensor c, off by its own residual, adds to sensor i's prediction."""
        count, depth = means.shape
        by_lag = weights[:, : count * depth].reshape(count, depth, count)
        return np.asarray(np.einsum("ilc,cl->ci", by_lag, means))

    def cleanse(self, culprit: int, weights: Floats) -> None:
        """Takes out of the mates' residuals what the culprit has done to them, and its error out of its averages."""
        for number, means in enumerate((self.short, self.long, *self.ring)):
            effect = self.effects(weights, means)[culprit]
            effect[culprit] = 0.0
            means[:, 0] += effect
            if number < 2:  # what is left without the effect, or if a few blocks make that large, without those
                left = self.bounded[number] + effect
                self.bounded[number] = np.where(np.abs(left) < np.abs(means[:, 0]), left, means[:, 0])
        self.lagged[culprit] = 0.0

    def forget(self, member: int) -> None:
        """The member's recent residuals say nothing about the next."""
        self.ring[:, member] = 0.0
        self.filled[member] = 0.0
        self.short[member] = self.long[member] = 0.0
        self.bounded[:, member] = 0.0

    def _arrays(self) -> tuple[Floats | Singles, ...]:
        averages = (self.lagged, self.ring, self.filled, self.short, self.long)
        return (*averages, self.values, self.excess, self.followed)

    def numbers(self) -> list[float]:
        """State as numbers."""
        return [value for array in self._arrays() for value in array.ravel().tolist()]

    def restore(self, numbers: Iterator[float]) -> None:
        """Inverse of `numbers`."""
        for array in self._arrays():
            array.flat[:] = [next(numbers) for _ in range(array.size)]


def _middle(blocks: Floats) -> Floats:
    """The middle one of five blocks against the mean of the others."""
    return np.asarray(blocks[2] - 0.25 * (blocks[0] + blocks[1] + blocks[3] + blocks[4]))
