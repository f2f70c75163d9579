"""The alarm list where a shift works: acknowledge, shelve, comment and mark, one alarm or many.

Alarms are shown and changed through the API alone, in the name of the person who signed in; what the role may not do
is not offered, and the API would refuse it. However many there are, a page of them is sent.
"""

from typing import Any

from nicegui import events, ui

from fieldstream_central.serve.console import parts, tables, texts, wording
from fieldstream_central.serve.console.actions import ALARM_ACTIONS, Actions
from fieldstream_central.serve.console.frame import TICK_S, ApiPart, Window

SHOWN = 100
_MOST_CHOSEN = 10_000
_COLUMNS = [
    {"name": name, "label": label, "field": name, "align": "left"} for name, label in texts.ALARM_COLUMNS.items()
]
_ALARM_CELL = (
    '<q-td :props="props"><a class="fs-ref" :href="props.row.href">{{ props.row.sensor }}</a>'
    '<div v-if="!props.row.sensor.startsWith(props.row.asset)" class="fs-hint">{{ props.row.asset }}</div></q-td>'
)
_SEVERITY_CELL = (
    '<q-td :props="props"><span :class="\'fs-sign is-\' + props.row.sign">{{ props.row.severity }}</span></q-td>'
)


class AlarmPage:
    """One window's list."""

    def __init__(self, window: Window, *, asset_id: str = "") -> None:
        self._window = window
        self._asset = asset_id
        self._offset = self._total = 0
        self._rows: dict[str, dict[str, Any]] = {}
        self._chosen: dict[str, dict[str, Any]] = {}
        with ui.element("section").classes("fs-panel fs-wide"):
            with ui.row().classes("fs-heading"):
                ui.label(texts.ALARM_LIST).classes("fs-title").props('role="heading" aria-level="2"')
                if asset_id:
                    ui.label(texts.OF_ASSET.format(asset=asset_id)).classes("fs-hint")
                    ui.link(texts.ALL_ALARMS, "/alarms").classes("fs-ref")
                self._count = ui.label().classes("fs-badge").props('role="status"')
            self._part = ApiPart(window, self._ask)
            self._filters()
            self._actions = Actions(window, self._part, self._targets, self._done)
            self._table = ui.table(columns=_COLUMNS, rows=[], row_key="alarm_id", selection="multiple")
            self._table.props("flat dense hide-pagination :rows-per-page-options=[0]").classes("fs-alarm-table")
            parts.name_checkboxes(self._table)
            self._table.add_slot("body-cell-sensor", _ALARM_CELL)
            self._table.add_slot("body-cell-severity", _SEVERITY_CELL)
            self._table.on_select(self._selected)
            self._pager()
        ui.keyboard(self._key)
        ui.timer(TICK_S, self._part.show)

    def _filters(self) -> None:
        with ui.row().classes("fs-actions"):
            self._states = ui.select(texts.ALARM_STATES, multiple=True, label=texts.STATES, on_change=self._anew)
            self._states.props("dense outlined options-dense use-chips").classes("fs-select")
            self._newest = ui.checkbox(texts.NEWEST_FIRST, on_change=self._anew).props("dense")
            self._forgotten = ui.checkbox(texts.ONLY_FORGOTTEN, on_change=self._anew).props("dense")

    def _pager(self) -> None:
        with ui.row().classes("fs-actions") as self._pages:
            self._back = ui.button(texts.PAGE_BACK, on_click=lambda: self._turn(-SHOWN), color=None)
            self._where = ui.label().classes("fs-hint")
            self._on = ui.button(texts.PAGE_ON, on_click=lambda: self._turn(SHOWN), color=None)
            self._every = ui.button(texts.CHOOSE_ALL.format(total=""), on_click=self._choose_all, color=None)
            for button in (self._back, self._on, self._every):
                button.props("flat dense no-caps").classes("fs-flat")
        self._pages.set_visibility(False)

    async def _anew(self) -> None:
        self._offset = 0
        await self._part.show()

    async def _turn(self, by: int) -> None:
        self._offset = max(0, self._offset + by)
        await self._part.show()

    def _query(self) -> dict[str, Any]:
        query: dict[str, Any] = {"newest_first": self._newest.value, "forgotten": self._forgotten.value}
        if self._states.value:
            query["state"] = list(self._states.value)
        return query | ({"asset_id": self._asset} if self._asset else {})

    async def _choose_all(self) -> None:
        """All of the list, also what is on other pages."""
        found = await self._part.do("GET", "/alarms", "", params=self._query() | {"limit": _MOST_CHOSEN})
        self._choose(found or [])

    def _choose(self, alarms: list[dict[str, Any]]) -> None:
        self._chosen = {alarm["alarm_id"]: alarm for alarm in alarms}
        self._table.selected = [row for row in self._table.rows if row["alarm_id"] in self._chosen]
        self._actions.show(len(self._chosen))

    def _selected(self, event: events.TableSelectionEventArguments) -> None:
        here = {row["alarm_id"] for row in self._table.rows}
        chosen = {row["alarm_id"] for row in event.selection}
        self._chosen = {key: alarm for key, alarm in self._chosen.items() if key not in here or key in chosen}
        self._chosen |= {key: self._rows[key] for key in chosen if key in self._rows and key not in self._chosen}
        self._actions.show(len(self._chosen))

    def _targets(self) -> list[dict[str, Any]]:
        """What is chosen, each as it was seen last."""
        return [self._rows.get(key, alarm) for key, alarm in self._chosen.items()]

    async def _done(self, left: list[dict[str, Any]]) -> None:
        """What could not be done stays chosen."""
        self._choose(left)
        await self._part.show()

    async def _ask(self) -> None:
        query = self._query() | {"limit": SHOWN, "offset": self._offset}
        answer = await self._window.person.ask("GET", "/alarms", params=query)
        self._total, waiting = (int(answer.headers[name]) for name in ("X-Total-Count", "X-Waiting-Count"))
        if self._offset >= max(self._total, 1):
            self._offset = 0
        self._show(answer.json(), waiting)

    def _show(self, found: list[dict[str, Any]], waiting: int) -> None:
        self._count.text = texts.ALARMS_WAITING.format(count=waiting) if waiting else texts.ALARMS_NOBODY_NEEDED
        self._count.classes(replace=f"fs-badge {'is-bad' if waiting else 'is-ok'}")
        self._rows = {alarm["alarm_id"]: alarm for alarm in found}
        rows = [_row(alarm) for alarm in found]
        if rows != self._table.rows:
            self._table.rows = rows
            self._table.selected = [row for row in rows if row["alarm_id"] in self._chosen]
        self._actions.show(len(self._chosen))
        self._pages.set_visibility(self._total > SHOWN)
        last = min(self._offset + SHOWN, self._total)
        self._where.text = texts.PAGE_OF.format(first=self._offset + 1, last=last, total=wording.number(self._total))
        self._every.text = texts.CHOOSE_ALL.format(total=wording.number(self._total))
        self._every.set_visibility(self._window.person.may_act)
        self._back.set_enabled(self._offset > 0)
        self._on.set_enabled(last < self._total)

    async def _key(self, event: events.KeyEventArguments) -> None:
        modified = event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta
        if event.action.keydown and not event.action.repeat and not modified and self._chosen:
            for action, key in texts.KEYS.items():
                if event.key == key:
                    await self._actions.run(ALARM_ACTIONS[action])


def _row(alarm: dict[str, Any]) -> dict[str, Any]:
    return {
        "alarm_id": alarm["alarm_id"],
        "href": tables.incident(alarm["alarm_id"]).target,
        "state": texts.ALARM_STATES[alarm["state"]] + (f" {texts.FORGOTTEN}" if alarm["forgotten"] else ""),
        "severity": texts.SEVERITIES.get(alarm["severity"], alarm["severity"]),
        "sign": tables.state_of(alarm["severity"]),
        "asset": alarm["asset_id"],
        "sensor": wording.sensor(alarm["device_id"], alarm["metric"]),
        "reason": alarm["reason"],
        "since": wording.clock(alarm["started_at"]),
        "who": wording.aside(alarm),
    }
