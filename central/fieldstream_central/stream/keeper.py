"""`fieldstream jobs run`: keeps both stream jobs running and says how they are.

A job that the cluster does not know, or that failed for good, is submitted again from its newest checkpoint:
after `make up`, after the JobManager's death, after a cluster was replaced. Nobody types a path.
"""

import logging
import subprocess
import sys
import time

import httpx
from confluent_kafka.admin import AdminClient
from fieldstream_schemas.topics import ANOMALIES, READINGS_RAW, WINDOWS
from prometheus_client import Counter, Gauge

from fieldstream_central.certificate import show_metrics
from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings
from fieldstream_central.stream import checkpoints
from fieldstream_central.stream.cluster import Cluster
from fieldstream_central.stream.group_lag import GroupLag

JOBS = ("pipeline", "detect")
READ_BY = {
    "pipeline": READINGS_RAW,
    "detect": WINDOWS,
    "alerter": ANOMALIES,
}  # hop -> topic; its group is fieldstream-HOP
PERIOD_S = 2.0
LONGEST_PAUSE_S = (
    60.0  # between submissions of a job that does not come to run, for instance since its state does not fit
)
log = logging.getLogger("fieldstream.jobs")

RUNNING = Gauge("fieldstream_job_running", "1 when every task of the job runs", ["job"])
RECORDS = Gauge("fieldstream_job_records_total", "Records the job's sources have read since it was started", ["job"])
CHECKPOINT_AGE = Gauge(
    "fieldstream_job_checkpoint_age_seconds", "Since the job's newest complete checkpoint, if it ever made one", ["job"]
)
EVENTS = Gauge(
    "fieldstream_job_events",
    "What the job's functions have counted since it was started: duplicates, late_readings (each batch of them a "
    "correction), too_late_readings (left to the repair), undecodable_windows, detector_errors, restarts",
    ["job", "event"],
)
SUBMISSIONS = Counter("fieldstream_job_submissions_total", "Times the job was submitted", ["job", "result"])


class Keeper:
    """Watches the cluster; one submission per job at a time, each in a process of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster = Cluster(settings)
        admin = AdminClient({**connection(settings), "log_level": 0})
        self._lags = [GroupLag(admin, hop, topic, f"fieldstream-{hop}") for hop, topic in READ_BY.items()]
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
            job_id = self._cluster.running(job)
            runs = job_id is not None and self._cluster.state(job_id) == "RUNNING"
            RUNNING.labels(job).set(runs)
            self._reap(job)
            if runs:
                self._tries[job] = 0
            if job_id:
                RECORDS.labels(job).set(self._cluster.records_in(job_id))
                for event, count in self._cluster.counters(job_id).items():
                    EVENTS.labels(job, event).set(count)
            elif (
                job not in self._submitting
                and time.monotonic() >= self._due[job]
                and self._cluster.free_slots() > len(self._submitting)
            ):
                self._submit(job)
            if self._settings.flink and (age_s := checkpoints.age_s(self._settings, job)) is not None:
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
