"""Which checkpoint a job goes on from."""

import os
from pathlib import Path

from fieldstream_central.settings import Settings
from fieldstream_central.stream.checkpoints import choose, latest


def checkpoint(settings: Settings, path: str, *, age_s: int, complete: bool = True) -> Path:
    folder = Path(settings.flink_checkpoints) / "pipeline" / path
    folder.mkdir(parents=True)
    (folder / "_metadata").write_bytes(b"x" if complete else b"")
    os.utime(folder / "_metadata", (1_700_000_000 - age_s, 1_700_000_000 - age_s))
    return folder


def test_the_newest_complete_checkpoint_of_any_run_is_taken(tmp_path: Path) -> None:
    settings = Settings(flink_checkpoints=str(tmp_path))
    checkpoint(settings, "job-a/chk-9", age_s=100)
    newest = checkpoint(settings, "job-b/chk-2", age_s=10)
    checkpoint(settings, "job-b/chk-3", age_s=1, complete=False)
    assert latest(settings, "pipeline") == newest.as_uri()


def test_a_chosen_savepoint_is_taken_until_a_checkpoint_is_newer_than_the_choice(tmp_path: Path) -> None:
    settings = Settings(flink_checkpoints=str(tmp_path))
    before = checkpoint(settings, "savepoints/savepoint-1", age_s=100)
    checkpoint(settings, "job-b/chk-2", age_s=10)
    choose(settings, "pipeline", before.as_uri())
    assert latest(settings, "pipeline") == before.as_uri()
    newest = checkpoint(settings, "job-c/chk-3", age_s=-1_000_000_000)
    assert latest(settings, "pipeline") == newest.as_uri()


def test_without_any_checkpoint_the_job_starts_at_the_beginning(tmp_path: Path) -> None:
    assert latest(Settings(flink_checkpoints=str(tmp_path)), "pipeline") is None
