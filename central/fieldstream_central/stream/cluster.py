"""The Flink cluster: settings that every job shares, and the cluster's REST interface."""

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from fieldstream_schemas.registry import SchemaRegistry
from fieldstream_schemas.topics import ANOMALIES, DEAD_LETTERS, READINGS_CLEAN, WINDOWS

from fieldstream_central.certificate import client_context
from fieldstream_central.kafka_access import of_job
from fieldstream_central.settings import Settings
from fieldstream_central.stream.checkpoints import folder_uri

WRITTEN = (READINGS_CLEAN, WINDOWS, ANOMALIES, DEAD_LETTERS)


# Flink's own choice of ciphers has none for keys on elliptic curves.
TLS = {
    "security.ssl.protocol": "TLSv1.2",
    "security.ssl.algorithms": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
}

# Settings of every job. They travel with the job: a client's submission does not take them from the cluster.
COMMON = {
    "state.backend.type": "rocksdb",
    "execution.checkpointing.interval": "5s",
    "execution.checkpointing.timeout": "60s",
    "execution.checkpointing.incremental": "true",
    # A full disk or a slow store must not kill a job that works; old checkpoints are watched by their age.
    "execution.checkpointing.tolerable-failed-checkpoints": "1000",
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    "restart-strategy.type": "exponential-delay",
    "restart-strategy.exponential-delay.initial-backoff": "1s",
    "restart-strategy.exponential-delay.max-backoff": "10s",
    # Operators hand rows on without copying them: none of ours keeps a row that it was given.
    "pipeline.object-reuse": "true",
    # Python workers: small delay, and a state cache above the number of assets, or each row goes to RocksDB.
    "python.fn-execution.bundle.time": "100",
    "python.fn-execution.bundle.size": "20000",
    "python.state.cache-size": "20000",
}


def job_configuration(
    settings: Settings,
    *,
    name: str,
    restore_from: str | None,
    parameters: Mapping[str, str] | None = None,
    more: dict[str, str] | None = None,
) -> dict[str, str]:
    """Flink settings of one job: where to run, where its checkpoints go, what its functions need to know.

    `parameters` are for the job's own functions; `more` settings go last. Resolves the ids of the schemas the jobs
    write, from disk if the registry is away.
    """
    registry = SchemaRegistry(settings.registry, settings.schema_cache)
    known = {
        **{f"fieldstream.kafka.{key}": value for key, value in of_job(settings, name).items()},
        "fieldstream.registry": ",".join(settings.registry),
        "fieldstream.schema-cache": str(settings.schema_cache.absolute()),
        "fieldstream.pseudonym-key-file": str(settings.pseudonym_key_file.absolute()),
    }
    if settings.letter_public_key_file:
        known["fieldstream.letter-public-key-file"] = str(settings.letter_public_key_file.absolute())
    for topic in WRITTEN:
        schema_name = topic.schema_file.removesuffix(".avsc")
        known[f"fieldstream.schema-id.{schema_name}"] = str(registry.wait_for_id(topic))
    configuration = COMMON | {
        "pipeline.name": name,
        # Flink takes the list apart twice, at commas and at colons, and each time one layer of quotes goes.
        "pipeline.global-job-parameters": ",".join(
            f"'{key}:''{value}'''" for key, value in (known | dict(parameters or {})).items()
        ),
    }
    if not settings.own_clusters:
        configuration |= _submission(settings, name)
    if restore_from:
        configuration |= restoring(name, restore_from)
    return configuration | (more or {})


def restoring(name: str, uri: str) -> dict[str, str]:
    """Flink settings that let a job go on from a checkpoint or savepoint."""
    # What Flink claims it deletes once newer ones stand. A savepoint is the way back from an upgrade: it stays.
    claim = "NO_CLAIM" if f"/{name}/savepoints/" in uri else "CLAIM"
    return {"execution.state-recovery.path": uri, "execution.state-recovery.claim-mode": claim}


def _submission(settings: Settings, name: str) -> dict[str, str]:
    """What a shared cluster has to be told of a job; a cluster of the job's own was started with all of it."""
    where = urlsplit(settings.flink)
    return rest_options(settings.flink_store) | {
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": where.hostname or "",
        "rest.port": str(where.port),
        # Said here, or a client takes the number of its own cores.
        "parallelism.default": str(settings.parallelism),
        "pipeline.jars": settings.flink_function_jar.absolute().as_uri(),
        "execution.checkpointing.dir": folder_uri(settings, name),
    }


def rest_options(store: Path | None) -> dict[str, str]:
    """Flink's options for its REST interface by mutual TLS with the key and the certificates of a store."""
    if store is None:
        return {}
    return store_options(store, store.with_suffix(".password").read_text())


def store_options(store: Path, password: str) -> dict[str, str]:
    """As `rest_options`, without a look at the disk."""
    return TLS | {
        "security.ssl.rest.enabled": "true",
        "security.ssl.rest.authentication-enabled": "true",
        "security.ssl.rest.keystore": f"{store}.p12",
        "security.ssl.rest.keystore-password": password,
        "security.ssl.rest.key-password": password,
        "security.ssl.rest.truststore": f"{store}.trust.p12",
        "security.ssl.rest.truststore-password": password,
    }


def cluster_options(store: Path, password: str) -> dict[str, str]:
    """Of the cluster itself: REST by mutual TLS, and its own links likewise."""
    rest = store_options(store, password)
    inside = {
        key.replace(".rest.", ".internal."): value for key, value in rest.items() if "store" in key or "key-" in key
    }
    return rest | inside | {"security.ssl.internal.enabled": "true"}


class JobError(Exception):
    """A job cannot be stopped, started or upgraded; the message says why and what to do."""


def _context(settings: Settings) -> ssl.SSLContext:
    """Flink has an authority of its own, or whoever has a certificate could submit a job."""
    store = settings.flink_store
    if store is None:
        return client_context(settings)
    context = ssl.create_default_context(cafile=str(store.with_name("ca.crt")))
    context.load_cert_chain(store.with_suffix(".crt"), store.with_suffix(".key"))
    return context


class Cluster:
    """The cluster's REST interface. Methods raise httpx.HTTPError when it does not answer."""

    def __init__(self, settings: Settings, job: str = "") -> None:
        """`job`: whose cluster, where each has its own."""
        self._http = httpx.Client(
            base_url=settings.flink.replace("{job}", job), timeout=10.0, verify=_context(settings)
        )

    def jobs(self) -> list[dict[str, Any]]:
        """Overview of all jobs: jid, name, state, start-time."""
        return list(self._get("/jobs/overview")["jobs"])

    def alive(self, name: str) -> list[str]:
        """Ids of the jobs of this name that are not finished, failed or cancelled."""
        ended = {"FINISHED", "FAILED", "CANCELED"}
        return [j["jid"] for j in self.jobs() if j["name"] == name and j["state"] not in ended]

    def running(self, name: str) -> str | None:
        """Id of the first of them; None if there is none."""
        return next(iter(self.alive(name)), None)

    def state(self, job_id: str) -> str:
        """State of a job, RUNNING only when every task of it runs."""
        job = self._get(f"/jobs/{job_id}")
        tasks = {vertex["status"] for vertex in job["vertices"]}
        return "RUNNING" if job["state"] == "RUNNING" and tasks == {"RUNNING"} else str(job["state"]).lower()

    def free_slots(self) -> int:
        """Task slots that no job uses."""
        return int(self._get("/overview")["slots-available"])

    def records_in(self, job_id: str) -> int:
        """Records that the job's sources have read since it was started."""
        job = self._get(f"/jobs/{job_id}")
        return sum(v["metrics"]["write-records"] for v in job["vertices"] if v["name"].startswith("Source"))

    def counters(self, job_id: str) -> dict[str, float]:
        """Our own counters in the job's functions, summed over subtasks, without their prefix `fieldstream_`; and
        `restarts` of the job. They begin anew when the job does."""
        totals: dict[str, float] = {}
        for vertex in self._get(f"/jobs/{job_id}")["vertices"]:
            path = f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics"
            names = [item["id"] for item in self._get(path) if "fieldstream_" in item["id"]]
            for item in self._get(path, get=",".join(names), agg="sum") if names else []:
                name = item["id"].rpartition("fieldstream_")[2]
                totals[name] = totals.get(name, 0.0) + item["sum"]
        for item in self._get(f"/jobs/{job_id}/metrics", get="numRestarts"):
            totals["restarts"] = float(item["value"])
        return totals

    def state_bytes(self, job_id: str) -> int:
        """Size of the job's state in its newest complete checkpoint; 0 before the first."""
        newest = self._get(f"/jobs/{job_id}/checkpoints")["latest"]["completed"]
        return int(newest["state_size"]) if newest else 0

    def checkpoint_made_at(self, job_id: str) -> float | None:
        """When the newest complete checkpoint was made, in Unix seconds; None before the first of this run."""
        newest = self._get(f"/jobs/{job_id}/checkpoints")["latest"]["completed"]
        return float(newest["latest_ack_timestamp"]) / 1000 if newest else None

    def running_seconds(self, job_id: str) -> float:
        """How long the tasks of a job have run, or ran."""
        return max(float(vertex["duration"]) for vertex in self._get(f"/jobs/{job_id}")["vertices"]) / 1000

    def root_exception(self, job_id: str) -> str:
        """Why a job failed, as Flink tells it; empty if it did not."""
        return str(self._get(f"/jobs/{job_id}/exceptions").get("root-exception") or "")

    def newest(self, name: str) -> dict[str, Any] | None:
        """The job of this name that was started last, whatever its state."""
        return max((j for j in self.jobs() if j["name"] == name), key=lambda j: j["start-time"], default=None)

    def newest_failure(self, name: str) -> str:
        """Why the newest job of this name failed: the innermost cause in a line; empty if it did not fail."""
        newest = self.newest(name)
        if newest is None or newest["state"] != "FAILED":
            return ""
        lines = self.root_exception(newest["jid"]).splitlines() or ["no reason given"]
        return next((line for line in reversed(lines) if line.startswith("Caused by: ")), lines[0])

    def savepoint(self, job_id: str, folder: str) -> str:
        """Makes a savepoint below `folder`, a URI, while the job goes on; returns its URI. Raises JobError."""
        return self._savepoint(job_id, "savepoints", {"target-directory": folder, "cancel-job": False})

    def stop_with_savepoint(self, job_id: str, folder: str) -> str:
        """Stops a job after a savepoint below `folder`, a URI,; returns its URI. Raises JobError: the job goes on."""
        return self._savepoint(job_id, "stop", {"targetDirectory": folder, "drain": False})

    def _savepoint(self, job_id: str, how: str, body: dict[str, Any], *, timeout_s: float = 120) -> str:
        answer = self._http.post(f"/jobs/{job_id}/{how}", json=body).raise_for_status().json()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            progress = self._get(f"/jobs/{job_id}/savepoints/{answer['request-id']}")
            if progress["status"]["id"] == "COMPLETED":
                operation = progress["operation"]
                if "location" not in operation:
                    cause = operation.get("failure-cause", {}).get("stack-trace", "no reason given")
                    raise JobError(f"Flink made no savepoint of job {job_id}: {cause.splitlines()[0]}")
                return str(operation["location"])
            time.sleep(0.2)
        raise JobError(f"Flink made no savepoint of job {job_id} within {timeout_s:.0f} s")

    def cancel(self, job_id: str) -> None:
        """Asks the cluster to cancel a job; its checkpoints stay."""
        self._http.patch(f"/jobs/{job_id}").raise_for_status()

    def _get(self, path: str, **query: str) -> Any:
        return self._http.get(path, params=query).raise_for_status().json()
