"""`fieldstream grafana`: dashboards and alert rules as files, into a running Grafana, or as plain plots."""

import os
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from fieldstream_central.settings import load_settings

app = typer.Typer(help="Grafana dashboards and alert rules.", no_args_is_help=True)


@app.command()
def write(folder: Annotated[Path, typer.Argument(help="Grafana's paths.provisioning")]) -> None:
    """Write data sources, dashboards, alert rules, contact point and policy as provisioning files."""
    from fieldstream_central.grafana.provision import Addresses
    from fieldstream_central.grafana.provision import write as write_files

    settings = load_settings()
    clickhouse = urlsplit(settings.clickhouse)
    at = Addresses(
        clickhouse_host=clickhouse.hostname or "127.0.0.1",
        clickhouse_port=clickhouse.port or 8123,
        prometheus=settings.prometheus,
        alertmanager=settings.alertmanager,
        secure=clickhouse.scheme == "https",
    )
    for path in write_files(folder, at):
        typer.echo(path)


@app.command()
def push(url: Annotated[str, typer.Argument(help="address of Grafana")]) -> None:
    """Create or replace the dashboards in a running Grafana; its token is read from GRAFANA_TOKEN."""
    from fieldstream_central.grafana.provision import PushError
    from fieldstream_central.grafana.provision import push as push_boards

    token = os.environ.get("GRAFANA_TOKEN")
    if not token:
        typer.echo("GRAFANA_TOKEN is not set: make a service account token with role Editor in Grafana.", err=True)
        raise typer.Exit(1)
    try:
        for title in push_boards(url, token):
            typer.echo(title)
    except PushError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


@app.command()
def render(
    folder: Annotated[Path, typer.Argument(help="where the PNG files go")],
    *,
    minutes: Annotated[float, typer.Option(help="range, until now")] = 60,
    sensor: Annotated[str, typer.Option(help="device/metric of the sensor page")] = "",
) -> None:
    """Draw what each dashboard's panels show as plain plots."""
    from fieldstream_central.grafana.macros import TimeRange
    from fieldstream_central.grafana.render import Sources
    from fieldstream_central.grafana.render import render as draw
    from fieldstream_central.grafana.variables import choose
    from fieldstream_central.store.clickhouse import ClickHouse

    settings = load_settings()
    clickhouse = ClickHouse(settings.clickhouse)
    now = time.time_ns() // 1_000_000
    span = TimeRange(now - int(minutes * 60_000), now)
    for path in draw(Sources(clickhouse, settings.prometheus), folder, span, choose(clickhouse, sensor)):
        typer.echo(path)
