"""`fieldstream privacy`: report, export, forget, verify, rotate."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fieldstream_central.privacy import forget as forgetting
from fieldstream_central.privacy import held, receipt
from fieldstream_central.privacy.changing import changing
from fieldstream_central.settings import load_settings
from fieldstream_central.store.clickhouse import ClickHouse

app = typer.Typer(no_args_is_help=True, help="Personal data: what is held of a person, and the right to be forgotten.")

Subject = Annotated[
    str, typer.Argument(help="the person, exactly as devices send the name; - reads it from standard input")
]


@app.command()
def report(subject: Subject) -> None:
    """Show what is held of a person, where, and for how long."""
    settings = load_settings()
    with ClickHouse(settings.clickhouse) as clickhouse:
        print(json.dumps(held.report(clickhouse, settings, _named(subject)), indent=1))


@app.command()
def export(subject: Subject) -> None:
    """Hand out what is held of a person: one JSON object a line."""
    settings = load_settings()
    with ClickHouse(settings.clickhouse, timeout_s=600) as clickhouse:
        for row in held.export(clickhouse, settings, _named(subject)):
            print(json.dumps(row, ensure_ascii=False))


@app.command()
def forget(
    subject: Subject,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask; it cannot be undone")] = False,
) -> None:
    """Erase a person for good and print the signed receipt. Readings stay, as nobody's."""
    name = _named(subject)
    if not yes:
        typer.confirm("Erase this person? It cannot be undone.", abort=True)
    settings = load_settings()
    with ClickHouse(settings.clickhouse, timeout_s=120) as clickhouse:
        print(forgetting.dump(forgetting.forget(clickhouse, settings, name)))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="a receipt")],
    subject: Annotated[str, typer.Option(help="also check that it is about this person; - reads standard input")] = "",
) -> None:
    """Check a receipt's signature with this site's key."""
    key = receipt.signing_key(load_settings().signing_key_file).public_key()
    try:
        document = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise receipt.ReceiptError(f"{file}: {error}") from error
    receipt.check(document, key, subject=_named(subject))
    print("signed by this site, unchanged")


@app.command()
def rotate(
    keep: Annotated[int, typer.Option(min=0, help="older generations that stay, to find what they made")] = 3,
) -> None:
    """Make a new generation of the pseudonyms' key. Who was forgotten stays so; jobs take it within seconds."""
    with changing(load_settings()) as (keyring, put):
        keyring = keyring.rotated(keep=keep)
        put(keyring)
    print(f"{len(keyring.generations)} generations")


def _named(subject: str) -> str:
    # A name on the command line is seen in the list of processes.
    return typer.get_text_stream("stdin").readline().rstrip("\n") if subject == "-" else subject
