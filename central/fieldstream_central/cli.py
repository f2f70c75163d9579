"""`fieldstream`: one command for the centre. Each part brings its own sub-command."""

import getpass
import json
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import httpx
import typer
from confluent_kafka import KafkaException
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.rights import COMPONENTS
from fieldstream_schemas.sealing import SealError
from fieldstream_schemas.topics import TOPICS

from fieldstream_central.assets import PlantFileError, publish
from fieldstream_central.audit_log import cli as audit_log
from fieldstream_central.audit_log.cli import note_command
from fieldstream_central.audit_log.log import AuditLogError
from fieldstream_central.detect import cli as detect
from fieldstream_central.detect.config import Maintenance
from fieldstream_central.grafana import cli as grafana
from fieldstream_central.maintenance import MaintenanceError, announce
from fieldstream_central.notify import cli as notify
from fieldstream_central.notify.config import NotifyError
from fieldstream_central.pki import cli as pki
from fieldstream_central.pki.authority import PkiError
from fieldstream_central.privacy import cli as privacy
from fieldstream_central.privacy.forget import ForgetError
from fieldstream_central.privacy.keyring import KeyringError
from fieldstream_central.privacy.receipt import ReceiptError
from fieldstream_central.serve import cli as serve
from fieldstream_central.settings import SettingsError, load_settings
from fieldstream_central.store import cli as store
from fieldstream_central.store import dead_letters_cli as dead_letters
from fieldstream_central.store.clickhouse import ClickHouseError
from fieldstream_central.stream.cluster import JobError
from fieldstream_central.superset import cli as superset

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
schemas = typer.Typer(no_args_is_help=True, help="Avro schemas and the registry.")
jobs = typer.Typer(no_args_is_help=True, help="The stream jobs on the Flink cluster.")
rights = typer.Typer(no_args_is_help=True, help="Who may do what in Kafka.")
assets = typer.Typer(no_args_is_help=True, help="The asset registry.")
maintenance = typer.Typer(no_args_is_help=True, help="Planned work, in which detection is silent.")
app.add_typer(schemas, name="schemas")
app.add_typer(jobs, name="jobs")
app.add_typer(rights, name="rights")
app.add_typer(assets, name="assets")
app.add_typer(maintenance, name="maintenance")
app.add_typer(store.app, name="store")
app.add_typer(detect.app, name="detect")
app.add_typer(grafana.app, name="grafana")
app.add_typer(superset.app, name="superset")
app.add_typer(notify.app, name="notify")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(pki.app, name="pki")
app.add_typer(privacy.app, name="privacy")
app.add_typer(audit_log.app, name="audit-log")
app.command("loader")(store.loader)
app.command("api")(serve.api)
app.command("console")(serve.console)
app.command("token")(serve.token)
app.command("audit")(store.audit_command)


JobName = Annotated[str, typer.Argument(help="pipeline or detect")]


@app.callback()
def configure_logging() -> None:
    """Logs go to standard error, one line each."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)


@app.command()
def topics() -> None:
    """Create the Kafka topics that are missing."""
    from fieldstream_central.topics_admin import create_topics

    created = create_topics(load_settings())
    print(f"created: {', '.join(created)}" if created else "all topics are there")


@schemas.command()
def register() -> None:
    """Register every topic's schema; the only place from which schemas are ever registered."""
    from fieldstream_central.topics_admin import register_schemas

    for subject, schema_id in register_schemas(load_settings()).items():
        print(f"{subject}: id {schema_id}")


@schemas.command()
def check(
    subject: Annotated[str | None, typer.Argument(help="e.g. readings.raw-value; default: all of ours")] = None,
    file: Annotated[Path | None, typer.Argument(help="schema to check; default: the one in this version")] = None,
) -> None:
    """Ask the registry whether schemas may follow the registered ones. Exit status 1 if one may not."""
    settings = load_settings()
    registry = SchemaRegistry(settings.registry, settings.schema_cache)
    candidates = {topic.subject: topic.schema_text for topic in TOPICS.values()}
    if subject:
        if file is None and subject not in candidates:
            raise typer.BadParameter(f"unknown subject {subject}; ours are {', '.join(candidates)}")
        candidates = {subject: file.read_text() if file else candidates[subject]}
    refused = False
    for name, text in candidates.items():
        problems = registry.check(name, text)
        refused |= bool(problems)
        print(f"{name}: {'compatible' if not problems else 'INCOMPATIBLE: ' + '; '.join(problems)}")
    raise typer.Exit(1 if refused else 0)


@rights.command("grant")
def grant_rights(
    principal: Annotated[str, typer.Argument(help="common name of a certificate, e.g. gateway-hall-1")],
    component: Annotated[str, typer.Argument(help=f"what it is: {', '.join(COMPONENTS)}")],
) -> None:
    """Give a principal a component's rights in Kafka. What it has already stays."""
    from fieldstream_central.kafka_access import grant

    if component not in COMPONENTS:
        raise typer.BadParameter(f"unknown component {component}; there are {', '.join(COMPONENTS)}")
    print(f"{principal}: {grant(load_settings(), principal, COMPONENTS[component])} rights of {component}")


@assets.command("load")
def load_assets(plant: Annotated[Path, typer.Argument(help="plant file (TOML)")]) -> None:
    """Write every sensor of a plant file to topic `assets`."""
    print(f"{publish(load_settings(), plant, now_ms=time.time_ns() // 1_000_000)} sensors written")


@assets.command("follow")
def follow_assets() -> None:
    """Bring what changes in the Postgres registry to topic `assets`, for ever (see docs/assets.md)."""
    from fieldstream_central.asset_changes import follow

    follow(load_settings())


@maintenance.command("plan")
def plan_maintenance(
    name: Annotated[str, typer.Argument(help="your name for the work; the same name again replaces it")],
    start: Annotated[datetime, typer.Option(help="UTC, e.g. 2026-01-05T06:00:00")],
    end: Annotated[datetime, typer.Option(help="UTC; leave room for the machine to settle")],
    *,
    asset: Annotated[str, typer.Option(help="asset id; empty: any")] = "",
    device: Annotated[str, typer.Option(help="device id; empty: any")] = "",
    metric: Annotated[str, typer.Option(help="metric; empty: any")] = "",
    note: Annotated[str, typer.Option(help="what is done")] = "",
) -> None:
    """Announce planned work: within it, detection raises nothing and learns nothing."""
    begin_ms, end_ms = (round(moment.replace(tzinfo=UTC).timestamp() * 1000) for moment in (start, end))
    work = Maintenance(begin_ms, end_ms, asset, device, metric)
    announce(load_settings(), name, work, note, who=getpass.getuser())


@maintenance.command("withdraw")
def withdraw_maintenance(name: Annotated[str, typer.Argument(help="the name it was planned under")]) -> None:
    """Take planned work back."""
    announce(load_settings(), name, None)


@app.command()
def trace(
    device: str,
    metric: str,
    ts: Annotated[str, typer.Argument(help="the reading's own time: epoch milliseconds, or ISO 8601")],
    as_json: Annotated[bool, typer.Option("--json", help="one list of hops")] = False,
    otlp: Annotated[str, typer.Option(help="send it as a trace too: http://COLLECTOR:4318/v1/traces")] = "",
) -> None:
    """Where one reading is or was: each topic, the store, its window, alarms, or why it got no further."""
    from fieldstream_central.trace import Name, lines, rows, trace

    try:
        ms = int(ts) if ts.isdecimal() else round(datetime.fromisoformat(ts).timestamp() * 1000)
    except ValueError:
        raise typer.BadParameter(f"{ts!r} is neither milliseconds nor a time as 2026-01-05T06:00:00.250Z") from None
    settings = load_settings()
    name = Name(device, metric, ms)
    hops = trace(settings, name)
    if otlp:
        from fieldstream_central.trace_export import ExportError, export

        found = list(hops)
        hops = iter(found)
        try:
            export(settings, otlp, name, found)
        except ExportError as error:
            sys.exit(f"fieldstream: {error}")
    if as_json:
        print(json.dumps(rows(hops)))
        return
    for line in lines(hops):
        print(line)


@app.command()
def tracer(
    otlp: Annotated[str, typer.Option(help="where the collector takes traces: http://COLLECTOR:4318/v1/traces")],
    every: Annotated[float, typer.Option(min=1, help="seconds from one reading to the next, on average")] = 30,
    after: Annotated[float, typer.Option(min=15, help="seconds until one is asked for: its window must be over")] = 60,
) -> None:
    """Send the way of some readings, chosen by chance, to OpenTelemetry. Goes on until stopped."""
    from fieldstream_central.tracer import serve

    serve(load_settings(), otlp, every, after)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="one list of findings")] = False) -> None:
    """Look at the whole running system: what is wrong, and what to do. Exit status 1 if anything is wrong."""
    from fieldstream_central.doctor.report import report

    raise typer.Exit(report(load_settings(), as_json=as_json))


@jobs.command("run")
def run_jobs() -> None:
    """Keep both stream jobs running, from their newest checkpoints. Goes on until stopped."""
    from fieldstream_central.stream.keeper import Keeper

    Keeper(load_settings()).run()


@jobs.command("watch")
def watch_jobs() -> None:
    """Show the jobs' metrics where something else keeps the jobs, as on Kubernetes. Goes on until stopped."""
    from fieldstream_central.stream.job_metrics import watch

    watch(load_settings())


@jobs.command("status")
def jobs_status(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Show each job: state, since when, and the checkpoint it would go on from."""
    from fieldstream_central.stream.operate import status

    rows = status(load_settings())
    if as_json:
        print(json.dumps(rows))
    for row in [] if as_json else rows:
        print(f"{row['job']:<10} {row['state']:<10} since {row['since'] or '-':<20} from {row['checkpoint'] or '-'}")


@jobs.command("deploy")
def deploy_job(
    job: JobName,
    savepoint: Annotated[
        str | None, typer.Option("--from", help="URI of a savepoint to go back to, also when the job runs.")
    ] = None,
) -> None:
    """Let a stopped job run again, from its newest savepoint or checkpoint; returns when it runs."""
    from fieldstream_central.stream.operate import deploy

    deploy(load_settings(), job, savepoint)


@jobs.command("stop")
def stop_job(job: JobName) -> None:
    """Stop a job with a savepoint and keep it stopped until `deploy`."""
    from fieldstream_central.stream.operate import stop

    print(stop(load_settings(), job))


@jobs.command("upgrade")
def upgrade_job(job: JobName) -> None:
    """Replace a running job by the installed version: check its plan, savepoint, resume; returns when it runs."""
    from fieldstream_central.stream.operate import upgrade

    print(upgrade(load_settings(), job))


@app.command()
def alerter() -> None:
    """Tell Alertmanager of incidents and send what is due. Goes on until stopped."""
    from fieldstream_central.notify.alerter import Alerter

    Alerter(load_settings()).run()


def main() -> None:
    """Entry point. What a person can mend is said in a sentence, not in a traceback."""
    try:
        note_command(sys.argv[1:])
        app()
    except (
        SettingsError,
        JobError,
        RegistryError,
        PlantFileError,
        MaintenanceError,
        ClickHouseError,
        NotifyError,
        PkiError,
        AuditLogError,
        ForgetError,
        KeyringError,
        ReceiptError,
        SealError,
    ) as error:
        sys.exit(f"fieldstream: {error}")
    except httpx.HTTPError as error:
        sys.exit(f"fieldstream: {error.request.url} did not answer as expected: {error}. Is the stack up? make status")
    except KafkaException as error:
        sys.exit(f"fieldstream: Kafka at {load_settings().kafka}: {error}. Is the stack up? make status")
