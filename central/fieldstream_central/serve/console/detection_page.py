"""Detection's settings: what people thought of its alarms, and what other settings would have changed."""

from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from fieldstream_central.serve.console import parts, tables, texts, wording
from fieldstream_central.serve.console.frame import ApiPart, Window

_EVERY_S = 2.0
_SHOWN = 50


class DetectionPage:
    """One window's page. `sensor`: the one that a link offers to try settings for."""

    def __init__(self, window: Window, *, sensor: str = "") -> None:
        self._window = window
        self._in_force: dict[str, Any] = {}
        self._shown: object = None
        with ui.element("section").classes("fs-panel fs-wide"):
            parts.heading(texts.FEEDBACK, texts.FEEDBACK_HINT)
            self._feedback = tables.Table(texts.FEEDBACK_COLUMNS, texts.FEEDBACK_NONE, texts.FEEDBACK)
        with ui.element("section").classes("fs-panel fs-wide"):
            parts.heading(texts.TRY, texts.TRY_HINT)
            self._part = ApiPart(window, self._ask)
            self._form(sensor)
            self._trials = ui.element("div").classes("fs-list fs-trials")
        with ui.element("section").classes("fs-panel fs-wide"):
            parts.heading(texts.IN_FORCE, texts.IN_FORCE_HINT)
            self._settings = tables.Table(texts.SETTING_COLUMNS, "", texts.IN_FORCE)
        ui.timer(_EVERY_S, self._part.show)

    def _form(self, sensor: str) -> None:
        with ui.element("div").classes("fs-actions") as self._fields:
            self._layer = ui.select(texts.LAYERS, value="sensor" if sensor else "all", label=texts.FOR)
            self._name = ui.select(self._names(), label=texts.WHICH, with_input=True)
            self._name.bind_visibility_from(self._layer, "value", backward=lambda layer: layer != "all")
            self._setting = ui.select(list(texts.SETTINGS), value=next(iter(texts.SETTINGS)), label=texts.SETTING)
            self._value = ui.number(texts.VALUE, min=0)
            self._hours = ui.select(texts.TRIAL_LENGTHS, value=24, label=texts.LENGTH)
            assets = sorted({one["asset_id"] for one in self._window.gatherer.board.sensors if one["asset_id"]})
            self._asset = ui.select({"": texts.ALL_ASSETS} | {one: one for one in assets}, value="", label=texts.ASSET)
            for field in (self._layer, self._name, self._setting, self._value, self._hours, self._asset):
                field.props("dense outlined options-dense").classes("fs-length")
            ui.button(texts.TRY, on_click=self._try).props("unelevated dense no-caps").classes("fs-action")
        self._about = ui.label().classes("fs-hint")
        self._layer.on_value_change(lambda: self._name.set_options(self._names(), value=None))
        self._setting.on_value_change(self._explain)
        if sensor in self._name.options:
            self._name.value = sensor
        self._fields.set_visibility(False)

    def _names(self) -> list[str]:
        """What the layer may be about."""
        sensors = self._window.gatherer.board.sensors
        names = {
            "sensor": {f"{one['device_id']}/{one['metric']}" for one in sensors},
            "metric": {one["metric"] for one in sensors},
            "asset_type": {one["asset_type"] for one in self._window.gatherer.board.assets},
        }
        return sorted(names.get(str(self._layer.value), set()))

    def _explain(self) -> None:
        name = str(self._setting.value)
        now = self._in_force.get("all", {}).get(name)
        words = texts.SETTINGS[name]
        self._about.text = words if now is None else texts.NOW_IT_IS.format(words=words, value=now)

    async def _try(self) -> None:
        if self._value.value is None or (self._layer.value != "all" and not self._name.value):
            ui.notify(texts.TRY_WHAT, type="negative")
            return
        asked = {
            "layer": self._layer.value,
            "name": self._name.value or "" if self._layer.value != "all" else "",
            "settings": {self._setting.value: self._value.value},
            "asset_id": self._asset.value,
            "hours": self._hours.value,
        }
        await self._part.do("POST", "/detection/comparisons", texts.TRYING, json=asked)

    async def _ask(self) -> None:
        person = self._window.person
        if not self._in_force:
            self._in_force = await person.get("/detection/settings")
            self._settings.show(_layers(self._in_force))
            self._explain()
        self._fields.set_visibility(person.may_act)
        self._feedback.show([_marks(one) for one in (await person.get("/alarms/feedback"))[:_SHOWN]])
        trials = await person.get("/detection/comparisons")
        if trials == self._shown:
            return
        self._shown = trials
        self._trials.clear()
        with self._trials:
            for trial in trials:
                _trial(trial)


def _marks(one: dict[str, Any]) -> list[tables.Cell]:
    sensor = f"{one['device_id']}/{one['metric']}"
    unwanted = one["false"] + one["expected"] > one["useful"]
    offer: tables.Cell = "–"
    if unwanted:
        offer = tables.Link(texts.TRY_QUIETER, f"/detection?{urlencode({'sensor': sensor})}")
    counts = [str(one[name]) for name in ("episodes", "useful", "false", "expected")]
    return [tables.incident(one["alarm_id"]), *counts, offer]


def _layers(settings: dict[str, Any]) -> list[list[tables.Cell]]:
    rows: list[list[tables.Cell]] = [
        [texts.LAYERS["all"], name, _value(value), _value(settings["defaults"][name])]
        for name, value in settings["all"].items()
        if value != settings["defaults"][name] or name == "false_alarms_per_sensor_day"
    ]
    for layer, names in settings["layers"].items():
        for about, values in names.items():
            rows += [[f"{texts.LAYERS[layer]} {about}", name, _value(value), "–"] for name, value in values.items()]
    return rows


def _value(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else f"{value}"


def verdict(trial: dict[str, Any]) -> str:
    """What a trial found, in a sentence."""
    if trial["state"] != "done":
        return str(trial["detail"]) or texts.TRIAL_RUNS
    found = trial["verdict"]
    return texts.VERDICT.format(
        removed=found["removed"],
        added=found["added"],
        before=found["before"],
        missed=found["missed"],
        useful=found["useful"],
        avoided=found["avoided"],
        unwanted=found["unwanted"],
    )


def _trial(trial: dict[str, Any]) -> None:
    asked = trial["asked"]
    settings = ", ".join(f"{name} = {value}" for name, value in asked["settings"].items())
    about = " ".join(word for word in (texts.LAYERS[asked["layer"]], asked["name"]) if word)
    length = wording.age(asked["hours"] * 3600)
    with ui.element("div").classes("fs-work"):
        with ui.element("div").classes("fs-alarm-head"):
            ui.label(f"{about}: {settings}").classes("fs-alarm-sensor")
            ui.label(texts.TRIED.format(who=trial["who"], length=length)).classes("fs-alarm-time")
        ui.label(verdict(trial)).classes("fs-reason")
        if trial["state"] != "done":
            return
        changes = trial["verdict"]["changes"]
        if changes:
            with ui.expansion(texts.WHICH_ONES).props("dense"):
                tables.Table(texts.CHANGE_COLUMNS, "", texts.WHICH_ONES).show([_change(one) for one in changes])
        with ui.expansion(texts.INTO_SHADOW).props("dense"):
            ui.code(trial["toml"], language="toml").classes("fs-code")


def _change(one: dict[str, Any]) -> list[tables.Cell]:
    sign = tables.Sign(texts.CHANGES[one["change"]], "ok" if one["change"] == "removed" else "warn")
    sensor = wording.sensor(one["device_id"], one["metric"])
    return [sign, wording.clock(one["detected_at"]), sensor, tables.severity(one["severity"]), one["reason"]]
