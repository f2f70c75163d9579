"""Detection for like assets of one site: their sensors of the same metric share what the asset itself cannot see.

Weather, a common supply, a shift's habits move one metric of all like assets together, and show there as residuals of
each asset's own regression. So each asset publishes its residuals block by block, and is told the median of the others'
of the block before: it learns how much of its own residual that explains. What all regressions have failed to take up,
as in their first days, shows in what is left to all, which is told too and taken off. Taking the block before makes the
result independent of which asset's block closes first. Weakness: with fewer than two other sensors of the metric there
is no such median, and with two a fault of one of them halves it.
"""

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate

from fieldstream_central.detect.asset_detection import AssetDetection, Told
from fieldstream_central.detect.config import DetectionConfig, Maintenance
from fieldstream_central.detect.model import Anomaly, Window
from fieldstream_central.detect.packing import pack, unpack
from fieldstream_central.detect.residuals import RAW_MOST

FEWEST_OTHERS = 2
_CLASS = 0.25
_CLASSES = 2 * int(RAW_MOST / _CLASS) + 1
BLOCKS_KEPT = 8  # assets of one type may have blocks of several lengths
_PEERS = "peers"


def cohort_key(window: Window) -> str:
    """What detection is keyed by; the same in the job (AssetKey.java): like assets of a site go together."""
    if window.asset_id and window.asset_type:
        return f"{window.site}/{window.asset_type}"
    return window.asset_id or window.device_id


class Peers:
    """How the last blocks' residuals of all sensors of like assets are spread, by metric, in units of each one's scale.

    Counts in narrow classes, not sums: one sensor's fault does not move the median that the others are told.
    """

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, list[list[int]]]] = {}  # metric -> start of the block in ms -> raw, left
        self.changed = False

    def tell(self, metric: str, at_ms: float, told: Told) -> None:
        """A sensor's residuals of the block that began at `at_ms`."""
        blocks = self._counts.setdefault(metric, {})
        counts = blocks.setdefault(str(at_ms), [[0] * _CLASSES, [0] * _CLASSES])
        for spread, value in zip(counts, told, strict=True):
            spread[_class_of(value)] += 1
        if len(blocks) > BLOCKS_KEPT:
            del blocks[next(iter(blocks))]
        self.changed = True

    def median(self, metric: str, at_ms: float, own: list[Told]) -> Told:
        """Medians of what was told of this block but for one's `own` values; NaN if fewer than two others spoke."""
        counts = self._counts.get(metric, {}).get(str(at_ms))
        if counts is None:
            return math.nan, math.nan
        raw, left = (_median(spread, [one[index] for one in own]) for index, spread in enumerate(counts))
        return raw, left

    def dump(self) -> bytes:
        """State as bytes."""
        self.changed = False
        return pack([], self._counts)

    def load(self, part: bytes) -> None:
        """Inverse of `dump`."""
        self._counts = unpack(part)[1] or {}


class CohortDetection:
    """All detectors of all assets of one cohort, an `AssetDetection` each."""

    def __init__(self, config: DetectionConfig, parts: Mapping[str, bytes] | None = None) -> None:
        """`parts` is what `dump_changed` gave before. Raises StateVersionError."""
        self._config = config
        self._planned: tuple[Maintenance, ...] | None = None
        self._peers = Peers()
        self.assets: dict[str, AssetDetection] = {}
        self._deadlines: dict[str, int] = {}
        self._queue: list[tuple[int, str]] = []
        by_asset: dict[str, dict[str, bytes]] = {}
        for name, part in (parts or {}).items():
            if name == _PEERS:
                self._peers.load(part)
            else:
                asset, _, rest = name.partition("\0")
                by_asset.setdefault(asset, {})[rest] = part
        for asset, own in by_asset.items():
            self.assets[asset] = AssetDetection.load(asset, own, config, self._peers)
            self._schedule(asset)

    def on_window(self, window: Window) -> list[Anomaly]:
        """Takes a window row in; returns the steps of episodes that follow from it."""
        key = window.asset_id or window.device_id
        asset = self.assets.get(key)
        if asset is None:
            asset = self.assets[key] = AssetDetection.load(key, {}, self._config, self._peers)
            if self._planned is not None:
                asset.set_maintenance(self._planned)
        steps = asset.on_window(window)
        self._schedule(key)
        return steps

    def on_time(self, event_time_ms: int) -> list[Anomaly]:
        """Event time has advanced to this."""
        steps: list[Anomaly] = []
        while self._queue and self._queue[0][0] <= event_time_ms:
            at_ms, key = heapq.heappop(self._queue)
            if self._deadlines.get(key) == at_ms:
                del self._deadlines[key]
                steps += self.assets[key].on_time(event_time_ms)
                self._schedule(key)
        return steps

    def next_deadline(self) -> int | None:
        """Event time at which `on_time` is needed next; None: not before another window has come."""
        return self._queue[0][0] if self._queue else None

    def set_maintenance(self, maintenance: Iterable[Maintenance]) -> None:
        """Replaces the planned maintenance of the configuration."""
        self._planned = planned = tuple(maintenance)
        for asset in self.assets.values():
            asset.set_maintenance(planned)

    def dump_changed(self) -> dict[str, bytes]:
        """State parts that changed since the last call."""
        parts = {
            f"{key}\0{name}": part for key, asset in self.assets.items() for name, part in asset.dump_changed().items()
        }
        if self._peers.changed:
            parts[_PEERS] = self._peers.dump()
        return parts

    @property
    def errors(self) -> dict[str, int]:
        """Exceptions in detectors so far, by detector; they stopped nothing else."""
        total: dict[str, int] = {}
        for asset in self.assets.values():
            for name, count in asset.errors.items():
                total[name] = total.get(name, 0) + count
        return total

    def _schedule(self, key: str) -> None:
        due = self.assets[key].next_deadline()
        if due is not None and (key not in self._deadlines or due < self._deadlines[key]):
            self._deadlines[key] = due
            heapq.heappush(self._queue, (due, key))


def _class_of(value: float) -> int:
    return round(value / _CLASS) + _CLASSES // 2


def _median(counts: list[int], own: list[float]) -> float:
    others = counts.copy()
    for value in own:
        others[_class_of(value)] -= 1
    number = sum(others)
    if number < FEWEST_OTHERS:
        return math.nan
    upto = list(accumulate(others))
    lower, upper = bisect_right(upto, (number - 1) // 2), bisect_right(upto, number // 2)
    return ((lower + upper) / 2 - _CLASSES // 2) * _CLASS
