"""The spool against a reference model, with failing file operations, crashes and power cuts.

The model is a list: what `store` returned for, in order. A power cut takes back, in any combination, writes that no
sync covered, and files whose directory entry no sync covered.
"""

import base64
import os
import random
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fieldstream_edge.settings import SpoolSettings
from fieldstream_edge.spool.batch import Batch, DeadLetter, Descriptor
from fieldstream_edge.spool.errors import SpoolError, SpoolIOError
from fieldstream_edge.spool.files import Files
from fieldstream_edge.spool.ledger import Spool
from fieldstream_edge.spool.reader import SpoolReader
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

_SETTINGS = SpoolSettings(segment_bytes=1 << 12, max_bytes=1 << 30)
_Row = tuple[str, int, float] | tuple[str]


@dataclass
class _Write:
    path: Path
    offset: int
    before: bytes


class FaultyFiles(Files):
    """Fails on demand, and knows what a power cut may take back."""

    def __init__(self) -> None:
        self.fail_after = -1  # operations until one fails; -1: none
        self.keeps_failing = False
        self._paths: dict[int, Path] = {}
        self._unsynced: list[_Write] = []
        self._new_entries: set[Path] = set()

    def _step(self) -> None:
        if self.fail_after == 0:
            if not self.keeps_failing:
                self.fail_after = -1
            raise OSError(5, "injected")
        if self.fail_after > 0:
            self.fail_after -= 1

    def create(self, path: Path, size: int) -> int:
        self._step()
        fd = super().create(path, size)
        self._paths[fd] = path
        self._new_entries.add(path)
        return fd

    def write(self, fd: int, data: bytes, offset: int) -> None:
        path = self._paths.get(fd)
        half = len(data) // 2 if self.fail_after == 0 else len(data)
        if path is not None:
            self._unsynced.append(_Write(path, offset, os.pread(fd, len(data), offset)))
        super().write(fd, data[:half], offset)
        self._step()

    def sync(self, fd: int) -> None:
        self._step()
        super().sync(fd)
        path = self._paths.get(fd)
        self._unsynced = [write for write in self._unsynced if write.path != path]

    def sync_directory(self, path: Path) -> None:
        self._step()
        super().sync_directory(path)
        self._new_entries.clear()

    def power_cut(self, chance: random.Random) -> None:
        """Takes back a random part of what was not synced."""
        for write in reversed(self._unsynced):
            if write.path.exists() and chance.random() < 0.6:
                cut = chance.randrange(len(write.before) + 1)
                with write.path.open("r+b") as file:
                    file.seek(write.offset + cut)
                    file.write(write.before[cut:])
        for path in self._new_entries:
            if chance.random() < 0.5 and path.name != "epoch.new":
                path.unlink(missing_ok=True)


class SpoolMachine(RuleBasedStateMachine):
    encrypted = False

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.settings = _SETTINGS
        if self.encrypted:
            key = self.directory / "key"
            key.write_bytes(base64.b64encode(bytes(32)))
            key.chmod(0o600)
            self.settings = replace(_SETTINGS, key_file=str(key))
        self.descriptors = [Descriptor(f"d{number}", "t") for number in range(6)]
        self.files = FaultyFiles()
        self.spool: Spool | None = None
        self.model: list[_Row] = []
        self.delivered = 0
        self.pending: Batch | None = None
        self.ts = 0

    @initialize()
    def first_start(self) -> None:
        self._start()

    def _start(self) -> None:
        self.files = FaultyFiles()
        self.spool = Spool(self.directory, "g", self.settings, files=self.files)
        extra = self.spool.last_seq - len(self.model)
        assert extra >= 0, "an acknowledged entry is gone"
        if extra:
            # A commit that was reported as failed may have reached the disk; then it counts as a whole.
            assert self.pending is not None
            assert extra == len(self.pending)
            self.model += _rows(self.pending)
        self.pending = None
        assert self.spool.delivered_seq <= self.delivered
        self.delivered = self.spool.delivered_seq

    @rule(readings=st.integers(0, 30), dead=st.integers(0, 2), fails=st.sampled_from([-1, -1, -1, 0, 1, 2, 3, 4, 5]),
          again=st.booleans())  # fmt: skip
    def store(self, readings: int, dead: int, fails: int, again: bool) -> None:
        assert self.spool is not None
        if readings + dead == 0:
            return
        self.files.fail_after, self.files.keeps_failing = fails, again
        self.pending = self.pending or self._batch(readings, dead)
        try:
            first_seq = self.spool.store(self.pending)
        except SpoolIOError:
            return
        finally:
            self.files.fail_after = -1
        assert first_seq == len(self.model) + 1
        self.model += _rows(self.pending)
        self.pending = None

    def _batch(self, readings: int, dead: int) -> Batch:
        batch = Batch()
        for _ in range(readings):
            self.ts += 1
            batch.descriptors.append(self.descriptors[self.ts * 7 % 6])
            batch.ts.append(self.ts)
            batch.values.append(self.ts / 3)
            batch.received.append(1_000_000 + self.ts)
        for number in range(dead):
            detail = f"{self.ts}/{number}"
            letter = DeadLetter(
                reason="rule", detail=detail, source="s", payload=b"p", payload_size=1, received_at=self.ts
            )
            batch.add_dead(letter)
        return batch

    @precondition(lambda self: self.delivered < len(self.model))
    @rule(share=st.floats(0, 1), save=st.booleans())
    def deliver(self, share: float, save: bool) -> None:
        assert self.spool is not None
        self.delivered += int((len(self.model) - self.delivered) * share)
        self.spool.delivered(self.delivered, save=save)

    @rule()
    def stop_and_start(self) -> None:
        assert self.spool is not None
        self.spool.close()
        self._start()
        assert self.spool.delivered_seq == self.delivered

    @rule(seed=st.integers(0, 1000), power=st.booleans())
    def crash_and_start(self, seed: int, power: bool) -> None:
        assert self.spool is not None
        for segment in self.spool.retained():
            if segment.fd >= 0:
                os.close(segment.fd)
        self.spool._cursor.close()
        os.close(self.spool._lock_fd)
        if power:
            self.files.power_cut(random.Random(seed))
        self._start()

    @invariant()
    def everything_undelivered_is_there_once_and_in_order(self) -> None:
        if self.spool is None:
            return
        reader = SpoolReader(self.spool, self.spool.delivered_seq)
        found: list[_Row] = []
        first = None
        while (batch := reader.next()) is not None:
            first = batch.first_seq if first is None else first
            assert batch.first_seq == first + len(found)
            found += [
                (batch.table[number].device_id, ts, value)
                for number, ts, value in zip(batch.numbers, batch.ts, batch.values, strict=True)
            ]
            found += [(letter.detail,) for letter in batch.dead]
        reader.close()
        assert self.spool.last_seq == len(self.model)
        assert self.spool.counters.damaged_entries == 0
        if self.spool.undelivered:
            assert first is not None
            assert first <= self.spool.delivered_seq + 1
            assert found == self.model[first - 1 :]

    def teardown(self) -> None:
        if self.spool is not None:
            self.spool.close()
        shutil.rmtree(self.directory)


def _rows(batch: Batch) -> list[_Row]:
    rows: list[_Row] = [
        (descriptor.device_id, ts, value)
        for descriptor, ts, value in zip(batch.descriptors, batch.ts, batch.values, strict=True)
    ]
    return rows + [(letter.detail,) for letter in batch.dead]


TestSpoolAgainstModel = pytest.mark.filterwarnings("ignore::ResourceWarning")(SpoolMachine.TestCase)
SpoolMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


class EncryptedSpoolMachine(SpoolMachine):
    encrypted = True


TestEncryptedSpoolAgainstModel = pytest.mark.filterwarnings("ignore::ResourceWarning")(EncryptedSpoolMachine.TestCase)
EncryptedSpoolMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_power_cut_model_takes_back_unsynced_writes(tmp_path: Path) -> None:
    """The model can fail: without the sync an acknowledged entry would be gone."""

    class NoSync(FaultyFiles):
        def sync(self, fd: int) -> None:
            pass

    lost = 0
    for seed in range(20):
        files = NoSync()
        directory = tmp_path / str(seed)
        spool = Spool(directory, "g", _SETTINGS, files=files)
        spool.store(Batch([Descriptor("d", "t")], [1], [1.0], [1]))
        os.close(spool._lock_fd)
        files.power_cut(random.Random(seed))
        try:
            lost += Spool(directory, "g", _SETTINGS).last_seq == 0
        except SpoolError:
            lost += 1
    assert lost
