"""How many messages one device may send: a token bucket for each, filled with ten seconds' worth."""

from collections import Counter

_BURST_S = 10.0
_TOLD_EVERY_S = 60.0
_DEVICES = 50_000  # remembered; beyond it all start anew


class DeviceRates:
    """Judges messages one by one. What is beyond the limit is counted, and told once a minute for each device."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._left: dict[str, tuple[float, float]] = {}  # messages, and when
        self._told: dict[str, float] = {}
        self._refused: Counter[str] = Counter()  # since it was told

    def allows(self, device: str, now_s: float) -> bool:
        """Whether this message is within the limit. The clock may jump."""
        if len(self._left) >= _DEVICES:
            self._left.clear()
        left, since = self._left.get(device, (self._per_s * _BURST_S, now_s))
        left = min(left + max(now_s - since, 0.0) * self._per_s, self._per_s * _BURST_S)
        self._left[device] = (max(left - 1, 0.0), now_s)
        if left < 1:
            self._refused[device] += 1
        return left >= 1

    def to_tell(self, device: str, now_s: float) -> int:
        """How many messages were refused since it was told last; 0 while it is too soon to tell again."""
        if abs(now_s - self._told.get(device, -_TOLD_EVERY_S)) < _TOLD_EVERY_S:
            return 0
        if len(self._told) >= _DEVICES:
            self._told.clear()
        self._told[device] = now_s
        return self._refused.pop(device)
