"""The spool's invariants one by one, as SPOOL.md numbers them, and damage of every kind."""

import os
import random
from pathlib import Path

import pytest
from fieldstream_edge.settings import SpoolSettings
from fieldstream_edge.spool.batch import Batch, Descriptor
from fieldstream_edge.spool.errors import SpoolFormatError, SpoolFullError, SpoolOwnedError
from fieldstream_edge.spool.files import Files
from fieldstream_edge.spool.gaps import Gap, Gaps
from fieldstream_edge.spool.ledger import Spool
from fieldstream_edge.spool.reader import SpoolReader
from hypothesis import given, settings
from hypothesis import strategies as st

_SMALL = SpoolSettings(segment_bytes=1 << 16, max_bytes=1 << 30)
_DEVICES = [Descriptor(f"d{number}", "t", unit="Cel") for number in range(20)]


def batch(start: int, count: int, received: int = 1_000) -> Batch:
    return Batch(
        [_DEVICES[n % 20] for n in range(count)],
        [start + n for n in range(count)],
        [float(start + n) for n in range(count)],
        [received] * count,
    )


def fill(spool: Spool, batches: int, count: int = 500) -> None:
    for _ in range(batches):
        spool.store(batch(spool.last_seq + 1, count))


def values(spool: Spool) -> list[float]:
    reader = SpoolReader(spool, spool.delivered_seq)
    found: list[float] = []
    while (stored := reader.next()) is not None:
        found += stored.values
    reader.close()
    return found


class _Recorder(Files):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def write(self, fd: int, data: bytes, offset: int) -> None:
        self.calls.append("write")
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        self.calls.append("sync")
        super().sync(fd)

    def sync_directory(self, path: Path) -> None:
        self.calls.append("sync directory")
        super().sync_directory(path)


def test_store_returns_only_after_file_and_directory_are_synced(tmp_path: Path) -> None:
    files = _Recorder()
    spool = Spool(tmp_path, "g", _SMALL, files=files)
    files.calls.clear()
    spool.store(batch(1, 3))
    assert files.calls == ["write", "sync directory", "write", "sync"]
    files.calls.clear()
    spool.store(batch(4, 3))
    assert files.calls == ["write", "sync"]
    spool.close()


def test_second_owner_is_refused_with_a_remedy(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "g", _SMALL)
    with pytest.raises(SpoolOwnedError, match=f"pid {os.getpid()}.*state_dir"):
        Spool(tmp_path, "g", _SMALL)
    spool.close()
    Spool(tmp_path, "g", _SMALL).close()


def test_other_gateways_spool_is_refused(tmp_path: Path) -> None:
    Spool(tmp_path, "g", _SMALL).close()
    with pytest.raises(SpoolFormatError, match="belongs to gateway 'g'"):
        Spool(tmp_path, "h", _SMALL)


def test_newer_format_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "g", _SMALL)
    spool.close()
    epoch = tmp_path / "epoch"
    epoch.write_text(epoch.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(SpoolFormatError, match="newer"):
        Spool(tmp_path, "g", _SMALL)


def test_seq_goes_on_and_epoch_stays_across_restarts(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "g", _SMALL)
    fill(spool, 1)
    epoch = spool.epoch
    spool.delivered(500, save=True)
    spool.close()
    spool = Spool(tmp_path, "g", _SMALL, clock=lambda: 4e9)
    spool.trim()
    assert spool.retained() == []
    spool.close()
    spool = Spool(tmp_path, "g", _SMALL)
    assert (spool.epoch, spool.last_seq) == (epoch, 500)
    assert spool.store(batch(501, 1)) == 501
    spool.close()


def test_lost_disk_starts_a_new_epoch(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "g", _SMALL, clock=lambda: 1000.0)
    fill(spool, 1)
    spool.close()
    for path in [*tmp_path.glob("*.seg"), tmp_path / "cursor"]:
        path.unlink()
    again = Spool(tmp_path, "g", _SMALL, clock=lambda: 900.0)
    assert again.epoch > spool.epoch
    assert again.store(batch(1, 1)) == 1
    again.close()


def test_torn_tail_is_cut_off_and_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "g", _SMALL)
    fill(spool, 3)
    segment = spool.retained()[-1]
    os.pwrite(segment.fd, b"FSB1 half a batch", segment.end)
    os.close(spool._lock_fd)
    spool = Spool(tmp_path, "g", _SMALL)
    assert spool.last_seq == 1500
    assert spool.counters.torn_bytes == 17
    assert len(values(spool)) == 1500
    spool.close()


def test_delivered_entries_stay_for_the_identity_window_and_go_after_it(tmp_path: Path) -> None:
    now = [2_000_000.0]
    spool = Spool(tmp_path, "g", _SMALL, clock=lambda: now[0])
    for _ in range(30):
        spool.store(batch(spool.last_seq + 1, 500, received=int(now[0] * 1000)))
    spool.delivered(spool.last_seq, save=True)
    assert len(spool.retained()) > 3
    now[0] += 3601
    spool.trim()
    assert len(spool.retained()) == 1
    spool.close()


def test_undelivered_entries_are_never_trimmed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "g", _SMALL, clock=lambda: 4e9)
    fill(spool, 30)
    spool.delivered(600, save=True)
    assert values(spool)[-1] == 15000.0
    assert values(spool)[0] <= 601.0
    spool.close()


def test_refuse_new_keeps_everything(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "g", SpoolSettings(segment_bytes=1 << 16, max_bytes=1 << 18))
    with pytest.raises(SpoolFullError, match="refuse-new"):
        fill(spool, 100)
    assert len(values(spool)) == spool.last_seq > 5000
    assert spool.bytes <= 1 << 18
    spool.close()


def test_drop_oldest_counts_what_it_drops(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, "g", SpoolSettings(segment_bytes=1 << 16, max_bytes=1 << 18, when_full="drop-oldest"))
    fill(spool, 100)
    kept = values(spool)
    assert spool.bytes <= 1 << 18
    assert spool.counters.dropped_entries == 50_000 - len(kept)
    assert kept == [float(number) for number in range(50_001 - len(kept), 50_001)]
    assert "dropped" in caplog.text
    assert spool.counters.damaged_entries == 0
    assert spool.gaps == (Gap(1, 50_000 - len(kept), "full"),)
    spool.close()
    spool = Spool(tmp_path, "g", _SMALL)
    assert spool.gaps == (Gap(1, 50_000 - len(kept), "full"),)
    spool.close()


def test_dropped_entries_are_not_called_damaged_after_a_kill(tmp_path: Path) -> None:
    settings = SpoolSettings(segment_bytes=1 << 16, max_bytes=1 << 18, when_full="drop-oldest")
    spool = Spool(tmp_path, "g", settings)
    fill(spool, 100)
    known = spool.gaps
    os.close(spool._lock_fd)  # the cursor was never saved
    spool = Spool(tmp_path, "g", settings)
    assert values(spool)[-1] == 50_000.0
    assert spool.gaps == known
    assert spool.counters.damaged_entries == 0
    spool.close()


class _FullForSmallFiles(Files):
    full = False

    def create(self, path: Path, size: int) -> int:
        if self.full and path.name == "gaps.new":
            raise OSError(28, "injected")
        return super().create(path, size)


def test_gap_that_a_full_disk_could_not_take_is_written_later(tmp_path: Path) -> None:
    files = _FullForSmallFiles()
    settings = SpoolSettings(segment_bytes=1 << 16, max_bytes=1 << 18, when_full="drop-oldest")
    spool = Spool(tmp_path, "g", settings, files=files)
    files.full = True
    fill(spool, 100)
    assert not (tmp_path / "gaps").exists()
    files.full = False
    spool.trim()
    known = spool.gaps
    assert known
    os.close(spool._lock_fd)
    assert Spool(tmp_path, "g", settings).gaps == known


@pytest.mark.parametrize("order", [1, -1])
def test_gaps_join_and_the_newest_are_kept(tmp_path: Path, order: int) -> None:
    gaps = Gaps(tmp_path, 7, Files())
    for gap in [Gap(1, 5, "full"), Gap(6, 9, "full"), Gap(4, 7, "full"), Gap(10, 10, "damaged")][::order]:
        gaps.add(gap)
    assert gaps.ranges == (Gap(1, 9, "full"), Gap(10, 10, "damaged"))
    for number in range(200):
        gaps.add(Gap(1000 + 2 * number, 1000 + 2 * number, "damaged"))
    assert len(gaps.ranges) == 100
    assert gaps.ranges[-1] == Gap(1398, 1398, "damaged")
    gaps.save()
    assert Gaps(tmp_path, 7, Files()).ranges == gaps.ranges
    assert Gaps(tmp_path, 8, Files()).ranges == ()
    (tmp_path / "gaps").write_text("{")
    assert Gaps(tmp_path, 7, Files()).ranges == ()


def test_reader_goes_on_when_its_segment_is_dropped_under_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "g", SpoolSettings(segment_bytes=1 << 16, max_bytes=1 << 18, when_full="drop-oldest"))
    fill(spool, 5)
    reader = SpoolReader(spool, 0)
    assert reader.next() is not None
    fill(spool, 100)
    last = 0
    while (stored := reader.next()) is not None:
        assert stored.first_seq > last
        last = stored.last_seq
    assert last == spool.last_seq
    assert spool.counters.damaged_entries == 0
    spool.close()


def test_old_entries_are_dropped_by_age_only_when_configured(tmp_path: Path) -> None:
    now = [2_000_000.0]
    spool = Spool(
        tmp_path, "g", SpoolSettings(segment_bytes=1 << 16, max_bytes=1 << 30, max_age_s=60.0), clock=lambda: now[0]
    )
    for _ in range(30):
        spool.store(batch(spool.last_seq + 1, 500, received=int(now[0] * 1000)))
    now[0] += 61
    spool.trim()
    assert 0 < spool.counters.dropped_entries == spool.delivered_seq < spool.last_seq
    assert spool.gaps == (Gap(1, spool.delivered_seq, "age"),)
    spool.close()


def test_reading_costs_less_than_25_bytes_on_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "g", SpoolSettings())
    fill(spool, 100)
    spool.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.seg")) / 50_000 < 25


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_flipped_bytes_are_contained_counted_and_never_read_as_data(seed: int, flips: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        spool = Spool(directory, "g", _SMALL)
        fill(spool, 40, 300)
        spool.close()
        chance = random.Random(seed)
        for _ in range(flips):
            path = chance.choice(sorted(directory.glob("*.seg")))
            content = bytearray(path.read_bytes())
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            path.write_bytes(content)
        spool = Spool(directory, "g", _SMALL)
        found = values(spool)
        assert found == sorted(set(found)), "in order, each once"
        assert all(value == int(value) and 1 <= value <= 12_000 for value in found)
        assert len(found) >= 12_000 - flips * 12_000 // 2
        if spool.last_seq == 12_000:
            assert len(found) + spool.counters.damaged_entries == 12_000
            gone = {float(seq) for gap in spool.gaps for seq in range(gap.first, gap.last + 1)}
            assert gone == set(map(float, range(1, 12_001))) - set(found)
        spool.close()
