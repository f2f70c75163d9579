"""The page of dead letters: found by reason and gateway, read in full. What is done about them, the command does."""

import asyncio
import shlex
from pathlib import Path
from typing import Any

from fieldstream_schemas.reasons import REASONS
from nicegui import events, ui

from fieldstream_central.serve.console import parts, texts
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError
from fieldstream_central.store.dead_letters import Letter, letters

_SHOWN = 200
_HERE = Path(__file__).parent
_COLUMNS = ("received_at", "reason", "detail", "gateway_id", "source", "payload_size", "action")


class LettersPage:
    """One client's page."""

    def __init__(self, clickhouse_url: str) -> None:
        self._url = clickhouse_url
        self._letters: dict[str, Letter] = {}
        ui.add_css(_HERE / "style.css")
        ui.dark_mode(value=True)
        with ui.element("main").classes("fs-main fs-letters"), ui.element("section").classes("fs-panel"):
            with parts.heading(texts.LETTERS, texts.LETTERS_HINT):
                choices = {"": texts.ANY_REASON} | {reason: reason for reason in REASONS}
                self._reason = ui.select(choices, value="", on_change=self.show).props("dense outlined")
                self._gateway = ui.input(texts.GATEWAY, on_change=self.show).props("dense outlined debounce=400")
                self._handled = ui.checkbox(texts.HANDLED_TOO, on_change=self.show)
            columns = [
                {"name": name, "field": name, "label": texts.LETTER_COLUMNS[name], "align": "left", "sortable": True}
                for name in _COLUMNS
            ]
            self._table = ui.table(columns=columns, rows=[], row_key="letter_id", pagination=20)
            self._table.classes("fs-letters-table").on("rowClick", self._open)
            self._note = ui.label().classes("fs-empty")
        with ui.dialog() as self._dialog, ui.card().classes("fs-letter"):
            self._detail = ui.label()
            self._payload = ui.code(language="text")
            self._command = ui.code(language="bash")

    async def show(self) -> None:
        """Asks the store anew."""
        try:
            found = await asyncio.to_thread(self._find)
        except ClickHouseError as error:
            self._note.text = f"{texts.STORE_AWAY}: {str(error)[:200]}"
            return
        self._letters = {letter.letter_id: letter for letter in found}
        self._table.update_rows([_row(letter) for letter in found])
        self._note.text = "" if found else texts.LETTERS_NONE

    def _find(self) -> list[Letter]:
        with ClickHouse(self._url) as clickhouse:
            return letters(
                clickhouse,
                reason=self._reason.value,
                gateway_id=self._gateway.value.strip(),
                handled=self._handled.value,
                limit=_SHOWN,
            )

    def _open(self, event: events.GenericEventArguments) -> None:
        letter = self._letters.get(event.args[1]["letter_id"])
        if letter is None:
            return
        done = texts.HANDLED.format(action=letter.action, by=letter.by, note=letter.note) if letter.action else ""
        self._detail.text = f"{letter.reason}: {letter.detail} {done}"
        self._payload.content = letter.payload_text()
        self._command.content = f"fieldstream dead-letters replay {shlex.quote(letter.letter_id)}"
        self._dialog.open()


def _row(letter: Letter) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in ("letter_id", *_COLUMNS)}
