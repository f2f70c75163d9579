"""Looks at the parts that are not ours: broker, Kafka, registry, Flink, ClickHouse, Prometheus, Alertmanager."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]
from fieldstream_schemas.registry import SchemaRegistry
from fieldstream_schemas.topics import TOPICS

from fieldstream_central.certificate import client_context
from fieldstream_central.doctor.finding import Check, Finding
from fieldstream_central.kafka_access import connection
from fieldstream_central.notify.routes import WATCHDOG
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouse, without_password
from fieldstream_central.store.migrate import migrations
from fieldstream_central.stream import checkpoints
from fieldstream_central.stream.cluster import Cluster
from fieldstream_central.stream.job_metrics import JOBS

CHECKPOINT_OLD_S = 120
DISK_FREE_SHARE = 0.1
MANY_PARTS = 300  # ClickHouse slows inserts down at 1,000 in a partition
TIMEOUT_S = 5.0


def ask(settings: Settings, url: str) -> httpx.Response:
    """The answer to a GET. Raises httpx.HTTPError: none came, or it says that something is wrong."""
    asked = httpx.get(url, timeout=TIMEOUT_S, follow_redirects=True, verify=client_context(settings))
    return asked.raise_for_status()


def mqtt(settings: Settings) -> Iterator[Finding]:
    """Whether something listens at the broker's address."""
    url = urlsplit(settings.mqtt)
    socket.create_connection((url.hostname or "", url.port or 1883), timeout=TIMEOUT_S).close()
    yield Finding("mqtt", f"listens at {settings.mqtt}")


def kafka(settings: Settings) -> Iterator[Finding]:
    """Every topic with its partitions and its retention, and every partition with a leader and all its replicas."""
    admin = AdminClient({**connection(settings), "log_level": 0})
    found = admin.list_topics(timeout=TIMEOUT_S)
    yield Finding("kafka", f"{len(found.brokers)} broker(s) at {settings.kafka}")
    for name, topic in TOPICS.items():
        if name not in found.topics:
            yield Finding("kafka", f"topic {name} is missing", "Run `fieldstream topics`.")
            continue
        partitions = found.topics[name].partitions
        if len(partitions) < topic.partitions:
            said = f"topic {name} has {len(partitions)} partitions, declared are {topic.partitions}"
            yield Finding("kafka", said, "Add partitions: `kafka-topics --alter`; keys then change their partition.")
        for number, partition in partitions.items():
            if partition.leader < 0 or len(partition.isrs) < len(partition.replicas):
                said = f"{name}/{number} has {len(partition.isrs)} of {len(partition.replicas)} replicas in step"
                yield Finding(
                    "kafka", said, "See whether every broker runs and has disk; a replica that is back catches up."
                )
    there = [name for name in TOPICS if name in found.topics]
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in there]
    for resource, future in admin.describe_configs(asked, request_timeout=TIMEOUT_S).items():
        have = future.result()
        for key, value in TOPICS[resource.name].config.items():
            if have[key].value != value:
                said = f"topic {resource.name} has {key}={have[key].value}, declared is {value}"
                yield Finding("kafka", said, f"`kafka-configs --alter --add-config {key}={value}` on the topic.")


def registry(settings: Settings) -> Iterator[Finding]:
    """Each instance, and whether ours may follow what is registered. Programs go on with what is on disk."""
    for url in settings.registry:
        try:
            subjects = ask(settings, f"{url}/subjects").json()
            yield Finding("registry", f"{url} answers")
        except httpx.HTTPError as error:
            remedy = "Start it. Until then programs go on with the schemas that they have on disk."
            yield Finding("registry", f"{url} does not answer: {error}", remedy)
            return
    if lacking := [topic.subject for topic in TOPICS.values() if topic.subject not in subjects]:
        yield Finding("registry", f"does not know {', '.join(lacking)}", "Run `fieldstream schemas register`.")
    client = SchemaRegistry(settings.registry, settings.schema_cache)
    for topic in TOPICS.values():
        if problems := client.check(topic.subject, topic.schema_text):
            yield Finding(
                "registry", f"{topic.subject} is incompatible: {problems[0]}", "Install the matching version."
            )
    if not client.holds(TOPICS.values()):
        remedy = "Run `fieldstream schemas register`."
        yield Finding("registry", f"{settings.schema_cache} does not hold every schema's id", remedy)


def flink(settings: Settings) -> Iterator[Finding]:
    """Both jobs, and how old the checkpoint is from which each would go on."""
    cluster = Cluster(settings)
    for name in JOBS:
        job_ids = cluster.alive(name)
        job_id = next(iter(job_ids), None)
        if checkpoints.is_held(settings, name):
            yield Finding("flink", f"{name} was stopped by somebody", f"`fieldstream jobs deploy {name}`", down=True)
            continue
        if not job_id or cluster.state(job_id) != "RUNNING":
            why = cluster.newest_failure(name) or f"{cluster.free_slots()} task slots are free"
            remedy = "Its slots need a TaskManager; then the log of `fieldstream jobs run` says why it does not start."
            yield Finding("flink", f"{name} does not run: {why}", remedy, down=True)
            continue
        if len(job_ids) > 1:
            remedy = f"Cancel all but one on {settings.flink}: results stay right, but each takes slots and work."
            yield Finding("flink", f"{name} runs {len(job_ids)} times", remedy)
        age_s = checkpoints.age_s(settings, name)
        if age_s is None or age_s > CHECKPOINT_OLD_S:
            age = "none yet" if age_s is None else f"{age_s:.0f} s old"
            remedy = f"See the disk at {settings.flink_checkpoints} and the job's checkpoints on {settings.flink}."
            yield Finding("flink", f"{name}: newest checkpoint {age}", remedy)
        else:
            yield Finding("flink", f"{name} runs, checkpoint {age_s:.0f} s old")


def clickhouse(settings: Settings) -> Iterator[Finding]:
    """Schema, parts and disk."""
    with ClickHouse(settings.clickhouse, timeout_s=TIMEOUT_S) as store:
        version = store.value("SELECT version()")
        yield Finding("clickhouse", f"{version} at {without_password(settings.clickhouse)}")
        there = "SELECT count() FROM system.tables WHERE database = 'fieldstream' AND name = 'migrations'"
        applied = store.rows("SELECT number FROM fieldstream.migrations FINAL") if store.value(there) else []
        if lacking := {one.number for one in migrations()} - {row["number"] for row in applied}:
            said = f"{len(lacking)} migrations are not applied, the first is {min(lacking)}"
            yield Finding("clickhouse", said, "Run `fieldstream store migrate`.")
        for row in store.rows(
            "SELECT table, partition, count() AS n FROM system.parts WHERE active AND database = 'fieldstream' "
            "GROUP BY table, partition HAVING n > {many:UInt32}",
            {"many": MANY_PARTS},
        ):
            said = f"{row['table']} has {row['n']} parts in {row['partition']}"
            yield Finding("clickhouse", said, "Merges do not keep up: see CPU, disk and how many loaders insert.")
        for row in store.rows("SELECT name, free_space / total_space AS free FROM system.disks WHERE total_space > 0"):
            if row["free"] < DISK_FREE_SHARE:
                said = f"disk {row['name']} has {row['free']:.0%} left"
                yield Finding(
                    "clickhouse", said, "Make room, or keep for fewer days: `retention_days`, `store migrate`."
                )


def disks(settings: Settings) -> Iterator[Finding]:
    """Room for checkpoints and schemas, where they are on this machine."""
    for path in (Path(settings.flink_checkpoints), settings.schema_cache, settings.notify_ledger.parent):
        if path.exists():
            usage = shutil.disk_usage(path)
            said = f"{path} has {usage.free / usage.total:.0%} of its disk left"
            remedy = "Make room: checkpoints stop and jobs would repeat all since the last one."
            yield Finding("disks", said, "" if usage.free > DISK_FREE_SHARE * usage.total else remedy)


def prometheus(settings: Settings) -> Iterator[Finding]:
    """Whether it runs, has our rules and somebody to tell, and what it is alarmed about."""
    ask(settings, f"{settings.prometheus}/-/ready")
    yield Finding("prometheus", f"ready at {settings.prometheus}")
    groups = ask(settings, f"{settings.prometheus}/api/v1/rules").json()["data"]["groups"]
    if WATCHDOG not in {rule["name"] for group in groups for rule in group["rules"]}:
        remedy = "Name fieldstream-rules.yml in its `rule_files`; until then it is alarmed about nothing."
        yield Finding("prometheus", "does not have our alert rules", remedy)
    if not ask(settings, f"{settings.prometheus}/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"]:
        yield Finding("prometheus", "knows no Alertmanager", "Name it in its `alerting`: its alarms reach nobody.")
    for alert in ask(settings, f"{settings.prometheus}/api/v1/alerts").json()["data"]["alerts"]:
        notes = alert["annotations"]
        if alert["state"] == "firing" and alert["labels"]["alertname"] != WATCHDOG:
            yield Finding("prometheus", f"alarm: {notes['summary']}", notes.get("description", "See its runbook."))


def alertmanager(settings: Settings) -> Iterator[Finding]:
    """Whether it would send."""
    ask(settings, f"{settings.alertmanager}/-/ready")
    yield Finding("alertmanager", f"ready at {settings.alertmanager}")


CHECKS = (
    Check("mqtt", mqtt, "Start the MQTT broker; gateways keep what they have and devices keep trying."),
    Check("kafka", kafka, "Start Kafka, or correct `kafka` in the settings; gateways keep readings until then."),
    Check("registry", registry, "Start the schema registry.", needs=("kafka",)),
    Check(
        "flink", flink, "Start the Flink cluster; jobs go on from their checkpoints by themselves.", needs=("kafka",)
    ),
    Check("clickhouse", clickhouse, "Start ClickHouse; the loader waits and stores everything afterwards."),
    Check("disks", disks, "See whether the folder is there and may be read."),
    Check("prometheus", prometheus, "Start Prometheus; until then nobody is told when a part fails."),
    Check("alertmanager", alertmanager, "Start Alertmanager; until then nobody is told of anything."),
)
