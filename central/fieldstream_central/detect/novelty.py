"""Novelty of a signal with structure: eight one-pass views, each judged by its own history, then added up.

Views: out of the range seen; smoothed out of the range seen; residual of the daily profile; residual of the weekly
profile; the step from one value to the next; more agitation; less agitation; and a distribution of recent values
that fits no distribution met before (relative entropy with several hypotheses: Wang et al. 2011, "Statistical
techniques for online anomaly detection in data centers"). Sums of calibrated surprises follow Fisher (1932). A
surprise is reported only while it exceeds everything recent, so that an excursion is told once.

Weaknesses: the first few hundred values are a warm-up; a view of weeks needs weeks; drifts slower than the memory
of 3,000 values pass; one reading's worth of noise is not told from a spike by anything but its size.
"""

import math

from fieldstream_central.detect.rank import Rank

VIEWS = ("range", "smooth_range", "daily", "weekly", "step", "agitation", "calm", "distribution")
MEMORY = 3000.0
CAP = 10.0  # surprise of one view beyond which it says no more: no view may speak alone
RECENT_KEEP = 0.999
SMOOTH = 1 / 20
DAY_SLOTS, WEEK_SLOTS = 48, 168
_PROFILE_MEMORY = 40
_RANGE_LEAK = 0.0005
_BINS, _SPAN, _HOP, _HYPOTHESES = 5, 52, 13, 12
_REJECT = 30.0  # chi-square statistic above which recent values fit no hypothesis
_SERIAL_STRIDE = 4  # smoothed views are alike from value to value: every fourth is learned
_SERIAL = frozenset(("daily", "weekly", "agitation", "calm", "distribution"))


class Distribution:
    """Recent values, in five classes of the running normal distribution, against distributions met before."""

    __slots__ = ("_counts", "_hypotheses", "_recent", "_seen")

    def __init__(self) -> None:
        self._recent: list[int] = []
        self._counts = [0] * _BINS
        self._hypotheses: list[list[int]] = []  # number of spans, then counts
        self._seen = 0

    def take(self, standard: float) -> float:
        """Takes a standardised value in; relative entropy to the nearest hypothesis, per value."""
        share = 0.5 * (1.0 + math.erf(standard / 1.414))
        number = min(_BINS - 1, int(share * _BINS))
        self._recent.append(number)
        self._counts[number] += 1
        if len(self._recent) > _SPAN:
            self._counts[self._recent.pop(0)] -= 1
        self._seen += 1
        if self._seen <= 2 * _SPAN:
            return 0.0
        nearest, entropy = None, math.inf
        for hypothesis in self._hypotheses:
            found = self._entropy(hypothesis)
            if found < entropy:
                nearest, entropy = hypothesis, found
        if self._seen % _HOP == 0:
            self._remember(nearest, entropy)
        return max(entropy, 0.0) / _SPAN if nearest else 0.0

    def _entropy(self, hypothesis: list[int]) -> float:
        total = hypothesis[0] * _SPAN + 0.5 * _BINS
        found = 0.0
        for count, known in zip(self._counts, hypothesis[1:], strict=True):
            if count:
                found += count * math.log(count / _SPAN * total / (known + 0.5))
        return found

    def _remember(self, nearest: list[int] | None, entropy: float) -> None:
        if nearest is None or 2.0 * entropy > _REJECT:
            self._hypotheses.append([1, *self._counts])
            if len(self._hypotheses) > _HYPOTHESES:
                self._hypotheses.sort(key=lambda hypothesis: -hypothesis[0])
                del self._hypotheses[-2]  # the rarest but for the newest
            return
        nearest[0] += 1
        for number, count in enumerate(self._counts, 1):
            nearest[number] += count


class Profile:
    """Mean of a signal by time slot."""

    __slots__ = ("count", "mean")

    def __init__(self, slots: int) -> None:
        self.mean = [0.0] * slots
        self.count = [0] * slots

    def learn(self, slot: int, value: float) -> None:
        """Takes a value in."""
        self.count[slot] = min(self.count[slot] + 1, _PROFILE_MEMORY)
        self.mean[slot] += (value - self.mean[slot]) / self.count[slot]


class Novelty:
    """One-pass novelty of one series. `score` never looks ahead and reads nothing but time and value."""

    def __init__(self) -> None:
        self._ranks = {view: Rank(_SERIAL_STRIDE if view in _SERIAL else 1) for view in VIEWS}
        self._seen = 0
        self._mean = self._spread = 0.0
        self._low = self._high = 0.0
        self._smooth = self._smooth_low = self._smooth_high = 0.0
        self._follow = self._daily_off = self._weekly_off = 0.0
        self._agitated = self._agitation = 0.0
        self._day, self._week = Profile(DAY_SLOTS), Profile(WEEK_SLOTS)
        self._day_spread = Profile(DAY_SLOTS)
        self._distribution = Distribution()
        self._recent_most = 0.0

    def score(self, at_s: float, value: float) -> float:
        """Novelty from 0 to 1 of a value at this time (seconds since 1970)."""
        if not math.isfinite(value):
            return 0.0
        total = self._total(at_s, value)
        shown = total if total > self._recent_most else 0.0
        self._recent_most = max(self._recent_most * RECENT_KEEP, total)
        return shown / (CAP * len(VIEWS))

    def _total(self, at_s: float, value: float) -> float:
        if self._seen == 0:
            self._start(value)
        views = self._views(at_s, value)
        self._seen += 1
        return sum(min(rank.surprise(view), CAP) for rank, view in zip(self._ranks.values(), views, strict=True))

    def _start(self, value: float) -> None:
        self._mean = self._low = self._high = self._follow = value
        self._smooth = self._smooth_low = self._smooth_high = value

    def _views(self, at_s: float, value: float) -> tuple[float, ...]:
        spread = self._spread + 1e-9
        seen = self._seen
        beyond = max(value - self._high, self._low - value, 0.0) / spread if seen > 10 else 0.0
        daily, weekly = self._profiles(at_s, value, spread)
        step = abs(value - self._follow)
        self._follow += 0.5 * (value - self._follow)
        distribution = self._distribution.take((value - self._mean) / (1.6 * self._spread + 1e-9))
        self._agitated += SMOOTH * (step - self._agitated)
        self._agitation += (step - self._agitation) / min(seen + 1, 500)
        least = 1e-3 * self._spread + 1e-12
        agitation = math.log((self._agitated + least) / (self._agitation + least))
        self._smooth += SMOOTH * (value - self._smooth)
        outside = max(self._smooth - self._smooth_high, self._smooth_low - self._smooth, 0.0)
        smooth_beyond = outside / spread if seen > 20 else 0.0
        self._learn(at_s, value)
        return (
            *(beyond, smooth_beyond, abs(daily), abs(weekly), step),
            *(max(agitation, 0.0), max(-agitation, 0.0), distribution),
        )

    def _profiles(self, at_s: float, value: float, spread: float) -> tuple[float, float]:
        slot, hour = int(at_s % 86_400 // 1800), int(at_s % 604_800 // 3600)
        count = self._day.count[slot]
        expected = self._mean + self._day.mean[slot] * (count / (count + 2.0))
        usual = self._day_spread.mean[slot] if count > 3 else self._spread
        residual = value - expected
        self._daily_off += SMOOTH * (residual / (0.3 * self._spread + 0.7 * usual + 1e-9) - self._daily_off)
        of_week = self._week.mean[hour] if self._week.count[hour] else expected
        self._weekly_off += SMOOTH * ((value - of_week) / spread - self._weekly_off)
        self._day_spread.learn(slot, min(abs(residual), 6.0 * self._spread))
        self._week.learn(hour, value)
        return self._daily_off, self._weekly_off

    def _learn(self, at_s: float, value: float) -> None:
        away = abs(value - self._mean)
        if self._seen > 50:
            away = min(away, 6.0 * self._spread + 1e-12)
        self._smooth_low = min(self._smooth_low, self._smooth)
        self._smooth_high = max(self._smooth_high, self._smooth)
        self._low, self._high = min(self._low, value), max(self._high, value)
        mean = self._mean
        self._smooth_low += _RANGE_LEAK * (mean - self._smooth_low)
        self._smooth_high += _RANGE_LEAK * (mean - self._smooth_high)
        self._low += _RANGE_LEAK * (mean - self._low)
        self._high += _RANGE_LEAK * (mean - self._high)
        memory = min(self._seen + 1, MEMORY)
        self._mean += (value - mean) / memory
        self._spread += (away - self._spread) / memory
        self._day.learn(int(at_s % 86_400 // 1800), value - self._mean)
