"""Detection for like assets of one site: their sensors of the same metric share what the asset itself cannot see.

Weather, a common supply, a shift's habits move one metric of all like assets together, and show there as residuals of
each asset's own regression. So each asset publishes its residuals block by block, and is told the mean of the others'
of the block before: it learns how much of its own residual that explains. Taking the block before makes the result
independent of which asset's block closes first. Weakness: with fewer than two other sensors of the metric there is no
such mean.
"""

import heapq
import math
from collections.abc import Iterable, Mapping

from fieldstream_central.detect.asset_detection import AssetDetection
from fieldstream_central.detect.config import DetectionConfig, Maintenance
from fieldstream_central.detect.model import Anomaly, Window
from fieldstream_central.detect.packing import pack, unpack

FEWEST_OTHERS = 2
BLOCKS_KEPT = 8  # assets of one type may have blocks of several lengths
_PEERS = "peers"


def cohort_key(window: Window) -> str:
    """What detection is keyed by; the same in the job (AssetKey.java): like assets of a site go together."""
    if window.asset_id and window.asset_type:
        return f"{window.site}/{window.asset_type}"
    return window.asset_id or window.device_id


class Peers:
    """Sums of the last blocks' residuals of all sensors of like assets, by metric, in units of each one's scale."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, list[float]]] = {}  # metric -> start of the block in ms -> [sum, count]
        self.changed = False

    def tell(self, metric: str, at_ms: float, value: float) -> None:
        """A sensor's residual of the block that began at `at_ms`."""
        blocks = self._sums.setdefault(metric, {})
        sums = blocks.setdefault(str(at_ms), [0.0, 0.0])
        sums[0] += value
        sums[1] += 1.0
        if len(blocks) > BLOCKS_KEPT:
            del blocks[next(iter(blocks))]
        self.changed = True

    def mean(self, metric: str, at_ms: float, own: list[float]) -> float:
        """Mean of what was told of this block but for one's `own` values; NaN if fewer than two others spoke."""
        total, count = self._sums.get(metric, {}).get(str(at_ms), (0.0, 0.0))
        count -= len(own)
        return (total - sum(own)) / count if count >= FEWEST_OTHERS else math.nan

    def dump(self) -> bytes:
        """State as bytes."""
        self.changed = False
        return pack([], self._sums)

    def load(self, part: bytes) -> None:
        """Inverse of `dump`."""
        self._sums = unpack(part)[1] or {}


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
