"""Recognises readings that come again, by (device, metric, ts), in bounded memory and across restarts.

The memory is the spool itself, which keeps delivered entries for `identity_window_s`:

- Per series the largest event time is known. A later one is new: one comparison, the normal case.
- Otherwise it is looked up among the entries of the open segment, kept per series as sorted arrays, and in those
  sealed segments whose range of event times covers it; the few used last stay in memory, and of many more which
  series they hold, so that devices that upload the same hours one after the other do not read them again and again.
- A series met for the first time since the start begins with the largest event time of the whole spool, so nothing
  is read at a start, and forgetting a series is always safe.

Exact for what the spool still holds. Beyond that a reading is accepted again, with a new seq; the centre's tables
hold it once (natural key).
"""

import logging
from array import array
from bisect import bisect_left
from collections import OrderedDict
from itertools import repeat

from fieldstream_schemas.quality import GOOD

from fieldstream_edge.spool import segment as segments
from fieldstream_edge.spool.batch import Batch, Descriptor
from fieldstream_edge.spool.errors import DamagedBatchError, SpoolError
from fieldstream_edge.spool.format import scan, unpack_body
from fieldstream_edge.spool.ledger import Spool
from fieldstream_edge.spool.segment import Segment

log = logging.getLogger(__name__)
_MAX_DESCRIPTORS = 64  # per series; a device that invents units or operators must not fill the memory
_MAX_SERIES = 50_000  # about 20 MB; beyond it the known series are forgotten when a segment is sealed
_KNOWN_NAMES = 500_000  # of series in segments, 8 bytes each
_LOADED_SEGMENTS = 6  # of 2 MiB: at most 125,000 readings of 16 bytes each


class Series:
    """What is known of one (device, metric)."""

    __slots__ = ("by_unit", "descriptors", "device_id", "last_given", "max_ts", "metric", "plain", "ts", "values")

    def __init__(self, device_id: str, metric: str, max_ts: int) -> None:
        self.device_id = device_id
        self.metric = metric
        self.max_ts = max_ts  # no accepted reading has a larger event time
        self.last_given = 0  # last event time that the gateway gave, for readings without a usable one
        self.ts = array("q")  # event times in the open segment, ascending
        self.values = array("d")
        # of good readings without flags or operator: the usual ones
        self.by_unit: dict[str | None, Descriptor] = {None: Descriptor(device_id, metric, series=self)}
        self.descriptors: dict[tuple[str | None, str, int, str | None], Descriptor] = {}

    def descriptor(self, unit: str | None, quality: str, flags: int, operator: str | None) -> Descriptor:
        """The descriptor with these fields."""
        key = (unit, quality, flags, operator)
        found = self.descriptors.get(key)
        if found is None:
            if len(self.descriptors) >= _MAX_DESCRIPTORS:
                self.descriptors.clear()
                self.by_unit = {None: self.by_unit[None]}
            found = Descriptor(self.device_id, self.metric, unit, quality, flags, operator, series=self)
            self.descriptors[key] = found
            if quality == GOOD and not flags and operator is None:
                self.by_unit[unit] = found
        return found


_Loaded = dict[tuple[str, str], tuple["array[int]", "array[float]"]]


class Identity:
    """Memory of what was accepted. Used under the acceptor's lock only."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        spool.on_seal = self._sealed
        self._series: dict[tuple[str, str], Series] = {}
        self._loaded: OrderedDict[int, _Loaded] = OrderedDict()
        self._names: OrderedDict[int, array[int]] = OrderedDict()  # hashes of the series in a segment, ascending
        self._names_kept = 0
        self.generation = 0  # rises when all series are forgotten: whoever keeps a Series must ask again
        self.lookups = 0
        self._sealed_max_ts = max((segment.footer.max_ts for segment in spool.retained()), default=-(1 << 63))

    def series(self, device_id: str, metric: str) -> Series:
        """The series, known or new."""
        found = self._series.get((device_id, metric))
        if found is None:
            found = Series(device_id, metric, self._sealed_max_ts)
            self._series[device_id, metric] = found
        return found

    def find(self, series: Series, ts: int) -> float | None:
        """Value of the accepted reading with this event time, or None when there is none."""
        at = bisect_left(series.ts, ts)
        if at < len(series.ts) and series.ts[at] == ts:
            return series.values[at]
        self.lookups += 1
        key = (series.device_id, series.metric)
        for segment in reversed(self._spool.retained()):
            footer = segment.footer
            if segment.sealed and footer.min_ts <= ts <= footer.max_ts and self._may_hold(segment, key):
                columns = self._load(segment).get(key)
                if columns is not None:
                    times, values = columns
                    at = bisect_left(times, ts)
                    if at < len(times) and times[at] == ts:
                        return values[at]
        return None

    def add(self, series: Series, ts: int, value: float) -> None:
        """Remembers an accepted reading, in whatever order they come."""
        series.max_ts = max(series.max_ts, ts)
        times = series.ts
        if not times or ts > times[-1]:
            times.append(ts)
            series.values.append(value)
        else:
            at = bisect_left(times, ts)
            times.insert(at, ts)
            series.values.insert(at, value)

    def free_time(self, series: Series, received: int) -> int:
        """An event time for a reading without a usable one: the receive time, or the next free millisecond."""
        ts = max(received, series.last_given + 1)
        while ts <= series.max_ts and self.find(series, ts) is not None:
            ts += 1
        series.last_given = ts
        return ts

    def _sealed(self, segment: Segment, pending: Batch | None) -> None:
        """The open segment is complete: its entries are looked up in its file from now on.

        What is pending is about to be stored in the next one, so it stays with the series.
        """
        for series in self._series.values():
            if series.ts:
                series.ts, series.values = array("q"), array("d")
        self._sealed_max_ts = max(self._sealed_max_ts, segment.footer.max_ts)
        if len(self._series) > _MAX_SERIES:
            self._series = {}
            self.generation += 1
        if pending is not None:
            for descriptor, ts, value in zip(pending.descriptors, pending.ts, pending.values, strict=True):
                held = descriptor.series
                if held is not None:
                    self._series[held.device_id, held.metric] = held
                    self.add(held, ts, value)

    def _may_hold(self, segment: Segment, key: tuple[str, str]) -> bool:
        names = self._names.get(segment.first_seq)
        if names is None:
            return True
        at = bisect_left(names, hash(key))
        return at < len(names) and names[at] == hash(key)

    def _load(self, segment: Segment) -> _Loaded:
        loaded = self._loaded.get(segment.first_seq)
        if loaded is not None:
            self._loaded.move_to_end(segment.first_seq)
            return loaded
        loaded = self._loaded[segment.first_seq] = load(segment)
        if segment.first_seq not in self._names:
            names = self._names[segment.first_seq] = array("q", sorted(map(hash, loaded)))
            self._names_kept += len(names)
            while self._names_kept > _KNOWN_NAMES and len(self._names) > 1:
                self._names_kept -= len(self._names.popitem(last=False)[1])
        while len(self._loaded) > _LOADED_SEGMENTS:
            self._loaded.popitem(last=False)
        return loaded


def load(segment: Segment) -> _Loaded:
    """Event times and values of a sealed segment by series, ascending. Unreadable parts are left out, and logged."""
    readings: dict[tuple[str, str], list[tuple[int, float]]] = {}
    table: list[Descriptor] = []
    try:
        data = segments.read(segment.path)[: segment.end]
    except SpoolError as error:
        log.info("no lookup in a trimmed segment: %s", error)
        return {}
    for at, header in scan(data, segment.first_seq):
        try:
            batch = unpack_body(data[at:], header, table, segment.cipher)
        except DamagedBatchError as error:
            log.error("seq %d to %d cannot be looked up: %s", header.first_seq, header.last_seq, error)
            continue
        rows: dict[int, list[tuple[int, float]]] = {}
        for number, ts, value in zip(batch.numbers, batch.ts, batch.values, strict=True):
            rows.setdefault(number, []).append((ts, value))
        for number, pairs in rows.items():
            descriptor = table[number]
            readings.setdefault((descriptor.device_id, descriptor.metric), []).extend(pairs)
    loaded: _Loaded = {}
    for key, pairs in readings.items():
        pairs.sort()
        times, values = zip(*pairs, strict=True) if pairs else (repeat(0, 0), repeat(0.0, 0))
        loaded[key] = (array("q", times), array("d", values))
    return loaded
