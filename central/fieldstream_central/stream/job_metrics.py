"""What Prometheus is told of the stream jobs, by whoever looks at them: the keeper, or `fieldstream jobs watch`."""

import logging
import time

import httpx
from confluent_kafka.admin import AdminClient
from fieldstream_schemas.topics import ANOMALIES, READINGS_RAW, WINDOWS
from prometheus_client import Gauge

from fieldstream_central.certificate import show_metrics
from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings
from fieldstream_central.stream.cluster import Cluster
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
CHECKPOINT_AGE = Gauge(
    "fieldstream_job_checkpoint_age_seconds", "Since the job's newest complete checkpoint, if it ever made one", ["job"]
)
EVENTS = Gauge(
    "fieldstream_job_events",
    "What the job's functions have counted since it was started: duplicates, late_readings (each batch of them a "
    "correction), too_late_readings (left to the repair), undecodable_windows, detector_errors, restarts",
    ["job", "event"],
)


def group_lags(settings: Settings) -> list[GroupLag]:
    """The lag of every hop that reads a topic as a consumer group."""
    admin = AdminClient({**connection(settings), "log_level": 0})
    return [GroupLag(admin, hop, topic, f"fieldstream-{hop}") for hop, topic in READ_BY.items()]


def show(cluster: Cluster, job: str) -> tuple[str | None, bool]:
    """Sets the metrics that the cluster knows. Returns the job's id, if it is there, and whether all of it runs.

    Raises httpx.HTTPError.
    """
    job_id = cluster.running(job)
    runs = job_id is not None and cluster.state(job_id) == "RUNNING"
    RUNNING.labels(job).set(runs)
    if job_id:
        RECORDS.labels(job).set(cluster.records_in(job_id))
        for event, count in cluster.counters(job_id).items():
            EVENTS.labels(job, event).set(count)
    return job_id, runs


def watch(settings: Settings) -> None:
    """Shows the metrics until the process is stopped; the jobs are kept by something else."""
    show_metrics(settings, settings.jobs_metrics_port)
    clusters = {job: Cluster(settings, job) for job in JOBS}
    lags = group_lags(settings)
    away: set[str] = set()
    while True:
        for lag in lags:
            lag.measure()
        for job, cluster in clusters.items():
            try:
                job_id, _ = show(cluster, job)
                if job_id and (made_at := cluster.checkpoint_made_at(job_id)):
                    CHECKPOINT_AGE.labels(job).set(time.time() - made_at)
                if job in away:
                    log.warning("the Flink cluster of %s answers again", job)
                away.discard(job)
            except httpx.HTTPError as error:
                RUNNING.labels(job).set(0)
                if job not in away:
                    log.warning("the Flink cluster of %s does not answer: %s", job, error)
                away.add(job)
        time.sleep(PERIOD_S)
