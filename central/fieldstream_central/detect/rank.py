"""Surprise by rank: how many of all values so far were as large? Bounded memory, any distribution.

The 128 largest values are kept exactly; below them the surprise falls linearly to zero; beyond the largest the tail
is continued exponentially from their own spread, at 0.7 of what that would claim. Weakness: it never forgets, so a
process that once was wild is judged mildly for ever; callers restart it when they accept a new regime.
"""

import bisect
import math
from collections.abc import Iterator

from fieldstream_central.detect.packing import State

KEPT = 128
MIN_VALUES = 30
_BEYOND_MOST = 20.0
_BEYOND_TRUST = 0.7


class Rank(State):
    """Empirical tail of one non-negative statistic; every `stride`-th value is learned."""

    FIELDS = ("seen", "learned")
    __slots__ = (*FIELDS, "largest", "stride")

    def __init__(self, stride: int = 1) -> None:
        self.seen = self.learned = 0.0
        self.stride = stride
        self.largest: list[float] = []  # ascending

    def numbers(self) -> list[float]:
        """Fields, then the kept values padded."""
        return [*super().numbers(), *self.largest, *([math.nan] * (KEPT - len(self.largest)))]

    def restore(self, numbers: Iterator[float]) -> None:
        """Inverse of `numbers`."""
        super().restore(numbers)
        self.largest = [value for _, value in zip(range(KEPT), numbers, strict=False) if not math.isnan(value)]

    def surprise(self, value: float) -> float:
        """Minus the log of the probability of a value this large, judged before it is learned."""
        largest, total = self.largest, self.learned
        found = 0.0
        if total >= MIN_VALUES:
            if value > largest[-1]:
                spread = max((largest[-1] - largest[0]) / math.log(len(largest)), 1e-12)
                found = math.log(total + 1.0) + _BEYOND_TRUST * min((value - largest[-1]) / spread, _BEYOND_MOST)
            elif value >= largest[0]:
                above = len(largest) - bisect.bisect_left(largest, value)
                found = -math.log((above + 0.5) / (total + 1.0))
            elif largest[0] > 0.0:
                found = value / largest[0] * -math.log(min((len(largest) + 0.5) / (total + 1.0), 1.0))
        if self.seen % self.stride == 0.0:
            self._learn(value)
        self.seen += 1.0
        return found

    def _learn(self, value: float) -> None:
        self.learned += 1.0
        largest = self.largest
        if len(largest) < KEPT or value > largest[0]:
            bisect.insort(largest, value)
            if len(largest) > KEPT:
                del largest[0]
