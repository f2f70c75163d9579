"""How far a reader is behind, in records and in seconds, from samples of where each partition ends.

Seconds count from when the first record that is not read yet was seen to be there. The record's own time
would not do: for readings it is the event time, and a reading of three days ago is not a lag of three days.
"""

from collections import deque

_KEPT_SAMPLES = 4000


class LagMeter:
    """Samples of end offsets per partition, against the position of the reader."""

    def __init__(self) -> None:
        self._ends: dict[int, deque[tuple[float, int]]] = {}
        self._positions: dict[int, int] = {}

    def ended_at(self, partition: int, end: int, now_s: float) -> None:
        """The partition's next offset was `end`. Only growth is kept: that is when something new was there."""
        samples = self._ends.setdefault(partition, deque(maxlen=_KEPT_SAMPLES))
        if samples and end < samples[-1][1]:
            samples.clear()  # the topic was made anew
        if not samples or end > samples[-1][1]:
            samples.append((now_s, end))
        self._forget_read(partition)

    def read_to(self, partition: int, position: int) -> None:
        """All records below `position` are done."""
        self._positions[partition] = position
        self._forget_read(partition)

    def _forget_read(self, partition: int) -> None:
        samples = self._ends.get(partition)
        position = self._positions.get(partition, 0)
        while samples and len(samples) > 1 and samples[0][1] <= position:
            samples.popleft()

    def records(self) -> int:
        """Records not read yet, over all partitions."""
        return sum(
            max(0, samples[-1][1] - self._positions.get(partition, 0))
            for partition, samples in self._ends.items()
            if samples
        )

    def seconds(self, now_s: float) -> float:
        """Age of the oldest record not read yet; 0 when there is none."""
        oldest = [
            samples[0][0]
            for partition, samples in self._ends.items()
            if samples and samples[-1][1] > self._positions.get(partition, 0)
        ]
        return max(0.0, now_s - min(oldest)) if oldest else 0.0
