"""How well the alarm system itself does, after EEMUA 191: how much it asks of a person, and which alarms to mend."""

from typing import Any

from nicegui import ui

from fieldstream_central.serve.console import chart, parts, tables, texts, wording
from fieldstream_central.serve.console.frame import ApiPart, Window
from fieldstream_central.serve.console.shift_times import ShiftTimes

_EVERY_S = 15.0
_LOADS = {"acceptable": "ok", "manageable": "ok", "over-demanding": "warn", "unacceptable": "bad"}
_SHOWN = 50


class HealthPage:
    """One window's page."""

    def __init__(self, window: Window) -> None:
        self._window = window
        with ui.element("section").classes("fs-panel fs-wide"):
            with parts.heading(texts.HEALTH, texts.HEALTH_HINT):
                self._times = ShiftTimes(self._again, lengths=texts.HEALTH_LENGTHS)
                self._operators = ui.number(texts.OPERATORS, value=1, min=1, max=100, on_change=self._again)
                self._operators.props("dense outlined").classes("fs-length")
            self._part = ApiPart(window, self._ask)
            with ui.element("dl").classes("fs-facts fs-figures"):
                self._figures = {name: parts.figure(label) for name, label in texts.HEALTH_FIGURES.items()}
            self._chart = ui.echart({"series": []}).classes("fs-chart fs-low")
        with ui.element("div").classes("fs-pair"):
            self._top = _list(texts.TOP, texts.TOP_HINT, texts.TOP_COLUMNS, texts.TOP_NONE)
            self._chattering = _list(texts.CHATTERING, texts.CHATTERING_HINT, texts.CHATTER_COLUMNS, texts.CHATTER_NONE)
            self._standing = _list(texts.STANDING, texts.STANDING_HINT, texts.STANDING_COLUMNS, texts.STANDING_NONE)
            self._floods = _list(texts.FLOODS, texts.FLOODS_HINT, texts.FLOOD_COLUMNS, texts.FLOODS_NONE)
        ui.timer(_EVERY_S, self._part.show)

    async def _again(self) -> None:
        await self._part.show()

    async def _ask(self) -> None:
        query: dict[str, Any] = self._times.query() | {"operators": int(self._operators.value or 1)}
        health = await self._window.person.get("/alarm-health", **query)
        for name, cell in figures(health).items():
            self._figures[name].text = cell.text
            self._figures[name].classes(replace=f"fs-figure is-{cell.state}")
        theme = chart.DARK if self._window.dark.value else chart.LIGHT
        options = chart.load_options(health, theme)
        if options != self._chart.options:
            self._chart.options.clear()
            self._chart.options.update(options)
            self._chart.update()
        self._top.show([_top(one) for one in health["top"]])
        self._chattering.show([_chatters(one) for one in health["chattering"][:_SHOWN]])
        self._standing.show([_stands(one) for one in health["standing"][:_SHOWN]])
        self._floods.show([_flood(one) for one in health["floods"][:_SHOWN]])


def figures(health: dict[str, Any]) -> dict[str, tables.Sign]:
    """The figures at the top, each with the state that EEMUA 191 gives it where it gives one."""
    load = _LOADS[health["load"]]
    median, answered = health["acknowledge_median_s"], health["acknowledged_percent"]
    return {
        "average": tables.Sign(texts.AVERAGE.format(average=health["average"], load=texts.LOADS[health["load"]]), load),
        "alarms": tables.Sign(wording.number(health["alarms"]), "plain"),
        "peak": tables.Sign(
            wording.number(health["peak"]), "bad" if health["peak"] > 10 * health["operators"] else "ok"
        ),
        "flood": tables.Sign(texts.PERCENT.format(share=health["flood_percent"]), "warn" if health["floods"] else "ok"),
        "standing": tables.Sign(wording.number(len(health["standing"])), "plain"),
        "stale": tables.Sign(wording.number(health["stale"]), "warn" if health["stale"] else "ok"),
        "answered": tables.Sign("–" if answered is None else texts.PERCENT.format(share=answered), "plain"),
        "median": tables.Sign("–" if median is None else wording.age(median), "plain"),
        "priorities": tables.Sign(_priorities(health["severities"]), "plain"),
    }


def _priorities(severities: dict[str, int]) -> str:
    whole = sum(severities.values())
    if not whole:
        return "–"
    shares = [100 * severities.get(name, 0) / whole for name in ("critical", "warning", "info")]
    return " / ".join(f"{share:.0f} %" for share in shares)


def _list(title: str, hint: str, columns: tuple[str, ...], empty: str) -> tables.Table:
    with ui.element("section").classes("fs-panel"):
        parts.heading(title, hint)
        return tables.Table(columns, empty, title)


def _top(one: dict[str, Any]) -> list[tables.Cell]:
    share = texts.PERCENT.format(share=one["share_percent"])
    return [tables.incident(one["alarm_id"]), wording.number(one["alarms"]), share, one["reason"]]


def _chatters(one: dict[str, Any]) -> list[tables.Cell]:
    return [tables.incident(one["alarm_id"]), str(one["most_in_a_minute"]), wording.number(one["alarms"])]


def _stands(one: dict[str, Any]) -> list[tables.Cell]:
    length = tables.Sign(wording.age(one["hours"] * 3600), "warn" if one["stale"] else "plain")
    return [tables.incident(one["alarm_id"]), tables.severity(one["severity"]), length, one["reason"]]


def _flood(one: dict[str, Any]) -> list[tables.Cell]:
    return [
        wording.clock(one["start"]),
        wording.age((one["end"] - one["start"]) / 1000),
        wording.number(one["alarms"]),
        wording.number(one["peak"]),
    ]
