"""`fieldstream audit-log`: list, verify. And which commands are noted."""

import getpass
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from fieldstream_central.audit_log.chain import Head, tampering
from fieldstream_central.audit_log.log import AuditLog, AuditLogError
from fieldstream_central.settings import SettingsError, load_settings

app = typer.Typer(no_args_is_help=True, help="Who did what, and whether the log of it was tampered with.")

# Commands that change something, and those that look a person up, by their first two words.
NOTED = {
    **{"assets": ("load",), "maintenance": ("plan", "withdraw"), "jobs": ("deploy", "stop", "upgrade")},
    **{"dead-letters": ("replay", "discard"), "store": ("migrate", "backup", "restore")},
    **{"privacy": ("report", "export", "forget", "rotate"), "grafana": ("push",)},
}
NOTED_ALONE = ("token", "topics")


@app.command("list")
def list_entries(
    who: Annotated[str, typer.Option(help="only this account")] = "",
    limit: Annotated[int, typer.Option(min=1, help="the newest so many")] = 100,
) -> None:
    """Show what was done, the oldest first."""
    entries = [record.entry for record in AuditLog(load_settings()).records() if record.entry]
    for entry in [one for one in entries if who in ("", one["who"])][-limit:]:
        at = datetime.fromtimestamp(entry["at"] / 1000, UTC).isoformat(timespec="seconds")
        print(at, entry["who"], f"({entry['via']})", entry["act"], entry["about"], entry["outcome"])


@app.command()
def verify(
    head: Annotated[str, typer.Option(help="a head that was shown before and noted elsewhere")] = "",
) -> None:
    """Check every entry against the chain and show its head: note it where the log's machines cannot reach.

    Exit status 1 if the log was tampered with.
    """
    offset, _, chain = head.partition(":")
    try:
        noted = Head(int(offset), chain) if head else None
    except ValueError as error:
        raise typer.BadParameter("a head is OFFSET:HASH, as verify shows it") from error
    problems, newest = tampering(AuditLog(load_settings()).records(), noted=noted)
    for problem in problems:
        print(problem)
    print(f"{newest.offset + 1} entries, {len(problems)} problems, head {newest}")
    raise typer.Exit(1 if problems else 0)


def note_command(words: Sequence[str]) -> None:
    """Notes a command that is about to run. One that cannot be noted runs all the same and says so: whoever may use the
    command line of this machine could do without it."""
    if len(words) < 1 or not (words[0] in NOTED_ALONE or (words[1:2] and words[1] in NOTED.get(words[0], ()))):
        return
    if "--help" in words:
        return
    # Who is forgotten must not be kept here.
    shown = words[:2] if words[0] == "privacy" else words
    try:
        AuditLog(load_settings()).note(who=getpass.getuser(), via="command", act=f"fieldstream {shlex.join(shown)}")
    except (AuditLogError, SettingsError) as error:
        print(f"fieldstream: this is not in the audit log: {error}", file=sys.stderr)
