"""The page of one alarm: its course with the band of the expected, its mates, its life, similar ones, what to do."""

import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from fieldstream_central.serve.api.params import Span
from fieldstream_central.serve.console import chart, parts, tables, texts, wording
from fieldstream_central.serve.console.actions import Actions
from fieldstream_central.serve.console.frame import ApiPart, Window
from fieldstream_central.serve.series import load_series
from fieldstream_central.store.clickhouse import ClickHouseError

_EVERY_S = 2.0
_TRUST_EVERY_S = 20.0
_POINTS = 800
_NAMED = 6
# So much is shown before and after an alarm, at least.
_AROUND_MS = 900_000
_VERDICTS = {"good": "ok", "fair": "warn", "poor": "bad"}


class IncidentPage:
    """One window's page of one alarm."""

    def __init__(self, window: Window, alarm_id: str) -> None:
        self._window = window
        self._alarm_id = alarm_id
        self._alarm: dict[str, Any] = {}
        self._trusted = 0.0
        self._of_known: list[ui.element] = []
        with ui.element("div").classes("fs-incident"):
            with ui.element("section").classes("fs-panel fs-incident-head"):
                self._head()
            with self._known(ui.element("section").classes("fs-panel fs-incident-chart")):
                parts.heading(texts.COURSE, texts.COURSE_HINT)
                self._chart = ui.echart({"series": []}).classes("fs-chart")
                self._no_chart = ui.label().classes("fs-empty")
            with self._known(ui.element("section").classes("fs-panel")):
                parts.heading(texts.LIFE, texts.LIFE_HINT)
                self._life = tables.Table(texts.LIFE_COLUMNS, texts.LIFE_NONE, texts.LIFE)
            with self._known(ui.element("section").classes("fs-panel")):
                parts.heading(texts.MATES, texts.MATES_HINT)
                self._mates = tables.Table(texts.MATE_COLUMNS, texts.MATES_NONE, texts.MATES)
            with self._known(ui.element("section").classes("fs-panel fs-incident-similar")):
                parts.heading(texts.SIMILAR, texts.SIMILAR_HINT)
                self._similar = tables.Table(texts.SIMILAR_COLUMNS, texts.SIMILAR_NONE, texts.SIMILAR)
        ui.timer(_EVERY_S, self._part.show)

    def _head(self) -> None:
        with ui.row().classes("fs-heading"):
            self._severity = ui.label().classes("fs-sign")
            self._title = ui.label(self._alarm_id).classes("fs-title").props('role="heading" aria-level="2"')
            self._state = ui.label().classes("fs-badge")
        self._part = ApiPart(self._window, self._ask)
        self._reason = ui.label().classes("fs-reason")
        with self._known(ui.element("dl").classes("fs-facts")):
            self._facts = {name: parts.figure(label) for name, label in texts.FACTS.items()}
        self._actions = Actions(self._window, self._part, self._target, lambda _: self._part.show(), several=False)
        with self._known(ui.row().classes("fs-actions")):
            self._live = ui.link(texts.TO_LIVE, "/").classes("fs-ref")
            self._grafana = ui.link(texts.TO_GRAFANA, "/", new_tab=True).classes("fs-ref")
            self._list = ui.link(texts.TO_ASSET_ALARMS, "/alarms").classes("fs-ref")

    def _known(self, part: ui.element) -> ui.element:
        """A part that there is only of an alarm that is known."""
        part.set_visibility(False)
        self._of_known.append(part)
        return part

    def _target(self) -> list[dict[str, Any]]:
        return [self._alarm] if self._alarm else []

    async def _ask(self) -> None:
        found = await self._window.person.get(f"/incidents/{tables.quoted(self._alarm_id)}")
        self._alarm = found["alarm"]
        for part in self._of_known:
            part.set_visibility(True)
        self._show_head(found["alarm"], found["episode"] or {})
        self._life.show([_moment(moment) for moment in found["life"]])
        self._mates.show([_mate(mate) for mate in found["mates"]])
        self._similar.show([_earlier(one) for one in found["similar"]])
        self._actions.show(1)
        await self._draw(found["alarm"], found["episode"] or {})
        if found["alarm"]["metric"] and time.monotonic() - self._trusted > _TRUST_EVERY_S:
            await self._trust(found["alarm"])

    def _show_head(self, alarm: dict[str, Any], episode: dict[str, Any]) -> None:
        sensor = episode.get("label") or wording.sensor(alarm["device_id"], alarm["metric"])
        self._title.text = sensor
        ui.page_title(f"{sensor} · {texts.TITLE}")
        self._severity.text = texts.SEVERITIES.get(alarm["severity"], alarm["severity"])
        self._severity.classes(replace=f"fs-sign is-{tables.state_of(alarm['severity'])}")
        waiting = alarm["state"] in ("unacknowledged", "returned-unacknowledged")
        self._state.text = texts.ALARM_STATES[alarm["state"]]
        self._state.classes(replace=f"fs-badge {'is-bad' if waiting else 'is-ok'}")
        self._reason.text = alarm["reason"]
        unit = episode.get("unit")
        facts = {
            "place": " / ".join(word for word in (alarm["site"], alarm["area"], alarm["asset_id"]) if word),
            "observed": wording.value(episode.get("observed"), unit),
            "expected": _expected(episode),
            "since": wording.clock(alarm["started_at"]),
            "ended": wording.clock(alarm["ended_at"]) if alarm["ended_at"] else texts.STILL,
            "detector": f"{episode.get('detector', '')} {episode.get('detector_version', '')}",
            "aside": wording.aside(alarm) or "–",
            "marks": ", ".join(texts.MARKED.format(who=who, mark=mark) for who, mark in alarm["marks"].items()),
            "members": _members(alarm["members"]),
        }
        for name, text in facts.items():
            self._facts[name].text = text
        self._link(alarm)

    def _link(self, alarm: dict[str, Any]) -> None:
        start, end = _around(alarm)
        sensor = {"device": alarm["device_id"], "metric": alarm["metric"]}
        self._live.props["href"] = f"/?{urlencode(sensor)}"
        self._list.props["href"] = f"/alarms?{urlencode({'asset': alarm['asset_id']})}"
        query = {"var-sensor": f"{alarm['device_id']}/{alarm['metric']}", "from": start, "to": end}
        self._grafana.props["href"] = f"{self._window.grafana}/d/fieldstream-sensor?{urlencode(query)}"
        self._grafana.set_visibility(bool(self._window.grafana))
        for link in (self._live, self._list, self._grafana):
            link.update()

    async def _trust(self, alarm: dict[str, Any]) -> None:
        start, end = _around(alarm)
        query = {"device_id": alarm["device_id"], "metric": alarm["metric"], "from": start, "to": end}
        found = await self._window.person.get("/trust", **query)
        self._trusted = time.monotonic()
        words = texts.VERDICTS[found["verdict"]]
        self._facts["trust"].text = ": ".join([words, "; ".join(found["reasons"])] if found["reasons"] else [words])
        self._facts["trust"].classes(replace=f"fs-sign is-{_VERDICTS.get(found['verdict'], 'unknown')}")

    async def _draw(self, alarm: dict[str, Any], episode: dict[str, Any]) -> None:
        self._chart.set_visibility(bool(alarm["metric"]))
        self._no_chart.text = "" if alarm["metric"] else texts.NO_COURSE
        if not alarm["metric"]:
            return
        start, end = _around(alarm)
        span = Span(datetime.fromtimestamp(start / 1000, UTC), datetime.fromtimestamp(end / 1000, UTC))
        store = self._window.gatherer.store
        try:
            series = await load_series(store, alarm["device_id"], alarm["metric"], span, _POINTS)
        except ClickHouseError:
            return  # the top says that the store is away; the chart of before stays
        theme = chart.DARK if self._window.dark.value else chart.LIGHT
        shown = {"started_at": _iso(alarm["started_at"]), "ended_at": _iso(alarm["ended_at"])}
        options = chart.options(series, episode, [shown | {"severity": alarm["severity"]}], (start, end), theme)
        chart.add_expected(options, episode, theme)
        if options != self._chart.options:
            self._chart.options.clear()
            self._chart.options.update(options)
            self._chart.update()


def _members(members: list[str]) -> str:
    names = ", ".join(members[:_NAMED]) + (" …" if len(members) > _NAMED else "")
    return texts.MEMBERS.format(count=len(members), names=names) if members else ""


def _expected(episode: dict[str, Any]) -> str:
    low, high, unit = episode.get("expected_low"), episode.get("expected_high"), episode.get("unit")
    if low is not None and high is not None:
        return texts.BETWEEN.format(low=wording.value(low), high=wording.value(high, unit))
    return wording.value(episode.get("expected"), unit)


def _around(alarm: dict[str, Any]) -> tuple[int, int]:
    """The time to show of an alarm, epoch milliseconds: as long before and after as it lasted."""
    now = time.time_ns() // 1_000_000
    start = alarm["started_at"] or now
    end = alarm["ended_at"] or now
    around = max(_AROUND_MS, end - start)
    return start - around, min(now, end + around)


def _iso(epoch_ms: int | None) -> str | None:
    return None if epoch_ms is None else datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat()


def _moment(moment: dict[str, Any]) -> list[tables.Cell]:
    until = texts.UNTIL.format(time=wording.clock(moment["until"])) if moment["until"] else ""
    words = ", ".join(word for word in (moment["comment"], until) if word)
    return [
        wording.clock(moment["at"]),
        moment["who"] or texts.DETECTION,
        texts.DEEDS.get(moment["action"], moment["action"]),
        words,
    ]


def _mate(mate: dict[str, Any]) -> list[tables.Cell]:
    name = mate["label"] or wording.sensor(mate["device_id"], mate["metric"])
    silent = mate["age_s"] is None
    alarm: tables.Cell = tables.Sign(texts.MATE_WELL, "ok")
    if mate["severity"]:
        alarm = tables.incident(mate["alarm_id"], texts.SEVERITIES.get(mate["severity"], mate["severity"]))
    elif silent:
        alarm = tables.Sign(texts.MATE_SILENT, "unknown")
    link = f"/?{urlencode({'device': mate['device_id'], 'metric': mate['metric']})}"
    value = "–" if silent else wording.value(mate["value"], mate["unit"])
    return [tables.Link(name, link), value, alarm]


def _earlier(one: dict[str, Any]) -> list[tables.Cell]:
    length = wording.age((one["ended_at"] - one["started_at"]) / 1000) if one["ended_at"] else texts.STILL
    said = "; ".join(one["comments"])
    return [
        tables.incident(one["alarm_id"], wording.clock(one["started_at"])),
        length,
        tables.severity(one["severity"]),
        one["reason"],
        said,
    ]
