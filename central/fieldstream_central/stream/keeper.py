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
from prometheus_client import Counter, Gauge, start_http_server

from fieldstream_central.settings import Settings
from fieldstream_central.stream.cluster import Cluster, hold_file, latest_checkpoint
from fieldstream_central.stream.group_lag import GroupLag

JOBS = ("pipeline", "detect")
READ_BY = {
    "pipeline": READINGS_RAW,
    "detect": WINDOWS,
    "alerter": ANOMALIES,
}  # hop -> topic; its group is fieldstream-HOP
PERIOD_S = 2.0
log = logging.getLogger("fieldstream.jobs")

RUNNING = Gauge("fieldstream_job_running", "1 when every task of the job runs", ["job"])
RECORDS = Gauge("fieldstream_job_records_total", "Records the job's sources have read since it was started", ["job"])
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
        self._cluster = Cluster(settings.flink)
        admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
        self._lags = [GroupLag(admin, hop, topic, f"fieldstream-{hop}") for hop, topic in READ_BY.items()]
        self._submitting: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> None:
        """Goes on until the process is stopped."""
        start_http_server(self._settings.jobs_metrics_port, "127.0.0.1")
        reachable = True
        while True:
            for lag in self._lags:
                lag.measure()
            try:
                self._look()
                if not reachable:
                    log.warning("the Flink cluster answers again")
                reachable = True
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
            RUNNING.labels(job).set(job_id is not None and self._cluster.state(job_id) == "RUNNING")
            self._reap(job)
            if job_id:
                RECORDS.labels(job).set(self._cluster.records_in(job_id))
                for event, count in self._cluster.counters(job_id).items():
                    EVENTS.labels(job, event).set(count)
            elif (
                job not in self._submitting
                and not hold_file(self._settings, job).exists()
                and self._cluster.free_slots() > len(self._submitting)
            ):
                self._submit(job)

    def _submit(self, job: str) -> None:
        checkpoint = latest_checkpoint(self._settings, job)
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
