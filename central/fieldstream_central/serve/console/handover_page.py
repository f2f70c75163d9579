"""The shift hand-over report: to read, to print, to sign."""

from typing import Any

from nicegui import ui

from fieldstream_central.serve.console import parts, tables, texts, wording
from fieldstream_central.serve.console.frame import ApiPart, Window
from fieldstream_central.serve.console.shift_times import ShiftTimes

_EVERY_S = 15.0


class HandoverPage:
    """One window's page."""

    def __init__(self, window: Window) -> None:
        self._window = window
        with ui.element("div").classes("fs-report"):
            with ui.element("section").classes("fs-panel"):
                with parts.heading(texts.HANDOVER, texts.HANDOVER_HINT), ui.row().classes("fs-actions fs-no-print"):
                    self._times = ShiftTimes(self._again, lengths=texts.SHIFT_LENGTHS)
                    print_it = ui.button(texts.PRINT, on_click=lambda: ui.run_javascript("window.print()"))
                    print_it.props("unelevated dense no-caps").classes("fs-action")
                self._part = ApiPart(window, self._ask)
                self._range = ui.label().classes("fs-range-shown")
                self._summary = ui.label().classes("fs-reason")
                self._away = ui.label().classes("fs-problem")
            names = texts.HANDOVER_PARTS
            self._parts = {name: _part(*words) for name, words in names.items()}
            with ui.element("section").classes("fs-panel fs-only-print"):
                ui.label(texts.SIGNATURES)
        ui.timer(_EVERY_S, self._part.show)

    async def _again(self) -> None:
        await self._part.show()

    async def _ask(self) -> None:
        report = await self._window.person.get("/handover", **self._times.query())
        start, end = wording.clock(report["start"]), wording.clock(report["end"])
        self._range.text = texts.FROM_TO.format(start=start, end=end)
        self._summary.text = summary(report)
        self._away.text = " ".join(report["away"])
        for name, rows in rows_of(report).items():
            self._parts[name].show(rows)


def summary(report: dict[str, Any]) -> str:
    """The report in a sentence or two."""
    counts = [
        texts.COUNTED.format(count=report["severities"][name], what=texts.SEVERITIES[name])
        for name in ("critical", "warning", "info")
        if report["severities"].get(name)
    ]
    missing = sum(one["missing"] for one in report["gateways"])
    return texts.HANDOVER_SUMMARY.format(
        alarms=", ".join(counts) or texts.NO_ALARMS,
        open="?" if report["open"] is None else len(report["open"]),
        aside="?" if report["aside"] is None else len(report["aside"]),
        corrected=len(report["corrected"]),
        letters=wording.number(sum(report["dead_letters"].values())),
        missing=wording.number(missing),
    )


def rows_of(report: dict[str, Any]) -> dict[str, list[list[tables.Cell]]]:
    """Every part's rows."""
    return {
        "open": [_open(one) for one in report["open"] or []],
        "aside": [_aside(one) for one in report["aside"] or []],
        "happened": [_happened(one) for one in report["happened"]],
        "deeds": [_deed(one) for one in report["deeds"]],
        "maintenance": [_work(one) for one in report["maintenance"] or []],
        "corrected": [_corrected(one) for one in report["corrected"]],
        "gateways": [_gateway(one) for one in report["gateways"]],
        "letters": [[reason, wording.number(count)] for reason, count in report["dead_letters"].items()],
    }


def _part(title: str, columns: tuple[str, ...], empty: str) -> tables.Table:
    with ui.element("section").classes("fs-panel"):
        parts.heading(title)
        return tables.Table(columns, empty, title)


def _open(one: dict[str, Any]) -> list[tables.Cell]:
    name = wording.sensor(one["device_id"], one["metric"])
    state = texts.ALARM_STATES[one["state"]]
    since = wording.clock(one["started_at"])
    return [tables.severity(one["severity"]), tables.incident(one["alarm_id"], name), state, since, one["reason"]]


def _aside(one: dict[str, Any]) -> list[tables.Cell]:
    name = wording.sensor(one["device_id"], one["metric"])
    state = texts.ALARM_STATES[one["state"]] + (f" {texts.FORGOTTEN}" if one["forgotten"] else "")
    return [tables.incident(one["alarm_id"], name), state, wording.aside(one) or "–"]


def _happened(one: dict[str, Any]) -> list[tables.Cell]:
    ended = wording.clock(one["ended_at"]) if one["ended_at"] else texts.STILL
    seen = one["acknowledged_by"] or "–"
    asset = tables.incident(one["alarm_id"], one["asset_id"] or one["alarm_id"])
    return [tables.severity(one["severity"]), asset, one["reason"], wording.clock(one["started_at"]), ended, seen]


def _deed(one: dict[str, Any]) -> list[tables.Cell]:
    until = texts.UNTIL.format(time=wording.clock(one["until"])) if one["until"] else ""
    words = ", ".join(word for word in (one["comment"], until) if word)
    action = texts.DEEDS.get(one["action"], one["action"])
    return [wording.clock(one["at"]), one["who"], action, tables.incident(one["alarm_id"]), words]


def _work(one: dict[str, Any]) -> list[tables.Cell]:
    times = texts.FROM_TO.format(start=wording.clock(one["start"]), end=wording.clock(one["end"]))
    return [one["asset_id"] or one["device_id"] or one["metric"], times, one["note"], one["who"]]


def _corrected(one: dict[str, Any]) -> list[tables.Cell]:
    times = texts.FROM_TO.format(start=wording.clock(one["start"]), end=wording.clock(one["end"]))
    return [wording.sensor(one["device_id"], one["metric"]), wording.number(one["windows"]), times]


def _gateway(one: dict[str, Any]) -> list[tables.Cell]:
    missing = tables.Sign(wording.number(one["missing"]), "bad" if one["missing"] else "ok")
    return [one["gateway_id"], wording.number(one["accepted"]), wording.number(one["stored"]), missing]
