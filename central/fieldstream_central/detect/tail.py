"""How unusual is a value of a statistic, judged by the statistic's own history?

One pass, six numbers of state. Two quantiles (95 % and 99.5 %) are tracked by stochastic approximation
(Robbins and Monro 1951); a Weibull tail through both extrapolates to the probability that the allowed false alarms
leave. Its shape runs from heavier than exponential to nearly Gaussian, shrunk towards the exponential while history
is short; the threshold is widened by 1 + 1.5/sqrt(n) so that a young series stays quiet.

Weakness: values that depend on each other in time count for less than n; callers pass every value once, and
statistics over overlapping windows should pass `weight` below 1.
"""

import math

from fieldstream_central.detect.packing import State

_LN_P1 = -math.log(0.05)
_LN_P2 = -math.log(0.005)
_FIRST = 7  # values before any judgement
_EARLY_GROWTH = 1.4
_EARLY = 40  # up to here quantiles follow from the largest value, beyond they are tracked
_MEMORY = 4000.0  # values; older ones fade
_PRIOR_SHAPE = 1.15  # between exponential (1) and Gaussian (2)
_PRIOR_WEIGHT = 300.0
_SHAPE_RANGE = (0.45, 1.6)
_MOST = 25.0  # surprise is not told apart beyond this


class Tail(State):
    """Adaptive threshold for a non-negative statistic."""

    FIELDS = ("n", "q1", "q2", "threshold", "since", "largest")
    __slots__ = FIELDS

    def __init__(self) -> None:
        self.n = 0.0
        self.q1 = 0.0
        self.q2 = 0.0
        self.threshold = math.inf
        self.since = 0.0
        self.largest = 0.0

    def learn(self, value: float, ln_p: float, weight: float = 1.0) -> None:
        """Takes one ordinary value into account; `ln_p` is minus the log of the allowed tail probability."""
        n = self.n + weight
        self.n = n
        if n <= _EARLY:
            if n > _FIRST:
                value = min(value, _EARLY_GROWTH * self.largest)  # it may be a fault on its way up
            self.largest = max(self.largest, value)
            if n >= _FIRST:
                # The largest of n values stands at a probability of about 1/(n+1).
                seen_to = math.log(n + 1.0)
                self.q1 = self.largest * (_LN_P1 / seen_to) ** (1 / _PRIOR_SHAPE)
                self.q2 = self.largest * (_LN_P2 / seen_to) ** (1 / _PRIOR_SHAPE)
                self._set_threshold(ln_p)
            return
        value = min(value, 1.2 * self.threshold)
        q1, q2 = self.q1, self.q2
        seen = n if n < _MEMORY else _MEMORY
        # Step = 1 / (density at the quantile * n); the density follows from the Weibull tail.
        gain = min(20.0 / seen, 1.0) * weight
        step = gain * (q1 * 0.33 + 1e-12)
        self.q1 = q1 + step * 0.95 if value > q1 else q1 - step * 0.05
        gain = min(200.0 / seen, 1.0) * weight
        step = gain * (q2 * 0.19 + 1e-12)
        self.q2 = max(q2 + step * 0.995 if value > q2 else q2 - step * 0.005, self.q1)
        self.since += 1.0
        if self.since >= 8.0:
            self._set_threshold(ln_p)

    def ratio(self, value: float) -> float:
        """Value over threshold: above 1 it is rarer than allowed. 0 while too little is known."""
        threshold = self.threshold
        return value / threshold if 0.0 < threshold < math.inf else 0.0

    def surprise(self, value: float) -> float:
        """Minus the natural logarithm of the probability of a value this large; 0 while too little is known."""
        q2 = self.q2
        if q2 <= 0.0 or self.n < _FIRST or value <= 0.0:
            return 0.0 if value <= 0.0 or self.n < _FIRST else _MOST
        shape = self._shape()
        widened = 1.0 + 1.5 / math.sqrt(self.n)
        return float(min(_LN_P2 * (value / (q2 * widened)) ** shape, _MOST))

    def _shape(self) -> float:
        n, q1, q2 = self.n, self.q1, self.q2
        if n <= 60 or not q2 > q1 > 0.0:
            return _PRIOR_SHAPE
        fitted = math.log(_LN_P2 / _LN_P1) / math.log(q2 / q1)
        fitted = min(max(fitted, _SHAPE_RANGE[0]), _SHAPE_RANGE[1])
        return float((_PRIOR_WEIGHT * _PRIOR_SHAPE + n * fitted) / (_PRIOR_WEIGHT + n))

    def _set_threshold(self, ln_p: float) -> None:
        self.since = 0.0
        if self.q2 <= 0.0:
            self.threshold = math.inf
            return
        reach = ln_p / _LN_P2
        bare: float = self.q2 * reach ** (1.0 / self._shape()) if reach > 1.0 else self.q2
        self.threshold = bare * (1.0 + 1.5 / math.sqrt(self.n))
