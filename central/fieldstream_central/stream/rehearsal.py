"""Rehearsal of an upgrade: the new version runs beside the old one, on a copy of its state, for nobody to read.

Only Flink can say whether a state fits a program: at submission it maps states to operators, and each task reads its
own when it starts. So it is asked before anything stops. Output goes to a topic of its own, which is deleted;
without checkpoints no offset is committed.
"""

import re
import subprocess
import sys
import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from fieldstream_schemas.rights import REHEARSAL

from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings
from fieldstream_central.stream import checkpoints
from fieldstream_central.stream.cluster import Cluster, JobError

SUFFIX = "-rehearsal"
START_TIMEOUT_S = 300.0
STEADY_S = 12.0  # longer than a window: by then each task, and Python's packed state, has met a row

# Said in place of a job's ordinary settings: fail at once and for good, and leave no trace.
CONFIGURATION = {
    "restart-strategy.type": "none",
    "execution.checkpointing.interval": "10 d",
    "execution.state-recovery.claim-mode": "NO_CLAIM",
}


def redirected(statement: str) -> str:
    """A table definition, with its topic replaced if it is one that is written to."""
    if "scan.startup.mode" in statement:
        return statement
    return re.sub(r"'topic' = '[^']*'", f"'topic' = '{REHEARSAL}'", statement)


def rehearse(settings: Settings, name: str, job_id: str) -> None:
    """Runs the installed version of a job on a savepoint of the running one. Raises JobError: it does not fit."""
    cluster = Cluster(settings)
    if cluster.free_slots() < settings.parallelism:
        raise JobError(
            f"a rehearsal of {name} needs {settings.parallelism} free task slots; add a TaskManager, or wait until "
            "another upgrade has ended. Nothing was stopped."
        )
    savepoint = cluster.savepoint(job_id, checkpoints.savepoints_uri(settings, name))
    admin = AdminClient(connection(settings))
    _create_topic(admin)
    try:
        command = [sys.executable, "-m", "fieldstream_central.stream.submit", name, savepoint, "--rehearsal"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise _refused(name, done.stderr)
        _wait_until_steady(cluster, name)
    finally:
        for job in cluster.jobs():
            if job["name"] == name + SUFFIX and job["state"] not in ("FAILED", "CANCELED", "FINISHED"):
                cluster.cancel(job["jid"])
        admin.delete_topics([REHEARSAL])
        checkpoints.delete(savepoint)


def _create_topic(admin: AdminClient) -> None:
    try:
        admin.create_topics([NewTopic(REHEARSAL, num_partitions=1, config={"retention.ms": "60000"})])[
            REHEARSAL
        ].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _wait_until_steady(cluster: Cluster, name: str) -> None:
    """Until every task of the rehearsal has run for a while."""
    deadline = time.monotonic() + START_TIMEOUT_S
    steady_since = None
    while steady_since is None or time.monotonic() - steady_since < STEADY_S:
        job = cluster.newest(name + SUFFIX)
        if job and job["state"] in ("FAILING", "FAILED"):
            raise _refused(name, cluster.root_exception(job["jid"]))
        if job and cluster.state(job["jid"]) == "RUNNING":
            steady_since = steady_since or time.monotonic()
        if steady_since is None and time.monotonic() > deadline:
            raise JobError(
                f"the new version of {name} did not run within {START_TIMEOUT_S:.0f} s. Nothing was stopped."
            )
        time.sleep(0.5)


def _refused(name: str, trace: str) -> JobError:
    """The causes of a Java or Python failure, without the frames between them."""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    causes = [line for line in lines if re.match(r"(Caused by: )?[\w.$]*(Exception|Error)\b", line)]
    said = "\n  ".join(dict.fromkeys(line.removeprefix("Caused by: ")[:500] for line in (causes or lines)[-6:]))
    return JobError(
        f"the new version of {name} cannot go on from the running one's state. Nothing was stopped. "
        f"Flink says:\n  {said}\n"
        "Keep operators' uid and the types of their state. If it is an older version, go back to what it has made: "
        f"`fieldstream jobs deploy {name} --from SAVEPOINT`, the one that `jobs upgrade` printed. Or begin anew: "
        f"`fieldstream jobs stop {name}`, remove its checkpoints, `fieldstream jobs deploy {name}`."
    )
