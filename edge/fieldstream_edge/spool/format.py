"""Bytes of segments and batches, as SPOOL.md defines them. No I/O."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from fieldstream_edge.spool.batch import Batch, DeadLetter, Descriptor, StoredBatch
from fieldstream_edge.spool.errors import DamagedBatchError, SpoolFormatError, SpoolKeyError

if TYPE_CHECKING:
    from fieldstream_edge.spool.encryption import SegmentCipher, SpoolKeys

if sys.byteorder != "little":  # pragma: no cover - arm64 and amd64 are little-endian
    raise ImportError("the spool format is little-endian; this machine is not")

FORMAT = 1
_FORMAT_ENCRYPTED = 2  # so that a program from before encryption refuses such a segment
_SEGMENT = struct.Struct("<4sHHqQqI")  # magic, format, flags, epoch, first seq, created at, random; then CRC
_BATCH = struct.Struct("<4sIQIIqI")  # magic, body length, first seq, readings, dead, received base, widths; then CRC
_FOOTER = struct.Struct("<4sIQQqqqI")  # magic, reserved, last seq, readings, min ts, max ts, newest received, reserved
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
SEGMENT_HEADER_BYTES = _SEGMENT.size + 4
BATCH_HEADER_BYTES = _BATCH.size + 4
FOOTER_BYTES = _FOOTER.size + 4
_TAG_BYTES = 16  # of AES-GCM, at the end of an encrypted body
_ENCRYPTED_BODY = 1 << 24  # in widths
_SEGMENT_MAGIC, _BATCH_MAGIC, _FOOTER_MAGIC = b"FSS1", b"FSB1", b"FSF1"

_pack = msgspec.msgpack.Encoder().encode
_DescriptorFields = tuple[str, str, str | None, str, int, str | None]
_unpack_descriptors = msgspec.msgpack.Decoder(tuple[int, list[_DescriptorFields]]).decode
_unpack_dead = msgspec.msgpack.Decoder(list[DeadLetter]).decode
_NO_DEAD = _U32.pack(0)
LOST = Descriptor("", "")  # stands in a table for a descriptor whose batch was lost to damage


@dataclass(frozen=True)
class SegmentHeader:
    """Header of a segment. `key`: fingerprint of the key its batches are encrypted with; None: they are not."""

    epoch: int
    first_seq: int
    created_at: int
    key: int | None = None
    random: int = 0

    def pack(self) -> bytes:
        """Bytes of the header."""
        version, flags = (FORMAT, 0) if self.key is None else (_FORMAT_ENCRYPTED, self.key << 1 | 1)
        place = (self.epoch, self.first_seq, self.created_at)
        head = _SEGMENT.pack(_SEGMENT_MAGIC, version, flags, *place, self.random)
        return head + _U32.pack(crc32(head))

    def cipher(self, keys: SpoolKeys | None) -> SegmentCipher | None:
        """For its batches; None when they are not encrypted. Raises SpoolKeyError when the key is not there."""
        if self.key is None:
            return None
        if keys is None:
            raise SpoolKeyError("the spool is encrypted: set spool.key_file to the file with its key")
        return keys.cipher(self.key, self.pack())

    @classmethod
    def unpack(cls, data: bytes) -> SegmentHeader:
        """Raises DamagedBatchError for bytes that are no header, SpoolFormatError for a newer format."""
        if len(data) < SEGMENT_HEADER_BYTES or data[:4] != _SEGMENT_MAGIC:
            raise DamagedBatchError("no segment header")
        head = data[: _SEGMENT.size]
        if _U32.unpack_from(data, _SEGMENT.size)[0] != crc32(head):
            raise DamagedBatchError("segment header fails its checksum")
        _, version, flags, epoch, first_seq, created_at, random = _SEGMENT.unpack(head)
        if version > _FORMAT_ENCRYPTED:
            raise SpoolFormatError(
                f"spool format {version} is newer than this program's ({_FORMAT_ENCRYPTED}); install the newer one"
            )
        return cls(epoch, first_seq, created_at, flags >> 1 if flags & 1 else None, random)


@dataclass(slots=True)
class Footer:
    """What a sealed segment says about itself at its end; for an open one it is kept in memory."""

    last_seq: int
    readings: int = 0
    min_ts: int = (1 << 63) - 1
    max_ts: int = -(1 << 63)
    newest_received: int = 0

    def count(self, batch: Batch | StoredBatch, last_seq: int) -> None:
        """Takes a further batch into account."""
        self.last_seq = last_seq
        if batch.ts:
            self.readings += len(batch.ts)
            smallest, largest = min(batch.ts), max(batch.ts)
            self.min_ts = min(self.min_ts, smallest)
            self.max_ts = max(self.max_ts, largest)
            self.newest_received = max(self.newest_received, batch.received[-1])
        if batch.dead:
            self.newest_received = max(self.newest_received, batch.dead[-1].received_at)

    def pack(self) -> bytes:
        """Bytes of the footer."""
        tail = _FOOTER.pack(
            _FOOTER_MAGIC, 0, self.last_seq, self.readings, self.min_ts, self.max_ts, self.newest_received, 0
        )
        return tail + _U32.pack(crc32(tail))

    @classmethod
    def unpack(cls, data: bytes) -> Footer | None:
        """The footer in the last bytes of a segment, or None when there is none."""
        if len(data) != FOOTER_BYTES or data[:4] != _FOOTER_MAGIC:
            return None
        if _U32.unpack_from(data, _FOOTER.size)[0] != crc32(data[: _FOOTER.size]):
            return None
        _, _, last_seq, readings, min_ts, max_ts, newest, _ = _FOOTER.unpack_from(data)
        return cls(last_seq, readings, min_ts, max_ts, newest)


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """Header of a batch."""

    body_bytes: int
    first_seq: int
    readings: int
    dead: int
    received_base: int
    widths: int
    crc: int

    @property
    def last_seq(self) -> int:
        """Seq of the last entry."""
        return self.first_seq + self.readings + self.dead - 1


def _narrow(codes: str, numbers: list[int]) -> array[int]:
    """Array of the first type code of `codes` that holds all numbers."""
    for code in codes:
        try:
            return array(code, numbers)
        except OverflowError:
            continue
    raise OverflowError("a number beyond 64 bits")


def _number(batch: Batch, writer: int, next_number: int) -> list[Descriptor]:
    """Gives numbers to the descriptors that this segment has not met; returns these in order of their number."""
    new: list[Descriptor] = []
    for descriptor in set(batch.descriptors):
        if descriptor.writer != writer:
            descriptor.writer = writer
            descriptor.number = next_number + len(new)
            new.append(descriptor)
    return new


def pack_batch(
    batch: Batch, *, first_seq: int, segment: int, writer: int, next_number: int, cipher: SegmentCipher | None = None
) -> tuple[bytes, int]:
    """Bytes of the batch, and how many descriptors it introduced to the segment (named by its first seq).

    `writer` is unique to each creation of a segment file: after a failed sync a file of the same name starts anew.
    """
    new = _number(batch, writer, next_number)
    introduced = _pack((next_number, [descriptor.fields() for descriptor in new]))
    base = batch.received[0] if batch.received else (batch.dead[0].received_at if batch.dead else 0)
    numbers = [descriptor.number for descriptor in batch.descriptors]
    number_column = array("H" if next_number + len(new) <= 0x10000 else "I", numbers)
    ts = _narrow("iq", [time - base for time in batch.ts])
    received = _narrow("Hq", [time - base for time in batch.received])
    dead = _pack(batch.dead) if batch.dead else b""
    marks = b"".join([struct.pack("<IQ", *mark) for mark in batch.marks])
    body = b"".join(
        (
            _U32.pack(len(introduced)),
            introduced,
            number_column.tobytes(),
            ts.tobytes(),
            array("d", batch.values).tobytes(),
            received.tobytes(),
            _U32.pack(len(dead)) if dead else _NO_DEAD,
            dead,
            _U32.pack(len(marks)),
            marks,
        )
    )
    widths = number_column.itemsize | ts.itemsize << 8 | received.itemsize << 16
    size = len(body)
    if cipher is not None:
        size, widths = size + _TAG_BYTES, widths | _ENCRYPTED_BODY
    head = _BATCH.pack(_BATCH_MAGIC, size, first_seq, len(batch.ts), len(batch.dead), base, widths)
    if cipher is not None:
        body = cipher.encrypt(body, head, first_seq)
    crc = crc32(body, crc32(_U64.pack(segment), crc32(head)))
    return b"".join((head, _U32.pack(crc), body)), len(new)


def unpack_header(data: memoryview) -> BatchHeader | None:
    """The batch header at the start of `data`, unchecked; None when there is none."""
    if len(data) < BATCH_HEADER_BYTES or data[:4] != _BATCH_MAGIC:
        return None
    _, body_bytes, first_seq, readings, dead, base, widths = _BATCH.unpack_from(data)
    return BatchHeader(body_bytes, first_seq, readings, dead, base, widths, _U32.unpack_from(data, _BATCH.size)[0])


def is_intact(data: memoryview, header: BatchHeader, segment: int) -> bool:
    """Whether header and body fit the checksum. `data` starts at the header and may go on beyond the body."""
    end = BATCH_HEADER_BYTES + header.body_bytes
    if len(data) < end:
        return False
    crc = crc32(data[BATCH_HEADER_BYTES:end], crc32(_U64.pack(segment), crc32(data[: _BATCH.size])))
    return crc == header.crc


def unpack_body(
    data: memoryview, header: BatchHeader, table: list[Descriptor], cipher: SegmentCipher | None = None
) -> StoredBatch:
    """The batch at the start of `data`, which was found intact; adds its new descriptors to `table`.

    Raises DamagedBatchError when it refers to descriptors of a batch that was lost, or cannot be decrypted.
    """
    at = BATCH_HEADER_BYTES
    if header.widths & _ENCRYPTED_BODY:
        if cipher is None:
            raise DamagedBatchError("the batch is encrypted, and the segment's header, which it takes, is damaged")
        end = BATCH_HEADER_BYTES + header.body_bytes
        data = memoryview(cipher.decrypt(data[BATCH_HEADER_BYTES:end], data[: _BATCH.size], header.first_seq))
        at = 0

    def take(size: int) -> memoryview:
        nonlocal at
        at += size
        return data[at - size : at]

    def section() -> memoryview:
        return take(_U32.unpack(take(4))[0])

    def column(code: str, width: int) -> array[int]:
        numbers: array[int] = array(code)
        numbers.frombytes(take(width * header.readings))
        return numbers

    first_number, introduced = _unpack_descriptors(section())
    table.extend([LOST] * (first_number - len(table)))
    table[first_number:] = [Descriptor(*fields) for fields in introduced]
    widths = header.widths
    numbers = column("H" if widths & 0xFF == 2 else "I", widths & 0xFF)
    if numbers and (max(numbers) >= len(table) or (LOST in table and any(table[n] is LOST for n in set(numbers)))):
        raise DamagedBatchError("a descriptor was introduced by a batch that is damaged")
    base = header.received_base
    ts = [base + offset for offset in column("i" if widths >> 8 & 0xFF == 4 else "q", widths >> 8 & 0xFF)]
    values: array[float] = array("d")
    values.frombytes(take(8 * header.readings))
    received = [base + offset for offset in column("H" if widths >> 16 & 0xFF == 2 else "q", widths >> 16 & 0xFF)]
    dead_section = section()
    dead = _unpack_dead(dead_section) if len(dead_section) else []
    marks = list(struct.iter_unpack("<IQ", section()))
    return StoredBatch(header.first_seq, table, numbers, ts, values, received, base, dead, marks)


def scan(data: memoryview, segment: int, start: int = SEGMENT_HEADER_BYTES) -> Iterator[tuple[int, BatchHeader]]:
    """Offsets and headers of the intact batches in a segment's bytes, in order, resuming behind damage.

    Seqs rise: an intact batch of a lower seq than one before it is no part of the segment (a leftover).
    """
    at, seq = start, segment
    while True:
        header = unpack_header(data[at:])
        if header is None or header.first_seq < seq or not is_intact(data[at:], header, segment):
            at = _find(data, at + 1)
            if at < 0:
                return
            continue
        yield at, header
        seq = header.last_seq + 1
        at += BATCH_HEADER_BYTES + header.body_bytes


def _find(data: memoryview, start: int) -> int:
    """Offset of the next batch magic at or after `start`, or -1."""
    window = 1 << 20
    while start < len(data):
        found = bytes(data[start : start + window + 3]).find(_BATCH_MAGIC)
        if found >= 0:
            return start + found
        start += window
    return -1
