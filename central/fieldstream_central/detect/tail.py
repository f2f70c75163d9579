"""How unusual is a value of a statistic, judged by the statistic's own history?

One pass, bounded state: a histogram of logarithms, three classes an octave, whose counts fade. A Weibull tail through
two of its quantiles (95 % and 99.5 %, milder ones while history is short) extrapolates to the probability that the
allowed false alarms leave. Its shape runs from heavier than exponential to nearly Gaussian, shrunk towards the
exponential while history is short; the threshold is widened by 1 + 1.5/sqrt(n) so that a young series stays quiet.

Weakness: values that depend on each other in time count for less than n; callers pass every value once, and
statistics over overlapping windows should pass `weight` below 1.
"""

import math
from collections.abc import Iterator

from fieldstream_central.detect.packing import State

_TAIL1, _TAIL2 = 0.05, 0.005
_FIRST = 7  # values before any judgement
_EARLY, _EARLY_GROWTH = 40.0, 1.4  # up to here the largest value stands for a quantile
_MEMORY = 4000.0  # values; older ones fade
_MEMORY_SHARE, _MEMORY_LEAST = 0.4, 20.0  # of all values so far: what is seen first is of a model still learning
_PRIOR_SHAPE = 1.15  # between exponential (1) and Gaussian (2)
_PRIOR_WEIGHT = 300.0
_SHAPE_RANGE = (0.6, 1.8)
_CLASSES, _PER_OCTAVE = 24, 3
_LN_CLASS = math.log(2.0) / _PER_OCTAVE


class Tail(State):
    """Adaptive threshold for a non-negative statistic; `prior_shape` is what its tail is believed to be at first."""

    FIELDS = ("n", "total", "threshold", "since", "largest", "top")
    __slots__ = (*FIELDS, "counts", "prior_shape")

    def __init__(self, prior_shape: float = _PRIOR_SHAPE) -> None:
        self.prior_shape = prior_shape
        self.n = self.total = 0.0
        self.threshold = math.inf
        self.since = 0.0
        self.largest = 0.0
        self.top = -math.inf  # number of the class behind the last one
        self.counts = [0.0] * _CLASSES

    def numbers(self) -> list[float]:
        """Fields, then the histogram."""
        return [*super().numbers(), *self.counts]

    def restore(self, numbers: Iterator[float]) -> None:
        """Inverse of `numbers`."""
        super().restore(numbers)
        self.counts = [count for _, count in zip(range(_CLASSES), numbers, strict=False)]

    def learn(self, value: float, ln_p: float, weight: float = 1.0) -> None:
        """Takes one ordinary value into account; `ln_p` is minus the log of the allowed tail probability."""
        n = self.n = self.n + weight
        self.total += weight
        if n > _FIRST:
            # Early on it may be a fault on its way up, and later no single value may count for much more than rare.
            value = min(value, _EARLY_GROWTH * self.largest if n <= _EARLY else 1.2 * self.threshold)
        self.largest = max(self.largest, value)
        if value > 0.0:
            number = math.floor(math.log(value) / _LN_CLASS)
            if number >= self.top:
                self._raise_top(number + 1)
            self.counts[max(number - int(self.top), -_CLASSES)] += weight
        self.since += 1.0
        if self.since >= 8.0 or n <= _EARLY:
            self._set_threshold(ln_p)

    def _raise_top(self, top: int) -> None:
        if self.top == -math.inf:
            self.top = float(top)
            return
        moved = min(top - int(self.top), _CLASSES)
        lost = sum(self.counts[:moved])
        self.counts = self.counts[moved:] + [0.0] * moved
        self.counts[0] += lost
        self.top = float(top)

    def _quantile(self, above: float) -> float:
        """Value that so much of the counts' weight lies above."""
        counts, left = self.counts, above
        for number in range(_CLASSES - 1, -1, -1):
            count = counts[number]
            if count >= left:
                share = 1.0 - left / count
                return math.exp((self.top - _CLASSES + number + share) * _LN_CLASS)
            left -= count
        return 0.0

    def _set_threshold(self, ln_p: float) -> None:
        self.since = 0.0
        n = self.n
        memory = min(max(_MEMORY_SHARE * self.total, _MEMORY_LEAST), _MEMORY)
        if n > memory:
            keep = memory / n
            self.n = n = memory
            self.counts = [keep * count for count in self.counts]
        if n < _FIRST or self.top == -math.inf:
            self.threshold = math.inf
            return
        tail2 = max(_TAIL2, 1.0 / (n + 1.0))
        tail1 = max(_TAIL1, min(10.0 * tail2, 0.3))
        q1 = self._quantile(tail1 * n)
        q2 = self._quantile(tail2 * n)
        if q2 <= 0.0:
            self.threshold = math.inf
            return
        ln1, ln2 = -math.log(tail1), -math.log(tail2)
        shape = self.prior_shape
        if n > 60.0 and q2 > q1 > 0.0:
            fitted = min(max(math.log(ln2 / ln1) / math.log(q2 / q1), _SHAPE_RANGE[0]), _SHAPE_RANGE[1])
            shape = (_PRIOR_WEIGHT * self.prior_shape + n * fitted) / (_PRIOR_WEIGHT + n)
        bare = q2 * max(ln_p / ln2, 1.0) ** (1.0 / shape)
        self.threshold = bare * (1.0 + 1.5 / math.sqrt(n))
