"""`fieldstream dead-letters ...`."""

import getpass
import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fieldstream_central.privacy.names import Opener
from fieldstream_central.settings import load_settings
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.dead_letters import Letter, letters, mark, replay_all

app = typer.Typer(help="What could not be accepted: find, read, replay after a fix, discard.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(help="letters by id, as `list` shows them; or choose by the options")]
Reason = Annotated[str, typer.Option(help="only this reason, e.g. not-json (docs/bad-input.md)")]
Gateway = Annotated[str, typer.Option(help="only this gateway")]
Since = Annotated[datetime | None, typer.Option(help="received from then on, UTC")]
Until = Annotated[datetime | None, typer.Option(help="received before then, UTC")]
Limit = Annotated[int, typer.Option(min=1, help="at most so many, the newest")]


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


@app.command("list")
def list_letters(
    *,
    reason: Reason = "",
    gateway: Gateway = "",
    since: Since = None,
    until: Until = None,
    handled: Annotated[bool, typer.Option("--all", help="also those that were replayed or discarded")] = False,
    limit: Limit = 100,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Dead letters that nobody has dealt with, the newest first."""
    settings = load_settings()
    with ClickHouse(settings.clickhouse) as clickhouse:
        found = letters(clickhouse, Opener(settings), reason=reason, gateway_id=gateway, since=_utc(since),
                        until=_utc(until), handled=handled, limit=limit)  # fmt: skip
    if as_json:
        print(json.dumps([letter.as_row() for letter in found]))
        return
    table = Table("letter", "received (UTC)", "reason", "detail", "bytes", "handled")
    for letter in found:
        table.add_row(letter.letter_id, letter.received_at, letter.reason, letter.detail[:80],
                      f"{letter.payload_size:,}", letter.action)  # fmt: skip
    Console().print(table if found else "no dead letters")


@app.command()
def show(letter_id: str) -> None:
    """One letter with its original bytes, as text or, if they are none, as hex."""
    settings = load_settings()
    with ClickHouse(settings.clickhouse) as clickhouse:
        [letter] = _chosen(clickhouse, Opener(settings), [letter_id], handled=True)
    for name, value in letter.as_row().items():
        if name != "payload" and value not in (None, ""):
            print(f"{name:<14} {value}")
    print(f"{'payload':<14} {letter.payload_text()}")


@app.command()
def replay(
    ids: Ids = None,
    *,
    reason: Reason = "",
    gateway: Gateway = "",
    since: Since = None,
    until: Until = None,
    limit: Limit = 1000,
    again: Annotated[bool, typer.Option("--again", help="also what was replayed or discarded before")] = False,
) -> None:
    """Send letters again through the ordinary path. Exit status 1 if one could not be sent."""
    settings = load_settings()
    failed = 0
    with ClickHouse(settings.clickhouse) as clickhouse:
        found = _chosen(clickhouse, Opener(settings), ids, reason=reason, gateway=gateway, since=since, until=until,
                        limit=limit, handled=again)  # fmt: skip
        for letter, said in replay_all(clickhouse, settings, found, by=getpass.getuser()):
            failed += said.startswith("NOT")
            print(f"{letter.letter_id}: {said}")
    print(f"{len(found) - failed} replayed, {failed} not")
    raise typer.Exit(1 if failed else 0)


@app.command()
def discard(
    ids: Ids = None,
    *,
    note: Annotated[str, typer.Option(help="why; kept with the letter")],
    reason: Reason = "",
    gateway: Gateway = "",
    since: Since = None,
    until: Until = None,
    limit: Limit = 1000,
) -> None:
    """Say that nothing is to be done about letters. They stay readable with `list --all`."""
    settings = load_settings()
    with ClickHouse(settings.clickhouse) as clickhouse:
        found = _chosen(clickhouse, Opener(settings), ids, reason=reason, gateway=gateway, since=since, until=until,
                        limit=limit)  # fmt: skip
        for letter in found:
            mark(clickhouse, letter, "discarded", by=getpass.getuser(), note=note)
    print(f"{len(found)} discarded")


def _chosen(
    clickhouse: ClickHouse,
    opener: Opener,
    ids: list[str] | None,
    *,
    reason: str = "",
    gateway: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 1000,
    handled: bool = False,
) -> list[Letter]:
    """Letters by id or by the options; refuses to take all of them unasked."""
    if not (ids or reason or gateway or since or until):
        raise typer.BadParameter("name letters, or choose them by --reason, --gateway, --since or --until")
    found = letters(clickhouse, opener, ids=tuple(ids or ()), reason=reason, gateway_id=gateway, since=_utc(since),
                    until=_utc(until), handled=handled, limit=limit)  # fmt: skip
    if lacking := set(ids or ()) - {letter.letter_id for letter in found}:
        raise typer.BadParameter(f"no such letter, or it was dealt with before: {', '.join(sorted(lacking))}")
    return found
