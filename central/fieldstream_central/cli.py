"""`fieldstream`: one command for the centre. Each part brings its own sub-command."""

import json
import logging
import time
from pathlib import Path
from typing import Annotated

import typer

from fieldstream_central.serve import cli as serve
from fieldstream_central.settings import load_settings
from fieldstream_central.store import cli as store

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
schemas = typer.Typer(no_args_is_help=True, help="Avro schemas and the registry.")
jobs = typer.Typer(no_args_is_help=True, help="The stream jobs on the Flink cluster.")
assets = typer.Typer(no_args_is_help=True, help="The asset registry.")
app.add_typer(schemas, name="schemas")
app.add_typer(jobs, name="jobs")
app.add_typer(assets, name="assets")
app.add_typer(store.app, name="store")
app.command("loader")(store.loader)
app.command("api")(serve.api)
app.command("console")(serve.console)
app.command("audit")(store.audit_command)


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
    from fieldstream_schemas.registry import SchemaRegistry
    from fieldstream_schemas.topics import TOPICS

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


@assets.command("load")
def load_assets(plant: Annotated[Path, typer.Argument(help="plant file (TOML)")]) -> None:
    """Write every sensor of a plant file to topic `assets`."""
    from fieldstream_central.assets import publish

    print(f"{publish(load_settings(), plant, now_ms=time.time_ns() // 1_000_000)} sensors written")


@jobs.command("run")
def run_jobs() -> None:
    """Keep both stream jobs running, from their newest checkpoints. Goes on until stopped."""
    from fieldstream_central.stream.keeper import Keeper

    Keeper(load_settings()).run()


@jobs.command("status")
def jobs_status() -> None:
    """Show the jobs the cluster knows, as JSON."""
    from fieldstream_central.stream.cluster import Cluster

    print(json.dumps(Cluster(load_settings().flink).jobs(), indent=2))


@app.command()
def alerter() -> None:
    """Post anomaly episodes to Alertmanager. Goes on until stopped."""
    from fieldstream_central.notify.alerter import Alerter

    Alerter(load_settings()).run()


def main() -> None:
    """Entry point."""
    app()
