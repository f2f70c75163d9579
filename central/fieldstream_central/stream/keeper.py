"""`fieldstream jobs run`: keeps both stream jobs running and says how they are.

A job that the cluster does not know, or that failed for good, is submitted again from its newest checkpoint:
after `make up`, after the JobManager's death, after a cluster was replaced. Nobody types a path.
"""

import subprocess
import sys
import time

import httpx
from prometheus_client import Counter

from fieldstream_central.certificate import show_metrics
from fieldstream_central.settings import Settings
from fieldstream_central.stream import checkpoints
from fieldstream_central.stream.cluster import Cluster
from fieldstream_central.stream.job_metrics import CHECKPOINT_AGE, JOBS, PERIOD_S, RUNNING, group_lags, log, show

LONGEST_PAUSE_S = (
    60.0  # between submissions of a job that does not come to run, for instance since its state does not fit
)

SUBMISSIONS = Counter("fieldstream_job_submissions_total", "Times the job was submitted", ["job", "result"])


class Keeper:
    """Watches the cluster; one submission per job at a time, each in a process of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster = Cluster(settings)
        self._lags = group_lags(settings)
        self._submitting: dict[str, subprocess.Popen[bytes]] = {}
        self._tries = dict.fromkeys(JOBS, 0)  # submissions since the job last ran
        self._due = dict.fromkeys(JOBS, 0.0)

    def run(self) -> None:
        """Goes on until the process is stopped."""
        show_metrics(self._settings, self._settings.jobs_metrics_port)
        reachable = True
        while True:
            for lag in self._lags:
                lag.measure()
            try:
                self._look()
                if not reachable:
                    log.warning("the Flink cluster answers again")
                reachable = True
            except OSError as error:  # a job whose checkpoints cannot be seen is not started from the beginning
                log.warning("the checkpoints in %s cannot be read: %s", self._settings.flink_checkpoints, error)
            except httpx.HTTPError as error:
                for job in JOBS:
                    RUNNING.labels(job).set(0)
                if reachable:
                    log.warning("the Flink cluster at %s does not answer: %s", self._settings.flink, error)
                reachable = False
            time.sleep(PERIOD_S)

    def _look(self) -> None:
        for job in JOBS:
            job_id, runs = show(self._cluster, job)
            self._reap(job)
            if runs:
                self._tries[job] = 0
            if (
                not job_id
                and job not in self._submitting
                and time.monotonic() >= self._due[job]
                and self._cluster.free_slots() > len(self._submitting)
            ):
                self._submit(job)
            if (age_s := checkpoints.age_s(self._settings, job)) is not None:
                CHECKPOINT_AGE.labels(job).set(age_s)

    def _submit(self, job: str) -> None:
        if checkpoints.is_held(self._settings, job):
            return
        checkpoint = checkpoints.latest(self._settings, job)
        if self._tries[job] and (failed := self._cluster.newest_failure(job)):
            log.error("%s failed at its last start: %s", job, failed)
        self._tries[job] += 1
        self._due[job] = time.monotonic() + min(2.0 ** self._tries[job], LONGEST_PAUSE_S)
        log.warning("submitting %s from %s", job, checkpoint or "the beginning")
        command = [sys.executable, "-m", "fieldstream_central.stream.submit", job]
        self._submitting[job] = subprocess.Popen([*command, checkpoint] if checkpoint else command)

    def _reap(self, job: str) -> None:
        process = self._submitting.get(job)
        if process and process.poll() is not None:
            SUBMISSIONS.labels(job, "failed" if process.returncode else "accepted").inc()
            if process.returncode:
                log.error("submitting %s failed; its reason is above, the next try follows", job)
            del self._submitting[job]
