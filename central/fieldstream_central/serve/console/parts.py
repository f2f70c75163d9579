"""The parts of the page: each is built once and then shown the board again and again."""

import time
from collections.abc import Callable
from typing import Any

from nicegui import ui

from fieldstream_central.serve.console import texts, wording
from fieldstream_central.serve.console.board import Board
from fieldstream_central.serve.console.hops import Hop, sparkline
from fieldstream_central.store.audit import Completeness

_STALE_S = 10.0
_OLD_S = 60.0
_SHOWN_NOTIFICATIONS = 30


def heading(title: str, hint: str = "") -> ui.row:
    """A section's title; what is put into the row stands at its right."""
    with ui.row().classes("fs-heading") as row:
        ui.label(title).classes("fs-title").props('role="heading" aria-level="2"')
        if hint:
            ui.label(hint).classes("fs-hint")
    return row


def figure(label: str) -> ui.label:
    """One figure of a list of figures; the label that it is written to."""
    with ui.element("div"):
        with ui.element("dt"):
            ui.label(label)
        with ui.element("dd"):
            return ui.label("–")


def name_checkboxes(table: ui.table) -> None:
    """Says to a screen reader what the checkboxes of a table are for."""
    for slot, name in (("header-selection", texts.CHOOSE_PAGE), ("body-selection", texts.CHOOSE)):
        table.add_slot(slot, _CHECKBOX.replace("{name}", name))


_CHECKBOX = (
    '<q-checkbox :model-value="props.selected" dense aria-label="{name}" @update:model-value="(value, event) => '
    "Object.getOwnPropertyDescriptor(props, 'selected').set(value, event)\"/>"
)


class Freshness:
    """The pill at the top: whether what the page shows is of now."""

    def __init__(self) -> None:
        with ui.row().classes("fs-fresh").props('role="status"') as self._pill:
            ui.element("span").classes("fs-dot")
            self._word = ui.label().classes("fs-fresh-word")
            self._detail = ui.label().classes("fs-fresh-detail")
        self._state = ""

    def show(self, board: Board) -> None:
        """The newest reading's age decides, and whether the store answers."""
        age = board.reading_age_s()
        if board.store_problem:
            answered = board.store_answered
            detail = texts.LAST_SEEN.format(age=wording.age(time.monotonic() - answered)) if answered else ""
            state, word = "bad", texts.STORE_AWAY
        elif age is None:
            state, word, detail = "unknown", texts.NO_DATA, texts.NEVER
        else:
            detail = texts.NEWEST.format(age=wording.age(age))
            state = "ok" if age < _STALE_S else "warn" if age < _OLD_S else "bad"
            word = texts.LIVE if state == "ok" else texts.STALE
        if state != self._state:
            self._pill.classes(replace=f"fs-fresh is-{state}")
            self._state = state
        self._word.text = word
        self._detail.text = detail


class Way:
    """The row of hops."""

    def __init__(self) -> None:
        self._cards: dict[str, tuple[ui.element, ui.label, ui.label, ui.label, ui.html | None]] = {}
        with ui.element("div").classes("fs-way").props('role="list"'):
            for name, (title, hint) in texts.HOPS.items():
                with ui.element("div").classes("fs-hop is-unknown").props('role="listitem"') as card:
                    with ui.element("div").classes("fs-hop-head"):
                        ui.element("span").classes("fs-dot")
                        ui.label(title).classes("fs-hop-name")
                    with ui.element("div").classes("fs-hop-figure"):
                        figure = ui.label("–").classes("fs-figure")
                        unit = ui.label().classes("fs-unit")
                    note = ui.label(hint).classes("fs-note")
                    live = name in ("gateway", "kafka", "pipeline", "store", "detect")
                    spark = ui.html("", sanitize=False).classes("fs-spark") if live else None
                    card.tooltip(hint)
                self._cards[name] = (card, figure, unit, note, spark)

    def show(self, board: Board) -> None:
        """Every hop's figure, note, state and recent course."""
        for hop in board.hops:
            card, figure, unit, note, spark = self._cards[hop.name]
            figure.text, unit.text, note.text = hop.figure, hop.unit, hop.note
            card.classes(replace=f"fs-hop is-{hop.state} {_flow(hop)}")
            if spark is not None:
                spark.content = sparkline(list(board.rates.get(hop.name, ())))


def _flow(hop: Hop) -> str:
    if not hop.rate or hop.state == "unknown":
        return ""
    return "flows-fast" if hop.rate > 1000 else "flows"


class Alarms:
    """The alarm list, active first; a click shows the sensor."""

    def __init__(self, choose: Callable[[str, str], None]) -> None:
        self._choose = choose
        self._shown: object = None
        with heading(texts.ALARMS):
            self._count = ui.label().classes("fs-badge")
        self._list = ui.element("div").classes("fs-list").props('role="list" tabindex=0')

    def show(self, board: Board) -> None:
        """The list, built anew only when it differs; ages move on every ten seconds."""
        key = [(alarm["anomaly_id"], alarm["revision"], alarm["state"]) for alarm in board.alarms]
        if self._shown == (key, time.time() // 10):
            return
        self._shown = (key, time.time() // 10)
        active = sum(alarm["state"] != "close" for alarm in board.alarms)
        self._count.text = texts.ALARMS_ACTIVE.format(count=active) if active else texts.ALARMS_NONE_ACTIVE
        self._count.classes(replace=f"fs-badge {'is-bad' if active else 'is-ok'}")
        self._list.clear()
        with self._list:
            if not board.alarms:
                ui.label(texts.ALARMS_NONE).classes("fs-empty").props("role=listitem")
            for alarm in board.alarms:
                self._row(alarm)

    def _row(self, alarm: dict[str, Any]) -> None:
        active = alarm["state"] != "close"
        sensor = alarm["label"] or " / ".join(part for part in (alarm["device_id"], alarm["metric"]) if part)
        classes = f"fs-alarm sev-{alarm['severity']} {'' if active else 'is-over'}"
        item = ui.element("div").props("role=listitem").classes("fs-item")
        with item, ui.element("button").classes(classes).props('type="button"') as row:
            row.on("click", lambda: self._choose(alarm["device_id"], alarm["metric"]))
            with ui.element("div").classes("fs-alarm-head"):
                ui.label(alarm["severity"]).classes("fs-sev")
                ui.label(sensor).classes("fs-alarm-sensor")
                ui.label(_alarm_time(alarm)).classes("fs-alarm-time")
            ui.label(alarm["reason"]).classes("fs-alarm-reason")


def _alarm_time(alarm: dict[str, Any]) -> str:
    now = time.time()
    started = wording.moment(alarm["started_at"]).timestamp()
    if alarm["state"] != "close" or not alarm["ended_at"]:
        return texts.ALARM_SINCE.format(age=wording.age(now - started))
    ended = wording.moment(alarm["ended_at"]).timestamp()
    return texts.ALARM_ENDED.format(age=wording.age(now - ended), length=wording.age(ended - started))


class CompletenessLines:
    """One line per gateway: its newest epoch, and whether earlier ones are complete."""

    def __init__(self) -> None:
        heading(texts.COMPLETENESS, texts.COMPLETENESS_HINT)
        self._list = ui.element("div").classes("fs-list").props("tabindex=0")
        self._shown: object = None

    def show(self, board: Board) -> None:
        """Built anew when a figure differs."""
        key = ([item.as_row() for item in board.completeness], time.time() // 5)
        if key == self._shown:
            return
        self._shown = key
        newest: dict[str, Completeness] = {}
        for item in board.completeness:
            newest[item.gateway_id] = max(newest.get(item.gateway_id, item), item, key=lambda one: one.epoch)
        self._list.clear()
        with self._list:
            if not newest:
                ui.label(texts.GATEWAYS_NONE).classes("fs-empty")
            for item in newest.values():
                earlier = [one for one in board.completeness if one.gateway_id == item.gateway_id and one is not item]
                self._line(item, earlier)

    @staticmethod
    def _line(item: Completeness, earlier: list[Completeness]) -> None:
        whole = [*earlier, item]
        good = all(one.complete for one in whole)
        with ui.element("div").classes(f"fs-gateway is-{'ok' if good else 'bad'}"):
            with ui.element("div").classes("fs-alarm-head"):
                ui.element("span").classes("fs-dot")
                ui.label(item.gateway_id).classes("fs-alarm-sensor")
                ui.label(texts.COMPLETE if good else texts.INCOMPLETE).classes("fs-sev")
            share = 100 * (1 - item.missing / item.accepted) if item.accepted else 100
            with ui.element("div").classes("fs-bar").props('aria-hidden="true"'):
                ui.element("div").style(f"width: {share:.2f}%")
            ui.label(item.sentence()).classes("fs-sentence")
            if item.heartbeat:
                beat_age = time.time() - wording.moment(item.heartbeat).timestamp()
                ui.label(texts.HEARTBEAT.format(age=wording.age(beat_age))).classes("fs-note")
            for one in whole:
                if one.missing_ranges:
                    shown = ", ".join(f"{first}-{last}" for first, last in one.missing_ranges[:5])
                    ui.label(texts.MISSING_RANGES.format(ranges=shown)).classes("fs-note")


class Notifications:
    """What was sent to people, the newest first."""

    def __init__(self) -> None:
        heading(texts.NOTIFICATIONS, texts.NOTIFICATIONS_HINT)
        self._list = ui.element("div").classes("fs-list").props('role="list" tabindex=0')
        self._shown: object = None

    def show(self, board: Board) -> None:
        """Built anew when there is another; ages move on every ten seconds."""
        sent = board.notifications
        key = (None if sent is None else len(sent), sent[0] if sent else None, time.time() // 10)
        if key == self._shown:
            return
        self._shown = key
        self._list.clear()
        with self._list:
            if not sent:
                words = texts.MAILBOX_AWAY if sent is None else texts.NOTIFICATIONS_NONE
                ui.label(words).classes("fs-empty").props("role=listitem")
                return
            newest = sorted(sent, key=lambda one: -float(one.get("received_at_ms") or 0))
            for one in newest[:_SHOWN_NOTIFICATIONS]:
                self._row(one)

    @staticmethod
    def _row(one: dict[str, Any]) -> None:
        status = str(one.get("status") or "")
        row = ui.element("div").classes(f"fs-sent {'is-ok' if status == 'resolved' else 'is-bad'}")
        with row.props("role=listitem"):
            icon = "mail" if one.get("channel") == "email" else "webhook"
            ui.icon(icon).classes("fs-icon").tooltip(str(one.get("channel") or ""))
            ui.label(str(one.get("title") or "")).classes("fs-sent-title")
            ui.label(status).classes("fs-sev")
            ui.label(wording.age(time.time() - float(one.get("received_at_ms") or 0) / 1000)).classes("fs-alarm-time")
