"""`fieldstream pki`: init, issue, renew, show."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fieldstream_central.pki import authority

app = typer.Typer(no_args_is_help=True, help="Certificates: an authority, and one certificate for each component.")

Folder = Annotated[Path, typer.Option(help="folder of the authority and its certificates")]
Replace = Annotated[bool, typer.Option("--replace", help="overwrite what is there")]
Days = Annotated[int, typer.Option(help="days until it expires")]
FOLDER = Path("var/pki")
SHORT_LIFE = 90


@app.command()
def init(folder: Folder = FOLDER, days: Days = 3650, replace: Replace = False) -> None:
    """Make the authority: ca.crt for everybody, ca.key to be kept away from every other machine."""
    _show([authority.create_authority(folder, days=days, replace=replace)])


@app.command()
def issue(
    name: Annotated[str, typer.Argument(help="component or device; its user in MQTT, its principal in Kafka")],
    host: Annotated[
        list[str] | None, typer.Option(help="name or address that it serves under; may be repeated")
    ] = None,
    folder: Folder = FOLDER,
    days: Days = SHORT_LIFE,
    replace: Replace = False,
) -> None:
    """Make NAME.key and NAME.crt. Without --host it is a client only."""
    _show([authority.issue(folder, name, host or (), days=days, replace=replace)])


@app.command()
def renew(
    within: Annotated[float, typer.Option(help="days: renew what expires sooner")] = 30,
    folder: Folder = FOLDER,
    days: Days = SHORT_LIFE,
) -> None:
    """Prolong certificates that expire soon; keys and hosts stay. The authority is left as it is."""
    _show(authority.renew(folder, within_days=within, days=days))


@app.command()
def show(folder: Folder = FOLDER) -> None:
    """List certificates. Exit status 1 if one is not valid now."""
    now = datetime.now(UTC)
    found = authority.everything(folder)
    _show(found)
    raise typer.Exit(any(not one.starts_at <= now < one.expires_at for one in found))


def _show(certificates: list[authority.Certificate]) -> None:
    for one in certificates:
        left = (one.expires_at - datetime.now(UTC)).days
        print(f"{one.name:<24} expires {one.expires_at:%Y-%m-%d %H:%M} ({left} days)  {', '.join(one.hosts) or '-'}")
    if not certificates:
        print("none")
