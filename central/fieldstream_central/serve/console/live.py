"""The live board: the way of a reading, one sensor's chart, alarms, completeness, notifications."""

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

from nicegui import ui

from fieldstream_central.serve.api.models import Series
from fieldstream_central.serve.api.params import Span
from fieldstream_central.serve.console import chart, parts, texts, wording
from fieldstream_central.serve.console.board import Board, Gatherer
from fieldstream_central.serve.console.frame import TICK_S, Window
from fieldstream_central.serve.series import load_series
from fieldstream_central.store.clickhouse import ClickHouseError

log = logging.getLogger("fieldstream.console")

_CHART_EVERY_S = 2.0
_POINTS = 1000


class SensorChart:
    """The live chart with its choice of sensor and range."""

    def __init__(self, gatherer: Gatherer, dark: ui.dark_mode, chosen: tuple[str, str] | None) -> None:
        self._gatherer = gatherer
        self._dark = dark
        self._chosen = chosen
        self._due = 0.0
        self._busy = False
        with ui.row().classes("fs-heading"):
            self._select = ui.select({}, with_input=True, on_change=self._changed).classes("fs-select")
            self._select.props(f'dense outlined options-dense aria-label="{texts.SENSOR}"')
            self._range = ui.toggle(list(texts.RANGES), value="15 min", on_change=self.refresh_soon)
            self._range.classes("fs-range").props("dense unelevated no-caps")
        with ui.row().classes("fs-now"):
            self._value = ui.label("–").classes("fs-value")
            self._name = ui.label().classes("fs-value-name")
            self._resolution = ui.label().classes("fs-hint")
        self._chart = ui.echart({"series": []}).classes("fs-chart")
        self._empty = ui.label(texts.NO_SENSORS).classes("fs-empty")

    def choose(self, device_id: str, metric: str) -> None:
        """Shows this sensor; of a device alone its first sensor."""
        for sensor in self._gatherer.board.sensors:
            if sensor["device_id"] == device_id and metric in ("", sensor["metric"]):
                self._select.value = _key(sensor)
                return

    def refresh_soon(self) -> None:
        """The next tick draws."""
        self._due = 0.0

    def _changed(self) -> None:
        self.refresh_soon()
        if self._select.value:
            device_id, _, metric = self._select.value.partition("/")
            query = json.dumps({"device": device_id, "metric": metric})
            address = f"'?' + new URLSearchParams({query})"
            # The person may have gone to another page meanwhile; its address is not ours.
            ui.run_javascript(f"if (location.pathname === '/') history.replaceState(null, '', {address})")

    def _offer(self, board: Board) -> None:
        names = {_key(sensor): _name(sensor) for sensor in board.sensors}
        if names == self._select.options:
            return
        value = self._select.value or self._first(board)
        self._select.set_options(names, value=value if value in names else next(iter(names), None))

    def _first(self, board: Board) -> str | None:
        """What the link names, else the first sensor with an active alarm, else the first."""
        wanted = [f"{self._chosen[0]}/{self._chosen[1]}"] if self._chosen else []
        wanted += [f"{alarm['device_id']}/{alarm['metric']}" for alarm in board.alarms if alarm["state"] != "close"]
        known = {_key(sensor) for sensor in board.sensors}
        return next((key for key in wanted if key in known), None)

    async def show(self, board: Board) -> None:
        """Draws anew every two seconds; one question at a time."""
        self._offer(board)
        sensor = next((one for one in board.sensors if _key(one) == self._select.value), None)
        self._empty.set_visibility(sensor is None)
        self._chart.set_visibility(sensor is not None)
        if sensor is None or self._busy or time.monotonic() < self._due:
            return
        self._busy = True
        try:
            await self._draw(board, sensor)
            self._due = time.monotonic() + _CHART_EVERY_S
        except ClickHouseError as error:
            log.debug("chart: %s", error)
        finally:
            self._busy = False

    async def _draw(self, board: Board, sensor: dict[str, Any]) -> None:
        length = texts.RANGES[str(self._range.value)]
        now = time.time()
        span = Span(datetime.fromtimestamp(now - length, UTC), datetime.fromtimestamp(now, UTC))
        series = await load_series(self._gatherer.store, sensor["device_id"], sensor["metric"], span, _POINTS)
        episodes = [
            alarm
            for alarm in board.alarms
            if alarm["device_id"] == sensor["device_id"] and alarm["metric"] in ("", sensor["metric"])
        ]
        theme = chart.DARK if self._dark.value else chart.LIGHT
        bounds = (int((now - length) * 1000), int(now * 1000))
        self._chart.options.clear()
        self._chart.options.update(chart.options(series, sensor, episodes, bounds, theme))
        self._chart.update()
        self._headline(series, sensor)

    def _headline(self, series: Series, sensor: dict[str, Any]) -> None:
        last = series.points[-1] if series.points else None
        self._value.text = wording.value(last.mean if last else None, sensor["unit"])
        self._name.text = _name(sensor)
        if last is None:
            self._resolution.text = texts.NO_POINTS
        elif not series.resolution_s:
            self._resolution.text = texts.RESOLUTION_RAW
        else:
            self._resolution.text = texts.RESOLUTION.format(width=wording.age(series.resolution_s))


def _key(sensor: dict[str, Any]) -> str:
    return f"{sensor['device_id']}/{sensor['metric']}"


def _name(sensor: dict[str, Any]) -> str:
    label = str(sensor["label"] or "")
    return label or f"{sensor['device_id']} · {sensor['metric']}"


def live(window: Window, device: str | None = None, metric: str | None = None) -> None:
    """The live board; a link may name a sensor."""
    board = window.gatherer.board
    with ui.element("div").classes("fs-main"):
        with ui.element("section").classes("fs-panel fs-panel-way"):
            parts.heading(texts.WAY, texts.WAY_HINT)
            way = parts.Way()
        with ui.element("section").classes("fs-panel fs-panel-chart"):
            sensor_chart = SensorChart(window.gatherer, window.dark, (device, metric or "") if device else None)
        with ui.element("section").classes("fs-panel fs-panel-alarms"):
            alarms = parts.Alarms(sensor_chart.choose)
        with ui.element("section").classes("fs-panel fs-panel-complete"):
            completeness = parts.CompletenessLines()
        with ui.element("section").classes("fs-panel fs-panel-sent"):
            notifications = parts.Notifications()
    window.dark.on_value_change(sensor_chart.refresh_soon)

    def show() -> None:
        for part in (way, alarms, completeness, notifications):
            part.show(board)

    async def tick() -> None:
        show()
        await sensor_chart.show(board)

    show()  # the first view has figures already
    ui.timer(TICK_S, tick)
