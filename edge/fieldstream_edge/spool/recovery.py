"""Finds out what is on disk after any kind of stop: clean, killed, or without power. SPOOL.md, invariants 3 to 8."""

import json
import os
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from fieldstream_edge.spool.batch import Descriptor
from fieldstream_edge.spool.errors import DamagedBatchError, SpoolFormatError
from fieldstream_edge.spool.files import Files, write_whole
from fieldstream_edge.spool.format import (
    BATCH_HEADER_BYTES,
    FOOTER_BYTES,
    FORMAT,
    SEGMENT_HEADER_BYTES,
    Footer,
    SegmentHeader,
    scan,
    unpack_body,
)
from fieldstream_edge.spool.segment import Segment, read, seal

if TYPE_CHECKING:
    from fieldstream_edge.spool.encryption import SegmentCipher, SpoolKeys

_SLOT = struct.Struct("<QQ12x")
_SLOT_BYTES = _SLOT.size + 4


@dataclass
class Recovered:
    """What recovery found."""

    epoch: int
    segments: list[Segment] = field(default_factory=list)
    last_seq: int = 0
    delivered_seq: int = 0
    torn_bytes: int = 0
    scanned_segments: int = 0


def recover(
    directory: Path, gateway_id: str, files: Files, *, now_ms: int | None = None, keys: "SpoolKeys | None" = None
) -> Recovered:
    """Reads the state of the spool and seals what a crash left open.

    Raises SpoolFormatError when the spool is another gateway's or a newer version's, SpoolKeyError when it is
    encrypted with another key, OSError when the disk fails.
    """
    epoch = _read_epoch(directory, gateway_id)
    names = sorted(int(path.stem) for path in directory.glob("*.seg") if path.stem.isdigit())
    delivered = Cursor.load(directory)
    if epoch is None or (not names and delivered is None):
        now = int(time.time() * 1000) if now_ms is None else now_ms
        epoch = max(now, (epoch or 0) + 1)
        _write_epoch(directory, gateway_id, epoch, files)
    # What stood before the oldest file was delivered, or is a known gap (invariant 5): the cursor may be older.
    found = Recovered(epoch, delivered_seq=max(delivered or 0, names[0] - 1 if names else 0))
    for first_seq, following in zip(names, [*names[1:], None], strict=False):
        segment = _recover_segment(directory / f"{first_seq:020d}.seg", first_seq, following, found, files, keys)
        if segment is not None:
            found.segments.append(segment)
    last = found.segments[-1].last_seq if found.segments else 0
    # The newest name counts even when nothing of that segment is readable: its first seq was the next one.
    found.last_seq = max(last, found.delivered_seq, names[-1] - 1 if names else 0)
    return found


def _recover_segment(  # noqa: PLR0917
    path: Path, first_seq: int, following: int | None, found: Recovered, files: Files, keys: "SpoolKeys | None"
) -> Segment | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(SEGMENT_HEADER_BYTES)
        file.seek(max(0, size - FOOTER_BYTES))
        footer = Footer.unpack(file.read(FOOTER_BYTES))
    cipher = None
    try:
        header = SegmentHeader.unpack(head)
        cipher = header.cipher(keys)
        if header.epoch != found.epoch:
            raise SpoolFormatError(f"{path.name} belongs to epoch {header.epoch}, the spool to {found.epoch}")
    except DamagedBatchError:
        footer = None  # scanned by its name: the batches carry their own checks
    if footer is not None and (following is None or footer.last_seq < following):
        return Segment(path, first_seq, size - FOOTER_BYTES, size, footer, sealed=True, cipher=cipher)
    found.scanned_segments += 1
    return _scan_segment(path, first_seq, following, found, files, cipher)


def _scan_segment(  # noqa: PLR0917
    path: Path, first_seq: int, following: int | None, found: Recovered, files: Files, cipher: "SegmentCipher | None"
) -> Segment | None:
    data = read(path)
    footer, end = Footer(first_seq - 1), SEGMENT_HEADER_BYTES
    table: list[Descriptor] = []
    for at, header in scan(data, first_seq):
        if following is not None and header.last_seq >= following:
            break
        end = at + BATCH_HEADER_BYTES + header.body_bytes
        try:
            footer.count(unpack_body(data[at:], header, table, cipher), header.last_seq)
        except DamagedBatchError:
            footer.last_seq = header.last_seq
    found.torn_bytes += _used(data[end:])
    if footer.last_seq < first_seq:
        files.delete(path)
        return None
    segment = Segment(path, first_seq, end, len(data), footer, cipher=cipher)
    segment.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    seal(files, segment)
    return segment


def _used(tail: memoryview) -> int:
    """Bytes up to the last one that is not zero: preallocated space is no torn tail."""
    return len(bytes(tail).rstrip(b"\0"))


def _read_epoch(directory: Path, gateway_id: str) -> int | None:
    try:
        text = (directory / "epoch").read_text()
    except FileNotFoundError:
        return None
    try:
        state = json.loads(text)
        version, epoch, owner = int(state["format"]), int(state["epoch"]), str(state["gateway_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise SpoolFormatError(
            f"{directory / 'epoch'} is damaged ({error}); restore it, or set the whole spool aside to start a new epoch"
        ) from error
    if version > FORMAT:
        raise SpoolFormatError(f"spool format {version} is newer than this program's ({FORMAT}); install the newer one")
    if owner != gateway_id:
        raise SpoolFormatError(
            f"the spool belongs to gateway {owner!r}, the configuration says {gateway_id!r}: "
            "give each gateway its own state_dir, or set gateway_id back until the spool is empty"
        )
    return epoch


def _write_epoch(directory: Path, gateway_id: str, epoch: int, files: Files) -> None:
    content = json.dumps({"format": FORMAT, "epoch": epoch, "gateway_id": gateway_id}).encode()
    write_whole(files, directory / "epoch", content)


class Cursor:
    """Up to which seq everything is delivered. Written often, never synced: an old value only repeats sends."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / "cursor", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        slots = _read_slots(os.pread(self._fd, 2 * _SLOT_BYTES, 0))
        self._generation = max((generation for generation, _ in slots), default=0)

    @staticmethod
    def load(directory: Path) -> int | None:
        """The last value saved, or None when there is none that can be read."""
        try:
            slots = _read_slots((directory / "cursor").read_bytes())
        except FileNotFoundError:
            return None
        return max(slots)[1] if slots else None

    def save(self, delivered_seq: int) -> None:
        """Writes the value into the older slot. Raises OSError."""
        self._generation += 1
        head = _SLOT.pack(self._generation, delivered_seq)
        slot = head + struct.pack("<I", crc32(head))
        os.pwrite(self._fd, slot, _SLOT_BYTES * (self._generation % 2))

    def close(self) -> None:
        """Ends its use."""
        os.close(self._fd)


def _read_slots(data: bytes) -> list[tuple[int, int]]:
    slots = []
    for at in (0, _SLOT_BYTES):
        slot = data[at : at + _SLOT_BYTES]
        if len(slot) == _SLOT_BYTES and struct.unpack("<I", slot[-4:])[0] == crc32(slot[:-4]):
            generation, delivered = _SLOT.unpack(slot[:-4])
            slots.append((generation, delivered))
    return slots
