"""Looks at our own programs and at what flows through them."""

from collections.abc import Iterator

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fieldstream_central.certificate import scheme
from fieldstream_central.doctor.finding import Check, Finding
from fieldstream_central.doctor.outside import TIMEOUT_S, ask
from fieldstream_central.notify.config import load_notify
from fieldstream_central.notify.routes import alertmanager_config
from fieldstream_central.settings import Settings
from fieldstream_central.store.audit import audit
from fieldstream_central.store.clickhouse import ClickHouse

BEHIND_S = 60.0
SILENT_S = 35  # a heartbeat comes every 10 s
SPOOL_HOURS = 4.0
CLOCK_MS = 5_000.0
CERTIFICATE_DAYS = 14

_GATEWAYS = """
SELECT gateway_id, dateDiff('second', max(ts), now64(3)) AS silent_s, argMax(spool_hours_left, ts) AS hours_left,
    argMax(clock_offset_ms, ts) AS clock_ms, argMax(state, ts) AS state,
    dateDiff('day', now64(3), argMax(certificate_expires_at, ts)) AS certificate_days
FROM fieldstream.gateways_data WHERE ts >= now64(3) - INTERVAL 7 DAY GROUP BY gateway_id ORDER BY gateway_id
"""
_UNKNOWN = """
SELECT device_id, metric, count() AS n FROM fieldstream.readings_data
WHERE bitTest(flags, 3) AND ts >= now64(3) - INTERVAL 15 MINUTE GROUP BY device_id, metric ORDER BY n DESC LIMIT 10
"""
_LETTERS = """
SELECT reason, count() AS n, any(source) AS example FROM fieldstream.dead_letters
WHERE received_at >= now64(3) - INTERVAL 15 MINUTE GROUP BY reason ORDER BY n DESC
"""


def _metrics(settings: Settings, port: int) -> dict[tuple[str, str], float]:
    """What a program of ours exposes: the sample's name and its labels' values, joined by a blank."""
    text = ask(settings, f"{scheme(settings)}://{settings.listen}:{port}/metrics").text
    return {
        (sample.name, " ".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def loader(settings: Settings) -> Iterator[Finding]:
    """Whether what Kafka holds is stored."""
    found = _metrics(settings, settings.loader_metrics_port)
    behind = {topic: value for (name, topic), value in found.items() if name == "fieldstream_loader_lag_seconds"}
    for topic, seconds in behind.items():
        if seconds > BEHIND_S:
            remedy = "Its log says what ClickHouse answers; more loaders share the partitions."
            yield Finding("loader", f"{seconds:.0f} s behind on {topic}", remedy)
    yield Finding("loader", f"stores, at most {max(behind.values(), default=0):.0f} s behind")


def jobs(settings: Settings) -> Iterator[Finding]:
    """The keeper of the jobs, and how far each job is behind."""
    for (name, labels), value in _metrics(settings, settings.jobs_metrics_port).items():
        if name == "fieldstream_lag_seconds" and value > BEHIND_S:
            remedy = "See whether it runs and makes checkpoints; then whether the load has grown (docs/guarantees.md)."
            yield Finding("jobs", f"{labels}: {value:.0f} s behind", remedy)
    yield Finding("jobs", "the keeper watches the jobs")


def alerter(settings: Settings) -> Iterator[Finding]:
    """Whether people would be told."""
    load_notify(settings.notify_file)
    found = _metrics(settings, settings.alerter_metrics_port)
    failed = sum(value for (name, _), value in found.items() if name == "fieldstream_notifications_failed_total")
    yield Finding("alerter", f"runs; {failed:.0f} messages were not taken at the first try")


def receivers(settings: Settings) -> Iterator[Finding]:
    """Whether Alertmanager hands the alerter what is due."""
    config = yaml.safe_load(ask(settings, f"{settings.alertmanager}/api/v2/status").json()["config"]["original"])
    known = {receiver["name"] for receiver in config["receivers"]}
    wanted = [one["name"] for one in alertmanager_config(load_notify(settings.notify_file), "")["receivers"]]
    if lacking := [name for name in wanted if name not in known]:
        remedy = "Give Alertmanager what `fieldstream notify alertmanager-config` prints."
        yield Finding("receivers", f"Alertmanager does not know {', '.join(lacking)}", remedy)
    else:
        yield Finding("receivers", f"Alertmanager knows {', '.join(wanted)}")


def serving(settings: Settings) -> Iterator[Finding]:
    """API and console."""
    for name, url in (("api", f"{settings.api}/healthz"), ("console", settings.console)):
        try:
            ask(settings, url)
            yield Finding(name, f"answers at {url}")
        except httpx.HTTPError as error:
            yield Finding(
                name, f"{url} does not answer: {error}", f"Start it: `fieldstream {name}`; its log says more."
            )


def secrets(settings: Settings) -> Iterator[Finding]:
    """Files with secrets that others may read, or that lack."""
    if not settings.pseudonym_key_file.exists():
        remedy = "openssl rand -hex 32 > FILE; the pipeline cannot start without it (docs/privacy.md)."
        yield Finding("secrets", f"{settings.pseudonym_key_file} is missing", remedy)
    if settings.letter_public_key_file is None:
        remedy = "Set letter_public_key_file and letter_key_file: docs/privacy.md."
        yield Finding("secrets", "dead letters keep what devices sent in plain", remedy)
    keys = (settings.pseudonym_key_file, settings.letter_key_file, settings.signing_key_file, settings.link_key_file)
    for path in (*keys, settings.api_tokens_file):
        if path and path.exists() and path.stat().st_mode & 0o077:
            yield Finding("secrets", f"{path} may be read by others", f"chmod 600 {path}")
    yield Finding("secrets", "files looked at")


def gateways(settings: Settings) -> Iterator[Finding]:
    """Every gateway of the last week: heard of, room, clock, certificate."""
    with ClickHouse(settings.clickhouse, timeout_s=TIMEOUT_S) as store:
        rows = store.rows(_GATEWAYS)
    if not rows:
        yield Finding("gateways", "none was ever heard of", "Install one: docs/gateway.md.")
    for row in rows:
        faults = list(_of_gateway(row))
        yield from (Finding("gateways", f"{row['gateway_id']} {said}", remedy) for said, remedy in faults)
        if not faults:
            yield Finding("gateways", f"{row['gateway_id']} is {row['state']}, heard of {row['silent_s']} s ago")


def _of_gateway(row: dict[str, float | None]) -> Iterator[tuple[str, str]]:
    if (row["silent_s"] or 0) > SILENT_S:
        yield f"has been silent for {row['silent_s']} s", "On its host: `fieldstream-gateway doctor`."
    if row["hours_left"] is not None and row["hours_left"] < SPOOL_HOURS:
        yield f"has room for {row['hours_left']:.1f} h", "See why Kafka does not take its readings, or give it disk."
    if row["clock_ms"] is not None and abs(row["clock_ms"]) > CLOCK_MS:
        yield f"is {row['clock_ms'] / 1000:.0f} s off its devices", "Set up time synchronisation on both."
    if row["certificate_days"] is not None and row["certificate_days"] < CERTIFICATE_DAYS:
        yield f"has a certificate for {row['certificate_days']} days", "Renew it; the gateway takes the new file."


def completeness(settings: Settings) -> Iterator[Finding]:
    """Whether everything that Kafka confirmed to a gateway is stored, once."""
    with ClickHouse(settings.clickhouse, timeout_s=TIMEOUT_S) as store:
        found = audit(store)
    for one in found:
        if not one.complete:
            remedy = f"`fieldstream audit --gateway {one.gateway_id}` names the numbers. Read topic readings.raw again."
            yield Finding("completeness", f"{one.gateway_id}, epoch {one.epoch}: {one.sentence()}", remedy)
    yield Finding("completeness", f"{sum(one.accepted for one in found):,} accepted readings accounted for")


def data(settings: Settings) -> Iterator[Finding]:
    """Whether new readings come, are known to the asset registry and can be read."""
    with ClickHouse(settings.clickhouse, timeout_s=TIMEOUT_S) as store:
        newest = store.value(
            "SELECT dateDiff('second', max(ts), now64(3)) FROM fieldstream.readings_data "
            "WHERE ts BETWEEN now64(3) - INTERVAL 1 DAY AND now64(3) HAVING count() > 0"
        )
        age = "none in a day" if newest is None else f"{newest} s old"
        remedy = (
            "" if newest is not None and newest < BEHIND_S else "See whether devices send, then gateways, then lag."
        )
        yield Finding("data", f"newest reading: {age}", remedy)
        if not store.value("SELECT count() FROM fieldstream.assets"):
            yield Finding("data", "the asset registry is empty", "`fieldstream assets load PLANT_FILE`")
        for row in store.rows(_UNKNOWN):
            said = f"{row['device_id']}/{row['metric']} is in no asset registry, {row['n']} readings in 15 minutes"
            yield Finding("data", said, "Add it to the plant file: it has no limits and no place.")
        for row in store.rows(_LETTERS):
            said = f"{row['n']} dead letters in 15 minutes: {row['reason']}, for instance {row['example']}"
            yield Finding("data", said, f"`fieldstream dead-letters list --reason {row['reason']}`")


CHECKS = (
    Check("secrets", secrets, "See the folder's rights."),
    Check("jobs", jobs, "Start `fieldstream jobs run`: without it a job that fails for good stays away."),
    Check("loader", loader, "Start `fieldstream loader`; Kafka keeps what is not stored.", needs=("clickhouse",)),
    Check("alerter", alerter, "Start `fieldstream alerter`: until then nobody is told of alarms.", needs=("kafka",)),
    Check("receivers", receivers, "See Alertmanager's configuration.", needs=("alertmanager", "alerter")),
    Check("serving", serving, "See the log.", needs=("clickhouse",)),
    Check("gateways", gateways, "See ClickHouse.", needs=("clickhouse", "kafka", "loader")),
    Check("completeness", completeness, "See ClickHouse.", needs=("clickhouse", "loader", "flink")),
    Check("data", data, "See ClickHouse.", needs=("clickhouse", "kafka", "loader", "flink", "mqtt")),
)
