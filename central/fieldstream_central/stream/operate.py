"""Stopping, starting and upgrading the stream jobs. The keeper does the starting; this tells it when."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fieldstream_central.settings import Settings
from fieldstream_central.stream import checkpoints
from fieldstream_central.stream.cluster import Cluster, JobError
from fieldstream_central.stream.job_metrics import JOBS
from fieldstream_central.stream.rehearsal import rehearse
from fieldstream_central.stream.submit import PLANNED

START_TIMEOUT_S = 300.0


def status(settings: Settings) -> list[dict[str, Any]]:
    """One row per job: job, state, since, checkpoint."""
    cluster = Cluster(settings)
    known = {job["name"]: job for job in sorted(cluster.jobs(), key=lambda job: job["start-time"])}
    rows = []
    for name in JOBS:
        job_id = cluster.running(name)
        held = checkpoints.is_held(settings, name)
        started = datetime.fromtimestamp(known[name]["start-time"] / 1000, UTC) if job_id else None
        rows.append(
            {
                "job": name,
                "state": cluster.state(job_id) if job_id else "stopped" if held else "starting",
                "since": started.isoformat(timespec="seconds") if started else None,
                "checkpoint": checkpoints.latest(settings, name),
            }
        )
    return rows


def stop(settings: Settings, name: str) -> str:
    """Stops a job with a savepoint. Returns the savepoint's URI. Raises JobError."""
    cluster = Cluster(settings)
    job_id = running_id(cluster, name)
    checkpoints.hold(settings, name)
    try:
        return cluster.stop_with_savepoint(job_id, checkpoints.savepoints_uri(settings, name))
    except Exception:
        checkpoints.release(settings, name)
        raise


def deploy(settings: Settings, name: str, savepoint: str | None = None) -> None:
    """Lets the keeper start the job and waits until it runs. Raises JobError.

    From a savepoint, if one is given, in place of a job that runs or tries to: the way back from an upgrade when the
    version before cannot read what the new one has made of the state. What was read since then is read once more.
    """
    require_known(name)
    cluster = Cluster(settings)
    if savepoint:
        _put_back(settings, cluster, name, savepoint)
    checkpoints.release(settings, name)
    _wait_until_it_runs(cluster, name)


def _wait_until_it_runs(cluster: Cluster, name: str) -> None:
    def runs() -> bool:
        job_id = cluster.running(name)
        return job_id is not None and cluster.state(job_id) == "RUNNING"

    _wait_until(runs, f"{name} did not run within {START_TIMEOUT_S:.0f} s. See the log of `fieldstream jobs run`.")


def _wait_until(true: Callable[[], bool], otherwise: str) -> None:
    """Asks until the answer is yes. Raises JobError, which says `otherwise`."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not true():
        if time.monotonic() > deadline:
            raise JobError(otherwise)
        time.sleep(0.5)


def _put_back(settings: Settings, cluster: Cluster, name: str, savepoint: str) -> None:
    """Ends the job as it is and chooses the savepoint for its next start."""
    try:
        if not checkpoints.is_complete(savepoint):
            raise JobError(f"no whole savepoint lies at {savepoint}. Nothing was stopped.")
    except ValueError as error:
        raise JobError(f"{savepoint} is no URI of a savepoint: {error}. Nothing was stopped.") from error
    checkpoints.hold(settings, name)
    for job_id in cluster.alive(name):
        cluster.cancel(job_id)
    _wait_until(
        lambda: not cluster.alive(name),
        f"{name} did not end within {START_TIMEOUT_S:.0f} s. It is held; try once more.",
    )
    checkpoints.choose(settings, name, savepoint)


def upgrade(settings: Settings, name: str) -> str:
    """Replaces a running job by the installed version. Returns the savepoint it went on from.

    The new version's plan is made and rehearsed on the running one's state first: what does not fit is refused before
    anything stops. Raises JobError.
    """
    cluster = Cluster(settings)
    job_id = running_id(cluster, name)
    command = [sys.executable, "-m", "fieldstream_central.stream.submit", name, "--when-told"]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as submitting,
    ):
        try:
            if not any(line.strip() == PLANNED for line in submitting.stdout or ()):
                errors.seek(0)
                said = errors.read()[-3000:]
                raise JobError(f"the new version of {name} cannot be planned, nothing was stopped:\n{said}")
            rehearse(settings, name, job_id)
            savepoint = stop(settings, name)
            submitting.communicate(f"{savepoint}\n")
        finally:
            submitting.kill()
    if submitting.returncode:  # the keeper tries again, and says why it fails
        deploy(settings, name)
        return savepoint
    try:
        _wait_until_it_runs(cluster, name)
    finally:
        checkpoints.release(settings, name)
    return savepoint


def running_id(cluster: Cluster, name: str) -> str:
    """Flink's id of a running job. Raises JobError if it does not run."""
    require_known(name)
    job_id = cluster.running(name)
    if job_id is None:
        raise JobError(f"{name} does not run. Start it: fieldstream jobs deploy {name}")
    return job_id


def require_known(name: str) -> None:
    """Refuses names that are no job."""
    if name not in JOBS:
        raise JobError(f"there is no job {name!r}; the jobs are {', '.join(JOBS)}")
