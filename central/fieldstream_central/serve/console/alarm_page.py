"""The alarm list where a shift works: acknowledge, shelve and comment, one alarm or many.

The page shows and changes alarms through the API alone, with the token of the person who signed in; what the role may
not do is not offered, and the API would refuse it.
"""

import time
from typing import Any

import httpx
from nicegui import ui

from fieldstream_central.serve.console import texts, wording

_MOST_AT_ONCE = 500
_HOUR_MS = 3_600_000
_COLUMNS = [
    {"name": name, "label": label, "field": name, "align": "left", "sortable": True}
    for name, label in texts.ALARM_COLUMNS.items()
]


class AlarmApi:
    """The alarms' part of the query API in one person's name. Raises httpx.HTTPError."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=20.0, trust_env=False)
        self.token = ""

    async def alarms(self, states: list[str]) -> list[dict[str, Any]]:
        """The alarms in these states; none: all but cleared."""
        answer = await self._http.get("/alarms", params={"state": states} if states else {}, headers=self._headers())
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    async def role(self) -> str:
        """What the person may do: viewer, operator or admin."""
        answer = await self._http.get("/caller", headers=self._headers())
        return str(answer.raise_for_status().json()["role"])

    async def act(self, action: str, alarms: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
        """One answer per alarm."""
        targets = [{"alarm_id": alarm["alarm_id"], "revision": alarm["revision"]} for alarm in alarms]
        answers: list[dict[str, Any]] = []
        for start in range(0, len(targets), _MOST_AT_ONCE):
            body = {"action": action, "alarms": targets[start : start + _MOST_AT_ONCE]} | more
            answer = await self._http.post("/alarms/actions", json=body, headers=self._headers())
            answers += answer.raise_for_status().json()
        return answers

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


class AlarmPage:
    """One person's page."""

    def __init__(self, api_url: str) -> None:
        self._api = AlarmApi(api_url)
        self._rows: dict[str, dict[str, Any]] = {}
        self._busy = False
        self._role = ""
        buttons: list[ui.button] = []
        with ui.element("section").classes("fs-panel"):
            with ui.row().classes("fs-heading"):
                ui.label(texts.ALARM_LIST).classes("fs-title").props('role="heading" aria-level="2"')
                self._count = ui.label().classes("fs-badge")
            self._problem = ui.label().classes("fs-empty").props('role="status"')
            self._sign_in()
            with ui.row().classes("fs-actions"):
                self._states = ui.select(texts.ALARM_STATES, multiple=True, label=texts.STATES, on_change=self.show)
                self._states.props("dense outlined options-dense use-chips").classes("fs-select")
                for text, action in (
                    (texts.ACKNOWLEDGE, self._acknowledge),
                    (texts.SHELVE, self._shelve),
                    (texts.UNSHELVE, self._unshelve),
                    (texts.COMMENT, self._comment),
                ):
                    button = ui.button(text, on_click=action).props("unelevated dense no-caps").classes("fs-action")
                    buttons.append(button)
            self._table = ui.table(columns=_COLUMNS, rows=[], row_key="alarm_id", selection="multiple")
            self._table.props("flat dense virtual-scroll :rows-per-page-options=[0] hide-pagination")
            self._table.classes("fs-alarm-table")
        for button in buttons:
            button.bind_enabled_from(self, "anything_chosen").bind_visibility_from(self, "may_act")

    @property
    def anything_chosen(self) -> bool:
        """Whether the buttons have something to act on."""
        return bool(self._table.selected)

    @property
    def may_act(self) -> bool:
        """Whether actions are offered at all."""
        return self._role in ("operator", "admin")

    async def show(self) -> None:
        """Asks and shows; what cannot be asked is said, and what was known stays."""
        if self._busy:
            return
        self._busy = True
        try:
            self._role = self._role or await self._api.role()
            found = await self._api.alarms(list(self._states.value or []))
        except httpx.HTTPStatusError as error:
            self._refused(error)
            return
        except httpx.HTTPError:
            self._problem.text = texts.API_AWAY
            return
        finally:
            self._busy = False
        self._problem.text = "" if found else texts.ALARMS_NONE_HERE
        self._token.set_visibility(False)
        waiting = sum(alarm["state"] in ("unacknowledged", "returned-unacknowledged") for alarm in found)
        self._count.text = texts.ALARMS_WAITING.format(count=waiting) if waiting else texts.ALARMS_NOBODY_NEEDED
        self._count.classes(replace=f"fs-badge {'is-bad' if waiting else 'is-ok'}")
        self._rows = {alarm["alarm_id"]: alarm for alarm in found}
        rows = [_row(alarm) for alarm in found]
        if rows != self._table.rows:
            self._table.rows = rows
            self._table.selected = [row for row in self._table.selected if row["alarm_id"] in self._rows]

    def _sign_in(self) -> None:
        with ui.row().classes("fs-actions") as self._token:
            field = ui.input(texts.TOKEN, password=True).props("dense outlined autocomplete=off")

            async def use() -> None:
                self._api.token, self._role = field.value.strip(), ""
                await self.show()

            ui.button(texts.SIGN_IN, on_click=use).props("unelevated dense no-caps")
            field.on("keydown.enter", use)
        self._token.set_visibility(False)

    def _refused(self, error: httpx.HTTPStatusError) -> None:
        self._problem.text = _detail(error.response)
        self._token.set_visibility(error.response.status_code == httpx.codes.UNAUTHORIZED)

    async def _act(self, action: str, **more: Any) -> None:
        chosen = [self._rows[row["alarm_id"]] for row in self._table.selected if row["alarm_id"] in self._rows]
        try:
            answers = await self._api.act(action, chosen, **more)
        except httpx.HTTPStatusError as error:
            ui.notify(_detail(error.response), type="negative", multi_line=True)
            return
        except httpx.HTTPError:
            ui.notify(texts.API_AWAY, type="negative")
            return
        done = sum(answer["result"] == "done" for answer in answers)
        if done:
            ui.notify(texts.DONE.format(count=done), type="positive")
        for answer in [one for one in answers if one["result"] != "done"][:5]:
            ui.notify(f"{answer['alarm_id']}: {answer['detail']}", type="warning", multi_line=True, timeout=10_000)
        self._table.selected = []
        await self.show()

    async def _acknowledge(self) -> None:
        await self._act("acknowledge")

    async def _unshelve(self) -> None:
        await self._act("unshelve")

    async def _shelve(self) -> None:
        if (answer := await _ask(texts.SHELVE, hours=True)) is not None:
            reason, hours = answer
            until = time.time_ns() // 1_000_000 + round(hours * _HOUR_MS)
            await self._act("shelve", comment=reason, until=until)

    async def _comment(self) -> None:
        if (answer := await _ask(texts.COMMENT, hours=False)) is not None:
            await self._act("comment", comment=answer[0])


async def _ask(title: str, *, hours: bool) -> tuple[str, float] | None:
    """A reason, and for a shelf how long; None when the person thinks better of it."""
    with ui.dialog() as dialog, ui.card():
        ui.label(title).classes("fs-title")
        reason = ui.input(texts.REASON).props("outlined dense autofocus").classes("fs-select")
        length = ui.number(texts.HOURS, value=4, min=0.25, max=24, step=0.25).props("outlined dense")
        length.set_visibility(hours)
        with ui.row():
            ui.button(title, on_click=lambda: dialog.submit(True)).props("unelevated no-caps")
            ui.button(texts.CANCEL, on_click=lambda: dialog.submit(False)).props("flat no-caps")
    return (reason.value, float(length.value or 0)) if await dialog else None


def _row(alarm: dict[str, Any]) -> dict[str, Any]:
    hold = alarm["shelf"] or alarm["out_of_service"] or alarm["suppression"] or alarm["acknowledged"]
    until = hold and hold["until"]
    return {
        "alarm_id": alarm["alarm_id"],
        "state": texts.ALARM_STATES[alarm["state"]] + (f" {texts.FORGOTTEN}" if alarm["forgotten"] else ""),
        "severity": alarm["severity"],
        "asset": alarm["asset_id"],
        "sensor": f"{alarm['device_id']} · {alarm['metric']}",
        "reason": alarm["reason"],
        "since": wording.clock(alarm["started_at"]),
        "who": _who(hold["who"], hold["comment"], until) if hold else "",
    }


def _who(name: str, comment: str, until: int | None) -> str:
    words = [name, comment, texts.UNTIL.format(time=wording.clock(until)) if until else ""]
    return ", ".join(word for word in words if word)


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError):
        return f"{answer.status_code} {answer.reason_phrase}"
