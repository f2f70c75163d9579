"""`fieldstream store ...`, `fieldstream loader`, `fieldstream audit`."""

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fieldstream_central.certificate import server_context
from fieldstream_central.settings import load_settings
from fieldstream_central.store.audit import audit, audit_period
from fieldstream_central.store.backup import BackupError
from fieldstream_central.store.backup import backup as make_backup
from fieldstream_central.store.backup import restore as restore_backup
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError
from fieldstream_central.store.migrate import MigrationError
from fieldstream_central.store.migrate import migrate as run_migrations
from fieldstream_central.store.retention import apply_retention
from fieldstream_central.store.status import column_status, table_status
from fieldstream_central.store.verify import verify as find_problems

app = typer.Typer(help="The ClickHouse store.", no_args_is_help=True)
console = Console()


def _logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _fail(error: Exception) -> typer.Exit:
    typer.echo(f"{error}", err=True)
    return typer.Exit(1)


@app.command()
def serve(
    *,
    path: Annotated[Path | None, typer.Option(help="data directory; default: clickhouse_path of the settings")] = None,
    host: str = "127.0.0.1",
    port: int = 8123,
    memory_mb: Annotated[int, typer.Option(help="bound for queries, merges and caches together")] = 1500,
    users: Annotated[Path | None, typer.Option(help="TOML file of users; without it: default, no password")] = None,
    backups: Annotated[Path | None, typer.Option(help="folder of backups; default: beside the data")] = None,
) -> None:
    """Serve the embedded ClickHouse engine over HTTP."""
    from fieldstream_central.store.embedded.server import serve as serve_engine

    _logging()
    settings = load_settings()
    data, tls = path or settings.clickhouse_path, server_context(settings)
    served = serve_engine(data, host=host, port=port, memory_mb=memory_mb, users=users, backups=backups, tls=tls)
    raise typer.Exit(served)


@app.command()
def migrate() -> None:
    """Bring the schema to this version, and each table's retention to the settings' `retention_days`."""
    _logging()
    settings = load_settings()
    try:
        done = run_migrations(settings.clickhouse, cluster=settings.clickhouse_cluster)
        with ClickHouse(settings.clickhouse, timeout_s=3600.0) as clickhouse:
            changed = apply_retention(clickhouse, settings.retention_days, cluster=settings.clickhouse_cluster)
            done += [f"retention of {table}" for table in changed]
    except (ClickHouseError, MigrationError) as error:
        raise _fail(error) from error
    typer.echo(f"applied: {', '.join(done)}" if done else "nothing to do")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    columns: Annotated[str, typer.Option(help="also each column of this table, e.g. readings_data")] = "",
) -> None:
    """Rows, bytes per row, parts and merges of every table."""
    try:
        with ClickHouse(load_settings().clickhouse) as clickhouse:
            rows = table_status(clickhouse)
            of_columns = column_status(clickhouse, columns) if columns else []
    except ClickHouseError as error:
        raise _fail(error) from error
    if as_json:
        typer.echo(json.dumps({"tables": rows, "columns": of_columns}))
        return
    table = Table("table", "rows", "bytes", "bytes/row", "ratio", "parts", "merging")
    for row in rows:
        table.add_row(
            row["table"],
            f"{row['rows']:,}",
            f"{row['bytes']:,}",
            f"{row['bytes_per_row']:.2f}",
            f"{row['ratio']:.1f}",
            str(row["parts"]),
            str(row["merges"]),
        )
    console.print(table)
    for column in of_columns:
        console.print(f"{column['column']:>20} {column['bytes_per_row']:8.2f} bytes/row")


@app.command()
def verify() -> None:
    """Find damaged parts, windows and roll-ups that are off. Reads everything. Exit 1 if anything is wrong."""
    try:
        with ClickHouse(load_settings().clickhouse, timeout_s=3600.0) as clickhouse:
            problems = find_problems(clickhouse)
    except ClickHouseError as error:
        raise _fail(error) from error
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo("every part is whole, windows agree with readings, roll-ups with windows")


@app.command()
def backup(
    name: str, base: Annotated[str | None, typer.Option(help="only what this backup does not have")] = None
) -> None:
    """Write a backup of the whole store into the server's backup folder."""
    try:
        with ClickHouse(load_settings().clickhouse, timeout_s=86_400.0) as clickhouse:
            make_backup(clickhouse, name, base=base)
    except (ClickHouseError, BackupError) as error:
        raise _fail(error) from error
    typer.echo(f"backup {name} is written")


@app.command()
def restore(
    name: str, replace: Annotated[bool, typer.Option("--replace", help="drop what is there first")] = False
) -> None:
    """Bring the store back as it was in a backup. Stop the loader before."""
    try:
        with ClickHouse(load_settings().clickhouse, timeout_s=86_400.0) as clickhouse:
            restore_backup(clickhouse, name, replace=replace)
    except (ClickHouseError, BackupError) as error:
        raise _fail(error) from error
    typer.echo(f"restored from {name}; check it with: fieldstream store verify")


def loader() -> None:
    """Load the topics into ClickHouse."""
    from fieldstream_central.store.loader import main

    main()


def audit_command(
    gateway: Annotated[str, typer.Option(help="only this gateway")] = "",
    as_json: Annotated[bool, typer.Option("--json")] = False,
    settle_s: Annotated[int, typer.Option(help="how old a heartbeat must be to judge by it, seconds")] = 20,
    since: Annotated[datetime | None, typer.Option(help="only what was accepted from then on, UTC")] = None,
    until: Annotated[datetime | None, typer.Option(help="only what was accepted before then, UTC")] = None,
) -> None:
    """Per gateway and epoch: accepted, stored, dead-lettered, missing, duplicates. Exit 1 if not complete."""
    try:
        with ClickHouse(load_settings().clickhouse) as clickhouse:
            if since or until:
                begin = (since or datetime(1970, 1, 1)).replace(tzinfo=UTC)
                end = until.replace(tzinfo=UTC) if until else datetime.now(UTC)
                found = audit_period(clickhouse, begin, end, gateway_id=gateway)
            else:
                found = audit(clickhouse, gateway_id=gateway, settle_s=settle_s)
    except ClickHouseError as error:
        raise _fail(error) from error
    if as_json:
        typer.echo(json.dumps([item.as_row() for item in found]))
    else:
        for item in found:
            typer.echo(f"{item.gateway_id} epoch {item.epoch}: {item.sentence()}")
            if item.missing_ranges:
                typer.echo("  missing seq " + ", ".join(f"{first}-{last}" for first, last in item.missing_ranges))
        if not found:
            typer.echo("no gateway has reported yet")
    sys.exit(0 if all(item.complete for item in found) else 1)
