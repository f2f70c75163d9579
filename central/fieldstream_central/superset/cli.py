"""`fieldstream superset`: the bundle for Superset's import."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from fieldstream_central.settings import load_settings

app = typer.Typer(help="Superset datasets, charts and dashboard.", no_args_is_help=True)


@app.command()
def bundle(
    file: Annotated[Path, typer.Argument(help="the ZIP file to write")],
    *,
    user: Annotated[str, typer.Option(help="ClickHouse user; Superset asks for its password")] = "default",
) -> None:
    """Write the bundle. Import it in Superset under Dashboards, or with `superset import-dashboards`."""
    from fieldstream_central.superset.bundle import write_bundle

    address = urlsplit(load_settings().clickhouse)
    query = "?secure=true" if address.scheme == "https" else ""
    write_bundle(file, f"clickhousedb://{user}@{address.netloc}/fieldstream{query}")
    typer.echo(file)
