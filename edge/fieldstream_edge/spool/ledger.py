"""The spool: what was accepted, where it is on disk, and how far it is delivered. SPOOL.md names the invariants."""

import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fieldstream_edge.settings import SpoolSettings
from fieldstream_edge.spool import segment as segments
from fieldstream_edge.spool.batch import Batch
from fieldstream_edge.spool.errors import SpoolFullError, SpoolIOError, SpoolOwnedError
from fieldstream_edge.spool.files import Files
from fieldstream_edge.spool.format import FOOTER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, pack_batch
from fieldstream_edge.spool.gaps import Gap, Gaps
from fieldstream_edge.spool.recovery import Cursor, recover
from fieldstream_edge.spool.segment import Segment

if TYPE_CHECKING:
    from fieldstream_edge.spool.encryption import SpoolKeys

log = logging.getLogger(__name__)
_CURSOR_EVERY_S = 0.5


@dataclass
class SpoolCounters:
    """Counted since the process started."""

    syncs: int = 0
    sync_seconds: float = 0.0
    stored_bytes: int = 0
    dropped_entries: int = 0  # by drop-oldest or max_age_s: a known gap
    damaged_entries: int = 0  # found unreadable
    torn_bytes: int = 0
    io_errors: int = 0
    refused: int = 0  # commits refused because the spool was full


class Spool:
    """Owner of a spool directory.

    `store` is called by one thread at a time (the acceptor's lock), everything else by any.
    """

    def __init__(
        self,
        directory: Path,
        gateway_id: str,
        settings: SpoolSettings,
        *,
        files: Files | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Takes ownership and recovers. Raises SpoolOwnedError, SpoolFormatError, SpoolKeyError, OSError."""
        self.directory = directory
        self.settings = settings
        self.counters = SpoolCounters()
        # Told of each sealed segment, and of the batch that is about to be stored in the next one.
        self.on_seal: Callable[[Segment, Batch | None], None] = lambda *_: None
        self._files = files or Files()
        self._clock = clock
        directory.mkdir(parents=True, exist_ok=True)
        self._lock_fd = _own(directory)
        try:
            self._keys = load_keys(settings)
            found = recover(directory, gateway_id, self._files, now_ms=int(clock() * 1000), keys=self._keys)
            self._cursor = Cursor(directory)
        except BaseException:
            os.close(self._lock_fd)
            raise
        self.epoch = found.epoch
        self.counters.torn_bytes = found.torn_bytes
        self._gaps = Gaps(directory, found.epoch, self._files)
        self._segments = found.segments
        self._active: Segment | None = None
        self.last_seq = found.last_seq
        self.delivered_seq = found.delivered_seq
        self._cursor_saved_at = 0.0
        self._changed = threading.Condition()

    # -- writing -----------------------------------------------------------------------------------------------

    def store(self, batch: Batch) -> int:
        """Puts the batch on disk and syncs; returns the seq of its first entry.

        Raises SpoolFullError or SpoolIOError: then none of its entries is accepted, and the same batch may be
        stored again later.
        """
        first_seq = self.last_seq + 1
        try:
            active, data, introduced = self._place(batch, first_seq)
            self._files.write(active.fd, data, active.end)
            started = time.perf_counter()
            self._files.sync(active.fd)
            self.counters.sync_seconds += time.perf_counter() - started
        except OSError as error:
            self.counters.io_errors += 1
            self._abandon_active(batch)
            raise SpoolIOError(f"the spool could not be written: {error}") from error
        self.counters.syncs += 1
        self.counters.stored_bytes += len(data)
        with self._changed:
            active.end += len(data)
            active.descriptors += introduced
            self.last_seq += len(batch)
            active.footer.count(batch, self.last_seq)
            self._changed.notify_all()
        return first_seq

    def _place(self, batch: Batch, first_seq: int) -> tuple[Segment, bytes, int]:
        """The segment for the batch, and its bytes there. Raises SpoolFullError, OSError."""
        active = self._active
        if active is not None:
            data, introduced = _pack(batch, first_seq, active)
            if active.end + len(data) + FOOTER_BYTES <= active.size:
                return active, data, introduced
            self._seal_active(batch)
        size = max(self.settings.segment_bytes, _largest(batch))
        active = self._new_segment(first_seq, size)
        return active, *_pack(batch, first_seq, active)

    def _new_segment(self, first_seq: int, size: int) -> Segment:
        self._make_room(size)
        key = self._keys.fingerprint if self._keys else None
        header = SegmentHeader(self.epoch, first_seq, int(self._clock() * 1000), key, int.from_bytes(os.urandom(4)))
        while True:
            try:
                active = segments.create(self._files, self.directory, header, size)
                break
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                if not self._free_one():
                    self.counters.refused += 1
                    raise SpoolFullError(f"the disk of the spool is full ({error}); free space on it") from error
        active.cipher = header.cipher(self._keys)
        with self._changed:
            self._segments.append(active)
            self._active = active
        return active

    def _make_room(self, size: int) -> None:
        while self.bytes + size > self.settings.max_bytes:
            if not self._free_one():
                self.counters.refused += 1
                raise SpoolFullError(
                    f"the spool is full ({self.bytes} of {self.settings.max_bytes} bytes) and spool.when_full is "
                    "refuse-new: the broker keeps the messages until Kafka takes readings again"
                )

    def _free_one(self) -> bool:
        """Deletes the oldest segment that may go for want of space."""
        with self._changed:
            oldest = self._segments[0] if self._segments else None
            if oldest is None or oldest is self._active:
                return False
            if oldest.last_seq > self.delivered_seq:
                if self.settings.when_full != "drop-oldest":
                    return False
                self._drop(oldest, "full")
            self._segments.pop(0)
            self._gaps.save()
        self._files.delete(oldest.path)
        return True

    def _drop(self, oldest: Segment, reason: str) -> None:
        gap = Gap(max(self.delivered_seq + 1, oldest.first_seq), oldest.last_seq, reason)
        count = gap.last - gap.first + 1
        self.counters.dropped_entries += count
        self.delivered_seq = oldest.last_seq
        self._gaps.add(gap)
        why = "the spool is full" if reason == "full" else "older than spool.max_age_s"
        log.error("dropped %d undelivered entries, seq %d to %d: %s", count, gap.first, gap.last, why)

    def _seal_active(self, pending: Batch | None = None) -> None:
        active, self._active = self._active, None
        if active is None:
            return
        try:
            segments.seal(self._files, active)
        finally:
            self.on_seal(active, pending)

    def _abandon_active(self, pending: Batch) -> None:
        """After a failed write or sync the file is not trusted with further batches (invariant 4)."""
        active, self._active = self._active, None
        if active is None:
            return
        segments.close(active)
        self.on_seal(active, pending)
        if active.last_seq < active.first_seq:
            with self._changed:
                self._segments.remove(active)

    # -- reading -----------------------------------------------------------------------------------------------

    def segment_after(self, seq: int) -> Segment | None:
        """The oldest segment that holds, or will hold, entries beyond `seq`."""
        with self._changed:
            for segment in self._segments:
                if segment.last_seq > seq or segment is self._active:
                    return segment
        return None

    def retained(self) -> list[Segment]:
        """All segments, oldest first."""
        with self._changed:
            return list(self._segments)

    def wait_beyond(self, seq: int, timeout_s: float) -> bool:
        """Waits until entries beyond `seq` are stored; whether there are."""
        with self._changed:
            return self._changed.wait_for(lambda: self.last_seq > seq, timeout_s)

    def wake(self) -> None:
        """Lets `wait_beyond` look again, at a stop."""
        with self._changed:
            self._changed.notify_all()

    # -- delivery ----------------------------------------------------------------------------------------------

    def delivered(self, seq: int, *, save: bool = False) -> None:
        """Notes that every entry up to `seq` has its delivery report; trims what need not be kept."""
        with self._changed:
            self.delivered_seq = max(self.delivered_seq, seq)
        now = time.monotonic()
        if save or now - self._cursor_saved_at >= _CURSOR_EVERY_S:
            self._cursor_saved_at = now
            self._cursor.save(self.delivered_seq)
            self.trim()

    def trim(self) -> None:
        """Deletes delivered segments beyond the identity window, and undelivered ones beyond `max_age_s`."""
        now_ms = int(self._clock() * 1000)
        window_start = now_ms - int(self.settings.identity_window_s * 1000)
        max_age_s = self.settings.max_age_s
        age_limit = now_ms - int(max_age_s * 1000) if max_age_s else -1
        gone = []
        with self._changed:
            while self._segments and self._segments[0] is not self._active and self._segments[0].sealed:
                oldest = self._segments[0]
                crowded = self._bytes() > self.settings.max_bytes // 2
                done = oldest.last_seq <= self.delivered_seq
                if not (done and (crowded or oldest.footer.newest_received < window_start)):
                    if done or oldest.footer.newest_received >= age_limit:
                        break
                    self._drop(oldest, "age")
                gone.append(self._segments.pop(0))
            self._gaps.save()
        for segment in gone:
            self._files.delete(segment.path)

    def lost(self, first: int, last: int) -> None:
        """The reader found these seqs unreadable: they go missing, and it is said."""
        with self._changed:
            self.counters.damaged_entries += last - first + 1
            self._gaps.add(Gap(first, last, "damaged"))
            self._gaps.save()
        log.error("seq %d to %d are lost", first, last)

    # -- state -------------------------------------------------------------------------------------------------

    @property
    def bytes(self) -> int:
        """Bytes on disk, retained delivered segments included."""
        with self._changed:
            return self._bytes()

    def _bytes(self) -> int:
        return sum(segment.size for segment in self._segments)

    @property
    def undelivered(self) -> int:
        """Entries without delivery report."""
        return self.last_seq - self.delivered_seq

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Seqs of this epoch that will never arrive."""
        return self._gaps.ranges

    def close(self) -> None:
        """Seals the open segment, saves the cursor, gives up ownership."""
        try:
            self._seal_active()
            self._cursor.save(self.delivered_seq)
        finally:
            self._cursor.close()
            os.close(self._lock_fd)


def _pack(batch: Batch, first_seq: int, segment: Segment) -> tuple[bytes, int]:
    return pack_batch(
        batch,
        first_seq=first_seq,
        segment=segment.first_seq,
        writer=segment.writer,
        next_number=segment.descriptors,
        cipher=segment.cipher,
    )


def _largest(batch: Batch) -> int:
    """Bytes that a segment needs so that the batch fits, whatever is in it: an upper bound."""
    names = sum(
        sum(4 * len(text) for text in each.fields() if isinstance(text, str)) + 64 for each in set(batch.descriptors)
    )
    dead = sum(4 * (len(each.detail) + len(each.source) + 3 * 256) + 128 for each in batch.dead) + batch.dead_bytes
    return SEGMENT_HEADER_BYTES + FOOTER_BYTES + 256 + 28 * len(batch.ts) + names + dead + 12 * len(batch.marks)


def load_keys(settings: SpoolSettings) -> "SpoolKeys | None":
    """The configured keys, or None. Raises SpoolKeyError."""
    if not settings.key_file:
        return None
    from fieldstream_edge.spool.encryption import SpoolKeys  # cryptography: only where there is a key

    return SpoolKeys.load(Path(settings.key_file))


def _own(directory: Path) -> int:
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise SpoolOwnedError(
            f"{directory} is in use by another gateway process (pid {owner}): stop it, "
            "or give this one its own state_dir"
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
