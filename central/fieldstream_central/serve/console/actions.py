"""What a person can do to alarms, as buttons: the same on the list and on an incident's page."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from nicegui import ui

from fieldstream_central.serve.console import texts
from fieldstream_central.serve.console.frame import ApiPart, Window
from fieldstream_central.serve.console.person import said

_HOUR_MS = 3_600_000
_SHOWN_ANSWERS = 5


@dataclass(frozen=True)
class AlarmAction:
    """One of the API's actions. `asks`: for a comment, for hours as well. `more`: what else is sent."""

    name: str
    text: str
    asks: bool = False
    hours: bool = False
    more: tuple[tuple[str, str], ...] = ()


ALARM_ACTIONS = {
    "acknowledge": AlarmAction("acknowledge", texts.ACKNOWLEDGE),
    "shelve": AlarmAction("shelve", texts.SHELVE, asks=True, hours=True),
    "unshelve": AlarmAction("unshelve", texts.UNSHELVE),
    "comment": AlarmAction("comment", texts.COMMENT, asks=True),
}
MARKS = tuple(AlarmAction("mark", text, more=(("mark", mark),)) for mark, text in texts.MARKS.items())
ADMIN_ALARM_ACTIONS = (
    AlarmAction("out-of-service", texts.OUT_OF_SERVICE, asks=True),
    AlarmAction("in-service", texts.IN_SERVICE),
)


class Actions:
    """The row of buttons. It is there for who may act, and works on what `targets` gives.

    `done` is told what could not be done.
    """

    def __init__(
        self,
        window: Window,
        part: ApiPart,
        targets: Callable[[], list[dict[str, Any]]],
        done: Callable[[list[dict[str, Any]]], Awaitable[None]],
        *,
        several: bool = True,
    ) -> None:
        self._window = window
        self._part = part
        self._targets = targets
        self._done = done
        with ui.row().classes("fs-actions fs-buttons") as self._row:
            self._count = ui.label().classes("fs-hint")
            self._count.set_visibility(several)
            self._buttons = [self._button(action) for action in ALARM_ACTIONS.values()]
            self._admin = [self._button(action) for action in ADMIN_ALARM_ACTIONS]
            with ui.row().classes("fs-marks").props(f'role="group" aria-label="{texts.MARK}"'):
                ui.label(texts.MARK).classes("fs-hint")
                self._buttons += [self._button(action) for action in MARKS]
        self._row.set_visibility(False)

    def _button(self, action: AlarmAction) -> ui.button:
        async def click() -> None:
            await self.run(action)

        look, colour = ("outline", None) if action.more else ("unelevated", "primary")
        button = ui.button(action.text, on_click=click, color=colour).props(f"{look} dense no-caps")
        button.classes("fs-action")
        if key := texts.KEYS.get(action.name):
            button.tooltip(texts.KEY.format(key=key))
        return button

    def show(self, count: int) -> None:
        """How many they would act on."""
        self._row.set_visibility(self._window.person.may_act)
        self._count.text = texts.CHOSEN.format(count=count) if count else texts.CHOOSE_FIRST
        for button in [*self._buttons, *self._admin]:
            button.set_enabled(count > 0)
        for button in self._admin:
            button.set_visibility(self._window.person.role == "admin")

    async def run(self, action: AlarmAction) -> None:
        """Asks what it needs to know, does it, and says what became of it."""
        targets = self._targets()
        more: dict[str, Any] = dict(action.more)
        if not targets or not self._window.person.may_act:
            return
        if action.asks:
            answer = await ask(action.text, hours=action.hours)
            if answer is None:
                return
            more["comment"] = answer[0]
            if action.hours:
                more["until"] = time.time_ns() // 1_000_000 + round(answer[1] * _HOUR_MS)
        try:
            answers = await self._window.person.act(action.name, targets, **more)
        except httpx.HTTPError as error:
            ui.notify(said(error), type="negative", multi_line=True)
            return
        _tell(answers)
        await self._done([alarm for alarm, answer in zip(targets, answers, strict=True) if answer["result"] != "done"])


def _tell(answers: list[dict[str, Any]]) -> None:
    if done := sum(answer["result"] == "done" for answer in answers):
        ui.notify(texts.DONE.format(count=done), type="positive")
    failed = [answer for answer in answers if answer["result"] != "done"]
    for answer in failed[:_SHOWN_ANSWERS]:
        ui.notify(f"{answer['alarm_id']}: {answer['detail']}", type="warning", multi_line=True, timeout=10_000)
    if len(failed) > _SHOWN_ANSWERS:
        ui.notify(texts.MORE_FAILED.format(count=len(failed) - _SHOWN_ANSWERS), type="warning", timeout=10_000)


async def ask(title: str, *, hours: bool = False, about: str = "") -> tuple[str, float] | None:
    """A reason, and for a shelf how long; None when the person thinks better of it."""
    with ui.dialog().props(f'aria-label="{title}"') as dialog, ui.card().classes("fs-dialog"):
        ui.label(title).classes("fs-title").props('role="heading" aria-level="2"')
        if about:
            ui.label(about).classes("fs-hint")
        reason = ui.input(texts.REASON).props("outlined dense autofocus").classes("fs-select")
        reason.on("keydown.enter", lambda: dialog.submit(True))
        length = ui.number(texts.HOURS, value=4, min=0.25, max=24, step=0.25).props("outlined dense")
        length.set_visibility(hours)
        with ui.row():
            ui.button(title, on_click=lambda: dialog.submit(True)).props("unelevated no-caps")
            ui.button(texts.CANCEL, on_click=lambda: dialog.submit(False), color=None).props("flat no-caps")
    answer = await dialog
    dialog.delete()
    return (reason.value, float(length.value or 0)) if answer else None
