"""Reads the spool from a seq onward, across segments, up to what is committed."""

import logging
import os
from typing import TYPE_CHECKING

from fieldstream_edge.spool.batch import Descriptor, StoredBatch
from fieldstream_edge.spool.errors import DamagedBatchError
from fieldstream_edge.spool.format import (
    BATCH_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    BatchHeader,
    is_intact,
    scan,
    unpack_body,
    unpack_header,
)
from fieldstream_edge.spool.ledger import Spool
from fieldstream_edge.spool.segment import Segment

if TYPE_CHECKING:
    from fieldstream_edge.spool.encryption import SegmentCipher

log = logging.getLogger(__name__)
_READ_BYTES = 256 * 1024


class SpoolReader:
    """Position in the spool of one consumer: the uplink. Not for several threads."""

    def __init__(self, spool: Spool, after_seq: int) -> None:
        self.seq = after_seq  # everything up to here was handed out, or is known to be lost
        self._spool = spool
        self._segment: Segment | None = None
        self._fd = -1
        self._table: list[Descriptor] = []
        self._data = memoryview(b"")
        self._at = 0  # in _data
        self._offset = 0  # of _data's end in the file

    def next(self) -> StoredBatch | None:
        """The next batch with entries beyond `seq`, or None when there is none yet."""
        while True:
            segment = self._segment
            if segment is None:
                segment = self._spool.segment_after(self.seq)
                if segment is None or not self._open(segment):
                    return None
            header = self._fill(segment)
            if header is None:
                if not segment.sealed or self._position() < segment.end:
                    return None
                if self._at_end(segment):
                    continue
                return None
            batch = self._take(header, segment.cipher)
            if batch is not None and batch.last_seq > self.seq:
                if batch.first_seq > self.seq + 1:
                    self._lost(batch.first_seq - 1)
                self.seq = batch.last_seq
                return batch

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._segment = None

    def _open(self, segment: Segment) -> bool:
        self.close()
        try:
            self._fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False  # dropped in the meantime; the next look finds another
        self._segment = segment
        self._table = []
        self._data = memoryview(b"")
        self._at, self._offset = 0, SEGMENT_HEADER_BYTES
        return True

    def _at_end(self, segment: Segment) -> bool:
        """Leaves a segment that is read through; False when no further one is there yet."""
        if segment.last_seq > self.seq:
            self._lost(segment.last_seq)
        self.close()
        return self._spool.segment_after(self.seq) is not None

    def _position(self) -> int:
        return self._offset - (len(self._data) - self._at)

    def _fill(self, segment: Segment) -> BatchHeader | None:
        """Header of the batch at the current position, with the whole batch in memory; None: not there yet."""
        header = unpack_header(self._data[self._at :])
        need = BATCH_HEADER_BYTES + (header.body_bytes if header else 0)
        if header is None or len(self._data) - self._at < need:
            position = self._position()
            if position >= segment.end:
                return None
            wanted = min(segment.end - position, max(need, _READ_BYTES))
            self._data = memoryview(os.pread(self._fd, wanted, position))
            self._at, self._offset = 0, position + len(self._data)
            header = unpack_header(self._data)
            if header is not None and BATCH_HEADER_BYTES + header.body_bytes > len(self._data):
                wanted = min(segment.end - position, BATCH_HEADER_BYTES + header.body_bytes)
                self._data = memoryview(os.pread(self._fd, wanted, position))
                self._offset = position + len(self._data)
        if header is None or not is_intact(self._data[self._at :], header, segment.first_seq):
            return self._skip_damage(segment)
        return header

    def _skip_damage(self, segment: Segment) -> BatchHeader | None:
        position = self._position()
        log.error("segment %s is damaged at byte %d; going on behind the damage", segment.path.name, position)
        self._data = memoryview(os.pread(self._fd, segment.end - position, position))
        self._offset = position + len(self._data)
        self._at = len(self._data)
        for at, header in scan(self._data, segment.first_seq, start=0):
            self._at = at
            return header
        return None

    def _take(self, header: BatchHeader, cipher: "SegmentCipher | None") -> StoredBatch | None:
        start = self._at
        self._at += BATCH_HEADER_BYTES + header.body_bytes
        try:
            return unpack_body(self._data[start : self._at], header, self._table, cipher)
        except DamagedBatchError as error:
            log.error("seq %d to %d cannot be read: %s", header.first_seq, header.last_seq, error)
            return None

    def _lost(self, up_to: int) -> None:
        """Entries that no segment holds any more: dropped by policy (already counted then), or damaged."""
        first = max(self.seq, self._spool.delivered_seq) + 1
        if up_to >= first:
            self._spool.lost(first, up_to)
        self.seq = max(self.seq, up_to)
