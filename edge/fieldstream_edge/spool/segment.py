"""One segment file, as the ledger keeps it in memory."""

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fieldstream_edge.spool.errors import SpoolError
from fieldstream_edge.spool.files import Files
from fieldstream_edge.spool.format import FOOTER_BYTES, Footer, SegmentHeader

if TYPE_CHECKING:
    from fieldstream_edge.spool.encryption import SegmentCipher


@dataclass(slots=True)
class Segment:
    """A segment. `end` is the end of its committed batches, `size` that of the file."""

    path: Path
    first_seq: int
    end: int
    size: int
    footer: Footer
    fd: int = -1  # open only while it is written
    descriptors: int = 0  # how many it has introduced
    sealed: bool = False
    cipher: "SegmentCipher | None" = None  # of an encrypted segment
    writer: int = field(default_factory=itertools.count().__next__)  # unique to this creation of the file

    @property
    def last_seq(self) -> int:
        """Seq of its last committed entry; first_seq - 1 when it has none."""
        return self.footer.last_seq


def segment_path(directory: Path, first_seq: int) -> Path:
    """Path of the segment that starts with this seq."""
    return directory / f"{first_seq:020d}.seg"


def create(files: Files, directory: Path, header: SegmentHeader, size: int) -> Segment:
    """A new segment on disk, with its directory entry synced. Raises OSError, leaving nothing behind if possible."""
    path = segment_path(directory, header.first_seq)
    files.delete(path)  # of a first commit that failed; it holds nothing acknowledged
    fd = files.create(path, size)
    try:
        packed = header.pack()
        files.write(fd, packed, 0)
        if header.key is not None:
            files.sync(fd)  # a batch that reached the disk without its header could not be decrypted
        files.sync_directory(directory)
    except OSError:
        os.close(fd)
        files.delete(path)
        raise
    return Segment(path, header.first_seq, len(packed), size, Footer(header.first_seq - 1), fd)


def seal(files: Files, segment: Segment) -> None:
    """Cuts the segment to its content and writes its footer; from then on it is only read. Raises OSError."""
    try:
        files.truncate(segment.fd, segment.end)
        files.write(segment.fd, segment.footer.pack(), segment.end)
        files.sync(segment.fd)
        segment.size = segment.end + FOOTER_BYTES
    finally:
        close(segment)


def close(segment: Segment) -> None:
    """Ends writing, without a footer: what was committed stays readable, the next start scans the file."""
    if segment.fd >= 0:
        os.close(segment.fd)
    segment.fd = -1
    segment.sealed = True


def read(path: Path) -> memoryview:
    """The whole file. Raises SpoolError when it has gone."""
    try:
        return memoryview(path.read_bytes())
    except FileNotFoundError as error:
        raise SpoolError(f"segment {path.name} has gone") from error
