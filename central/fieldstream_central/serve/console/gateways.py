"""The gateways: whether they live, how complete their data are, how long their disks last, clock and certificate."""

import time
from typing import Any

from nicegui import ui

from fieldstream_central.serve.console import parts, tables, texts, wording
from fieldstream_central.serve.console.board import Board
from fieldstream_central.serve.console.frame import TICK_S, Window
from fieldstream_central.store.audit import Completeness

# A heartbeat comes every 10 s. Below so many hours of buffer, or days of certificate, somebody should act.
_SILENT_S = 60.0
_HOURS_LEFT, _HOURS_URGENT = 24.0, 4.0
_CLOCK_MS = 1000.0
_DAYS_LEFT = 14


def gateways(window: Window) -> None:
    """The page."""
    with ui.element("section").classes("fs-panel fs-wide"):
        parts.heading(texts.GATEWAYS, texts.GATEWAYS_HINT)
        table = tables.Table(texts.GATEWAY_COLUMNS, texts.GATEWAYS_NONE, texts.GATEWAYS)
    with ui.element("section").classes("fs-panel fs-wide"):
        completeness = parts.CompletenessLines()

    def show() -> None:
        board = window.gatherer.board
        table.show([row(gateway, board) for gateway in board.gateways])
        completeness.show(board)

    show()
    ui.timer(TICK_S, show)


def row(gateway: dict[str, Any], board: Board) -> list[tables.Cell]:
    """One gateway's cells, from its newest heartbeat."""
    age_s = time.time() - wording.moment(gateway["ts"]).timestamp()
    silent = age_s > _SILENT_S
    state = tables.Sign(texts.SILENT if silent else gateway["state"], "bad" if silent else "ok")
    return [
        gateway["gateway_id"],
        state,
        texts.AGO.format(age=wording.age(age_s)),
        _complete([one for one in board.completeness if one.gateway_id == gateway["gateway_id"]]),
        _waiting(gateway),
        _buffer(gateway["spool_hours_left"]),
        _clock(gateway["clock_offset_ms"]),
        _certificate(gateway["certificate_days"]),
        texts.GB.format(size=gateway["disk_free_bytes"] / 1e9),
        gateway["version"],
    ]


def _complete(epochs: list[Completeness]) -> tables.Cell:
    missing = sum(one.missing for one in epochs)
    if not epochs:
        return tables.Sign(texts.NOT_KNOWN, "unknown")
    if missing:
        return tables.Sign(texts.MISSING.format(count=wording.number(missing)), "bad")
    return tables.Sign(texts.COMPLETE, "ok")


def _waiting(gateway: dict[str, Any]) -> str:
    if not gateway["spool_readings"]:
        return texts.NOTHING_WAITS
    age = wording.age(gateway["spool_oldest_age_s"])
    return texts.WAITING_SINCE.format(count=wording.number(gateway["spool_readings"]), age=age)


def _buffer(hours: float | None) -> tables.Cell:
    if hours is None:
        return tables.Sign(texts.NOT_KNOWN, "unknown")
    state = "bad" if hours < _HOURS_URGENT else "warn" if hours < _HOURS_LEFT else "ok"
    return tables.Sign(wording.age(hours * 3600), state)


def _clock(offset_ms: float | None) -> tables.Cell:
    if offset_ms is None:
        return tables.Sign(texts.NOT_KNOWN, "unknown")
    return tables.Sign(texts.OFFSET.format(ms=offset_ms), "ok" if abs(offset_ms) < _CLOCK_MS else "warn")


def _certificate(days: int | None) -> tables.Cell:
    if days is None:
        return tables.Sign(texts.NO_CERTIFICATE, "unknown")
    state = "bad" if days < 0 else "warn" if days < _DAYS_LEFT else "ok"
    return tables.Sign(texts.DAYS.format(count=days) if days >= 0 else texts.EXPIRED, state)
