"""The page of dead letters: found by reason and gateway, read in full, replayed or discarded by who may."""

import asyncio
import shlex
from typing import Any

from fieldstream_schemas.reasons import REASONS
from nicegui import events, ui

from fieldstream_central.privacy.names import Opener
from fieldstream_central.serve.console import parts, texts
from fieldstream_central.serve.console.actions import ask
from fieldstream_central.serve.console.frame import ApiPart, Window
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError
from fieldstream_central.store.dead_letters import Letter, letters

_SHOWN = 200
_EVERY_S = 5.0
_COLUMNS = ("received_at", "reason", "detail", "gateway_id", "source", "payload_size", "action")
_REASON_CELL = (
    '<q-td :props="props"><button type="button" class="fs-plain" @click="$parent.$emit(\'read\', props.row.letter_id)">'
    "{{ props.value }}</button></q-td>"
)


class LettersPage:
    """One window's page."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._letters: dict[str, Letter] = {}
        with ui.element("section").classes("fs-panel fs-wide"):
            with parts.heading(texts.LETTERS, texts.LETTERS_HINT):
                choices = {"": texts.ANY_REASON} | {reason: reason for reason in REASONS}
                self._reason = ui.select(choices, value="", on_change=self.show).props("dense outlined")
                self._reason.props(f'aria-label="{texts.ANY_REASON}"')
                self._gateway = ui.input(texts.GATEWAY, on_change=self.show).props("dense outlined debounce=400")
                self._handled = ui.checkbox(texts.HANDLED_TOO, on_change=self.show).props("dense")
            self._note = ui.label().classes("fs-empty").props('role="status"')
            self._part = ApiPart(window, self._offer)
            with ui.row().classes("fs-actions fs-buttons") as self._buttons:
                self._replay = ui.button(texts.REPLAY, on_click=self._replay_chosen)
                self._discard = ui.button(texts.DISCARD, on_click=self._discard_chosen)
                for button in (self._replay, self._discard):
                    button.props("unelevated dense no-caps").classes("fs-action")
            self._buttons.set_visibility(False)
            columns = [
                {"name": name, "field": name, "label": texts.LETTER_COLUMNS[name], "align": "left", "sortable": True}
                for name in _COLUMNS
            ]
            self._table = ui.table(columns=columns, rows=[], row_key="letter_id", selection="multiple", pagination=20)
            self._table.classes("fs-letters-table").props("flat dense").on("read", self._open)
            self._table.add_slot("body-cell-reason", _REASON_CELL)
            parts.name_checkboxes(self._table)
            self._table.on_select(self._chosen)
        with ui.dialog() as self._dialog, ui.card().classes("fs-letter"):
            self._detail = ui.label()
            self._payload = ui.code(language="text")
            self._command = ui.code(language="bash")
        ui.timer(_EVERY_S, self.show)

    async def show(self) -> None:
        """Asks the store anew. What somebody sent may hold names: it is shown to those to whom the API shows it."""
        await self._part.show()
        if not self._window.person.may_act:
            self._letters = {}
            self._table.update_rows([])
            self._note.text = texts.LETTERS_FOR_OPERATORS
            return
        try:
            found = await asyncio.to_thread(self._find)
        except ClickHouseError as error:
            self._note.text = f"{texts.STORE_AWAY}: {str(error)[:200]}"
            return
        rows = [_row(letter) for letter in found]
        self._letters = {letter.letter_id: letter for letter in found}
        if rows != self._table.rows:
            self._table.update_rows(rows, clear_selection=False)
        self._note.text = "" if found else texts.LETTERS_NONE

    async def _offer(self) -> None:
        self._buttons.set_visibility(self._window.person.may_act)
        self._chosen()

    def _chosen(self, _event: object = None) -> None:
        for button in (self._replay, self._discard):
            button.set_enabled(bool(self._table.selected))

    def _find(self) -> list[Letter]:
        with ClickHouse(self._window.gatherer.settings.clickhouse) as clickhouse:
            return letters(
                clickhouse,
                Opener(self._window.gatherer.settings),
                reason=self._reason.value,
                gateway_id=self._gateway.value.strip(),
                handled=self._handled.value,
                limit=_SHOWN,
            )

    async def _replay_chosen(self) -> None:
        await self._handle("replay")

    async def _discard_chosen(self) -> None:
        if (answer := await ask(texts.DISCARD, about=texts.DISCARD_HINT)) is not None:
            await self._handle("discard", note=answer[0])

    async def _handle(self, action: str, **more: str) -> None:
        body = {"action": action, "letter_ids": [row["letter_id"] for row in self._table.selected]} | more
        answers = await self._part.do("POST", "/dead-letters/actions", "", json=body)
        if answers is None:
            return
        done = [answer for answer in answers if answer["done"]]
        if done:
            ui.notify(texts.HANDLED_NOW[action].format(count=len(done)), type="positive")
        for answer in [answer for answer in answers if not answer["done"]][:5]:
            ui.notify(answer["detail"], type="warning", multi_line=True, timeout=10_000)
        self._table.selected = []
        await self.show()

    def _open(self, event: events.GenericEventArguments) -> None:
        letter = self._letters.get(event.args)
        if letter is None:
            return
        done = texts.HANDLED.format(action=letter.action, by=letter.by, note=letter.note) if letter.action else ""
        self._detail.text = f"{letter.reason}: {letter.detail} {done}"
        self._payload.content = letter.payload_text()
        self._command.content = f"fieldstream dead-letters replay {shlex.quote(letter.letter_id)}"
        self._dialog.open()


def _row(letter: Letter) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in ("letter_id", *_COLUMNS)}
