"""Planned work: what is under way, what is to come, what was; planned and ended by who may."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from nicegui import ui

from fieldstream_central.serve.console import parts, texts, wording
from fieldstream_central.serve.console.frame import ApiPart, Window

_EVERY_S = 3.0
_SHOWN = 100


class MaintenancePage:
    """One window's page."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._shown: object = None
        with ui.element("section").classes("fs-panel fs-wide") as self._new:
            parts.heading(texts.PLAN, texts.PLAN_HINT)
            self._form()
        self._new.set_visibility(False)
        with ui.element("section").classes("fs-panel fs-wide"):
            parts.heading(texts.MAINTENANCE, texts.MAINTENANCE_HINT)
            self._part = ApiPart(window, self._ask)
            self._list = ui.element("ul").classes("fs-list fs-works")
        ui.timer(_EVERY_S, self._part.show)

    def _form(self) -> None:
        assets = sorted({sensor["asset_id"] for sensor in self._window.gatherer.board.sensors if sensor["asset_id"]})
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        with ui.row().classes("fs-actions"):
            self._asset = ui.select(assets, label=texts.ASSET, with_input=True).props("dense outlined")
            self._asset.classes("fs-select")
            self._start = ui.input(texts.STARTS, value=_local(now)).props("dense outlined type=datetime-local")
            self._end = ui.input(texts.ENDS, value=_local(now + timedelta(hours=2)))
            self._end.props("dense outlined type=datetime-local")
            self._note = ui.input(texts.WHAT_IS_DONE).props("dense outlined").classes("fs-select")
            ui.button(texts.PLAN, on_click=self._plan).props("unelevated dense no-caps").classes("fs-action")

    async def _plan(self) -> None:
        try:
            start, end = (_epoch_ms(field.value) for field in (self._start, self._end))
        except ValueError:
            ui.notify(texts.NO_TIME, type="negative")
            return
        if not self._asset.value:
            ui.notify(texts.NO_ASSET, type="negative")
            return
        work = {"asset_id": self._asset.value, "start": start, "end": end, "note": self._note.value}
        name = f"{_name(self._asset.value)}-{start // 1000}"
        if await self._part.do("PUT", f"/maintenance/{name}", texts.PLANNED, json=work) is not None:
            self._note.value = ""

    async def _ask(self) -> None:
        found = await self._window.person.get("/maintenance")
        self._new.set_visibility(self._window.person.may_act)
        key = (found, time.time() // 60, self._window.person.may_act)
        if key == self._shown:
            return
        self._shown = key
        self._list.clear()
        with self._list:
            if not found:
                with ui.element("li"):
                    ui.label(texts.MAINTENANCE_NONE).classes("fs-empty")
            for work in found[:_SHOWN]:
                self._work(work)

    def _work(self, work: dict[str, Any]) -> None:
        now = time.time() * 1000
        state = "now" if work["start"] <= now < work["end"] else "later" if work["start"] > now else "over"
        about = " · ".join(word for word in (work["asset_id"], work["device_id"], work["metric"]) if word)
        times = texts.FROM_TO.format(start=wording.clock(work["start"]), end=wording.clock(work["end"]))
        with ui.element("li").classes(f"fs-work is-{'over' if state == 'over' else 'planned'}"):
            with ui.element("div").classes("fs-alarm-head"):
                ui.label(texts.WORK_STATES[state]).classes(f"fs-sign is-{'warn' if state == 'now' else 'info'}")
                ui.label(about).classes("fs-alarm-sensor")
                ui.label(times).classes("fs-alarm-time")
            ui.label(work["note"]).classes("fs-alarm-reason")
            with ui.row().classes("fs-actions"):
                ui.label(texts.PLANNED_BY.format(who=work["who"] or texts.NOT_KNOWN)).classes("fs-note")
                if state != "over" and self._window.person.may_act:
                    words = texts.END_NOW if state == "now" else texts.WITHDRAW
                    button = ui.button(words, on_click=lambda: self._end_work(work["maintenance_id"]), color=None)
                    button.props(f'flat dense no-caps aria-label="{words}: {about}"').classes("fs-flat")

    async def _end_work(self, maintenance_id: str) -> None:
        await self._part.do("POST", f"/maintenance/{maintenance_id}/end", texts.ENDED)


def _local(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M")


def _epoch_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def _name(asset_id: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in asset_id)[:60]
