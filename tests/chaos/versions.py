"""Other versions of the product: a changed copy of the centre's package, run in place of the installed one."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fieldstream_central.stream import checkpoints
from fieldstream_central.stream.cluster import Cluster
from local.layout import ROOT, VENV
from local.programs import ours

from chaos.harm import DrillError
from chaos.world import World

PACKAGE = "fieldstream_central"
NEW_VERSION_S = 15  # longer than a window, and than checkpoints need to make the savepoint an old one
# One more column passes through deduplication: the plan changes, the state does not.
ONE_MORE_COLUMN = {
    "stream/pipeline.sql": (
        "SELECT * FROM decoded WHERE reason IS NULL;",
        "SELECT *, CHAR_LENGTH(device_id) AS name_length FROM decoded WHERE reason IS NULL;",
    )
}
# The open windows are looked for under another name: going on would forget them.
ANOTHER_UID = {"stream/pipeline.sql": ("uid => 'windows'", "uid => 'windows-renamed'")}
# It goes on all the same, without the open windows; then this version finds no state under the name that it knows.
FORGETFUL = ANOTHER_UID | {
    "stream/cluster.py": (
        '"execution.checkpointing.incremental": "true",',
        '"execution.checkpointing.incremental": "true", "execution.state-recovery.ignore-unclaimed-state": "true",',
    )
}
# A migration as they are written (docs/store.md): the largest table made anew with one more column, in mid-stream.
MORE_IN_THE_STORE = """\
CREATE TABLE IF NOT EXISTS fieldstream.readings_next AS fieldstream.readings_data;

ALTER TABLE fieldstream.readings_next ADD COLUMN IF NOT EXISTS shift LowCardinality(String) DEFAULT 'early';

-- when: SELECT count() = 0 FROM system.columns WHERE table = 'readings_data' AND name = 'shift'
EXCHANGE TABLES fieldstream.readings_data AND fieldstream.readings_next;

INSERT INTO fieldstream.readings_data ({columns}) SELECT {columns} FROM fieldstream.readings_next;

DROP TABLE fieldstream.readings_next;
""".format(
    columns="device_id, metric, ts, value, unit, quality, flags, gateway_id, epoch, seq, site, area, asset_id, "
    "asset_type, operator_pseudonym, version, processed_after_ds, stored_after_ds, lateness_s"
)
# What each promise hangs on, taken out.
NO_DEDUPLICATION = {
    "stream/pipeline.sql": (
        "FROM first_of_seq(\n  reading => TABLE valid PARTITION BY (gateway_id, epoch, device_id), "
        "on_time => DESCRIPTOR(event_time), uid => 'first');",
        "FROM valid;",
    )
}
NO_CHECKPOINTS = {
    "stream/cluster.py": (
        '"execution.checkpointing.interval": "5s"',
        '"execution.checkpointing.interval": "10d"',
    )
}
NO_REPAIR = {
    "store/repair.py": (
        '        UpkeepLoop("repair", url, lambda clickhouse: Repair(clickhouse).step, every_s=2.0),\n',
        "",
    )
}


def changed_copy(folder: Path, changes: Mapping[str, tuple[str, str]]) -> Path:
    """The centre's package with these texts replaced, below `folder`, which goes on PYTHONPATH."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "central" / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (old, new) in changes.items():
        path = folder / PACKAGE / name
        text = path.read_text()
        if text.count(old) != 1:
            raise DrillError(f"{name} has {old!r} {text.count(old)} times: the change needs mending")
        path.write_text(text.replace(old, new))
    return folder


def upgrade(world: World, _chance: random.Random) -> None:
    """Both jobs replaced in mid-stream, with a savepoint each."""
    for job in ("pipeline", "detect"):
        upgraded(world, ROOT / "central", job)


def upgrade_to_one_more_column(world: World, _chance: random.Random) -> None:
    """The new version is rehearsed, and then runs, from the old one's state."""
    code = changed_copy(world.drill_folder / "code", ONE_MORE_COLUMN)
    with kept_by(world, code):
        upgraded(world, code, "pipeline")


def put_back(world: World, _chance: random.Random) -> None:
    """A version has run that lost windows and left state that this one cannot read: both jobs go back."""
    code = changed_copy(world.drill_folder / "code", FORGETFUL)
    with kept_by(world, code):
        savepoints = {job: upgraded(world, code, job) for job in ("pipeline", "detect")}
        time.sleep(NEW_VERSION_S)
    refused = jobs_upgrade(world, ROOT / "central")
    if refused.returncode == 0 or "--from SAVEPOINT" not in refused.stderr:
        raise DrillError(f"the way back ended with {refused.returncode}: {refused.stderr[-2000:]}")
    for job, savepoint in savepoints.items():
        done = centre(world, ROOT / "central", "jobs", "deploy", job, "--from", savepoint)
        if done.returncode or f"submitting {job} from {savepoint}" not in (world.layout.logs / "jobs.log").read_text():
            raise DrillError(f"{job} was not put back, {done.returncode}: {done.stderr[-2000:]}")
    time.sleep(NEW_VERSION_S)
    if gone := [savepoint for savepoint in savepoints.values() if not checkpoints.is_complete(savepoint)]:
        raise DrillError(f"Flink has deleted {gone}")


def upgrade_that_does_not_fit(world: World, _chance: random.Random) -> None:
    """It is refused with its reason, and the job that runs is the one that ran."""
    code = changed_copy(world.drill_folder / "code", ANOTHER_UID)
    before = Cluster(world.settings).running("pipeline")
    done = jobs_upgrade(world, code)
    if done.returncode == 0 or "Nothing was stopped" not in done.stderr:
        raise DrillError(f"the upgrade ended with {done.returncode}: {done.stderr[-2000:]}")
    if Cluster(world.settings).running("pipeline") != before:
        raise DrillError("the job was stopped for an upgrade that was refused")


def migration(world: World, _chance: random.Random) -> None:
    """The store gets the schema of a newer version, while the loader writes and the repair reads."""
    code = changed_copy(world.drill_folder / "code", {})
    (code / PACKAGE / "store/schema/9000_shift.sql").write_text(MORE_IN_THE_STORE)
    done = centre(world, code, "store", "migrate")
    if done.returncode or not world.store.query("SELECT 1 FROM fieldstream.readings_data WHERE shift = 'early'"):
        raise DrillError(f"the migration ended with {done.returncode}: {done.stderr[-2000:]}")


@contextmanager
def kept_by(world: World, code: Path) -> Iterator[None]:
    """The keeper of the version in `code` in place of the stack's own."""
    world.supervisor.stop("jobs")
    keeper = subprocess.Popen(command("jobs", "run"), env=environment(world, code))
    try:
        yield
    finally:
        keeper.kill()
        keeper.wait()
        world.supervisor.start("jobs")


def upgraded(world: World, code: Path, job: str) -> str:
    """The savepoint from which the version in `code` went on. Raises DrillError if it did not."""
    before = Cluster(world.settings).running(job)
    done = jobs_upgrade(world, code, job)
    if done.returncode or Cluster(world.settings).running(job) in (before, None):
        raise DrillError(f"the upgrade of {job} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.split()[-1]


def jobs_upgrade(world: World, code: Path, job: str = "pipeline") -> "subprocess.CompletedProcess[str]":
    """`fieldstream jobs upgrade`, as the version in `code` runs it."""
    return centre(world, code, "jobs", "upgrade", job)


def centre(world: World, code: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command of the centre, as the version in `code` runs it."""
    return subprocess.run(
        command(*arguments), env=environment(world, code), capture_output=True, text=True, timeout=900, check=False
    )


def command(*arguments: str) -> list[str]:
    """A command of the centre by module, so that PYTHONPATH decides which version it is."""
    start = f"import sys; sys.argv[1:] = {arguments!r}; from {PACKAGE}.cli import main; main()"
    return [str(VENV / "bin/python"), "-c", start]


def environment(world: World, code: Path) -> dict[str, str]:
    """For a program of another version on a world's stack."""
    return os.environ | ours(world.layout, "jobs") | {"PYTHONPATH": str(code)}
