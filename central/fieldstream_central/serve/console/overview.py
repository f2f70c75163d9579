"""Sites and their assets at a glance: what is wrong now, and whether all sensors report."""

from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from fieldstream_central.serve.console import parts, texts
from fieldstream_central.serve.console.frame import TICK_S, Window

_WORST = ("critical", "warning", "info")


class Sites:
    """Every site with a tile for each asset, what is wrong first."""

    def __init__(self) -> None:
        self._shown: object = None
        self._only_wrong = False
        with parts.heading(texts.OVERVIEW, texts.OVERVIEW_HINT):
            ui.checkbox(texts.ONLY_WRONG, on_change=lambda event: self._filter(event.value)).props("dense")
            self._sum = ui.label().classes("fs-badge").props('role="status"')
        self._body = ui.element("div").classes("fs-sites")

    def _filter(self, only: bool) -> None:
        self._only_wrong = only

    def show(self, assets: list[dict[str, Any]]) -> None:
        """Built anew only when something differs."""
        if self._shown == (assets, self._only_wrong):
            return
        self._shown = (assets, self._only_wrong)
        wrong = sum(_state(asset) != "ok" for asset in assets)
        self._sum.text = texts.ASSETS_WRONG.format(wrong=wrong, all=len(assets)) if wrong else texts.ASSETS_WELL
        self._sum.classes(replace=f"fs-badge {'is-bad' if wrong else 'is-ok'}")
        sites: dict[str, list[dict[str, Any]]] = {}
        for asset in assets:
            if not self._only_wrong or _state(asset) != "ok":
                sites.setdefault(" / ".join(filter(None, (asset["site"], asset["area"]))), []).append(asset)
        self._body.clear()
        with self._body:
            if not assets:
                ui.label(texts.ASSETS_NONE).classes("fs-empty")
            for name, its in sorted(sites.items()):
                self._site(name or texts.NO_SITE, its)

    @staticmethod
    def _site(name: str, assets: list[dict[str, Any]]) -> None:
        with ui.element("section").classes("fs-site"):
            ui.label(name).classes("fs-site-name").props('role="heading" aria-level="3"')
            with ui.element("ul").classes("fs-tiles"):
                for asset in sorted(assets, key=lambda one: (_rank(one), one["asset_id"])):
                    _tile(asset)


def _tile(asset: dict[str, Any]) -> None:
    state = _state(asset)
    target = f"/alarms?{urlencode({'asset': asset['asset_id']})}"
    with ui.element("li"), ui.link(target=target).classes(f"fs-tile is-{state}"):
        with ui.element("div").classes("fs-tile-head"):
            ui.element("span").classes("fs-dot")
            ui.label(asset["asset_id"]).classes("fs-tile-name")
            ui.label(asset["asset_type"]).classes("fs-hint")
        ui.label(_wrong(asset)).classes("fs-tile-alarm")
        ui.label(texts.REPORTING.format(**asset)).classes("fs-note")


def _wrong(asset: dict[str, Any]) -> str:
    counts = [texts.COUNTED.format(count=asset[name], what=texts.SEVERITIES[name]) for name in _WORST if asset[name]]
    return f"{', '.join(counts)}: {asset['reason']}" if counts else texts.ASSET_WELL


def _state(asset: dict[str, Any]) -> str:
    if asset["critical"]:
        return "bad"
    if asset["warning"] or asset["reporting"] < asset["sensors"]:
        return "warn" if asset["reporting"] or asset["warning"] else "unknown"
    return "ok"


def _rank(asset: dict[str, Any]) -> int:
    return ("bad", "warn", "unknown", "ok").index(_state(asset))


def overview(window: Window) -> None:
    """The page."""
    with ui.element("section").classes("fs-panel fs-wide"):
        sites = Sites()

    def show() -> None:
        sites.show(window.gatherer.board.assets)

    show()
    ui.timer(TICK_S, show)
