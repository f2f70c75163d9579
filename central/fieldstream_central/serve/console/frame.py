"""What all pages share: the top with its navigation, and how a page asks the API over and over."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from nicegui import ui

from fieldstream_central.serve.console import parts, texts
from fieldstream_central.serve.console.board import Gatherer
from fieldstream_central.serve.console.person import Person, SignIn, said

HERE = Path(__file__).parent
LIGHT_COOKIE = "fieldstream-light"
TICK_S = 1.0
BUTTONS = "#0b6e99"  # white text on it has a contrast of 5.5


@dataclass(frozen=True)
class Window:
    """What a page of one browser window needs."""

    gatherer: Gatherer
    person: Person
    dark: ui.dark_mode
    grafana: str
    by_provider: bool = False  # whether an OpenID provider signs people in


class Top:
    """The top of a window: navigation, whether data are of now, who is signed in, light or dark."""

    def __init__(self, window: Window, path: str) -> None:
        self._window = window
        ui.link(texts.SKIP, "#content").classes("fs-skip")
        with ui.element("header").classes("fs-top"):
            ui.html(_MARK, sanitize=False).classes("fs-mark")
            ui.label(texts.TITLE).classes("fs-brand").props('role="heading" aria-level="1"')
            self._freshness = parts.Freshness()
            self._sign_in = SignIn(window.person, by_provider=window.by_provider)
            toggle = ui.button(icon="contrast", color=None).props(f'flat round dense aria-label="{texts.LIGHT_DARK}"')
            toggle.classes("fs-toggle").on_click(self._light_or_dark)
            with ui.element("nav").classes("fs-nav").props(f'aria-label="{texts.PAGES}"'):
                self._links = {target: ui.link(text, target) for target, text in texts.NAVIGATION.items()}
        self.at(path)
        self._freshness.show(window.gatherer.board)
        ui.timer(TICK_S, self._tick)

    def at(self, path: str) -> None:
        """Marks the page that is shown."""
        here = path.partition("?")[0]
        here = "/alarms" if here.startswith("/incident") else here
        for target, link in self._links.items():
            if here == target:
                link.props("aria-current=page")
            else:
                link.props(remove="aria-current")
        ui.page_title(f"{texts.NAVIGATION.get(here, texts.TITLE)} · {texts.TITLE}")
        self._sign_in.come_back_to(path)

    def _light_or_dark(self) -> None:
        self._window.dark.toggle()
        light = int(not self._window.dark.value)
        ui.run_javascript(f"document.cookie = '{LIGHT_COOKIE}={light}; path=/; max-age=31536000; samesite=strict'")

    async def _tick(self) -> None:
        self._freshness.show(self._window.gatherer.board)
        await self._sign_in.show()


class ApiPart:
    """A part of a page that shows what the API answers; what cannot be asked is said, and what was known stays."""

    def __init__(self, window: Window, ask: Callable[[], Awaitable[None]]) -> None:
        self._window = window
        self._ask = ask
        self._busy = False
        self._problem = ui.label().classes("fs-problem").props('role="status"')

    async def show(self) -> None:
        """Asks and shows, one question at a time."""
        if self._busy:
            return
        self._busy = True
        try:
            await self._window.person.know()
            await self._ask()
            self._problem.text = ""
        except httpx.HTTPError as error:
            self._problem.text = said(error)
        finally:
            self._busy = False

    async def do(self, method: str, path: str, done: str, **request: Any) -> Any:
        """Something that changes; says what became of it. None when it was refused."""
        try:
            answer = (await self._window.person.ask(method, path, **request)).json()
        except httpx.HTTPError as error:
            ui.notify(said(error), type="negative", multi_line=True, timeout=10_000)
            return None
        if done:
            ui.notify(done, type="positive")
        await self.show()
        return answer


_MARK = (
    '<svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true"><path d="M3 21c5 0 5-10 10-10s5 10 10 10 '
    '4-6 6-8" fill="none" stroke="currentColor" stroke-width="3.2" stroke-linecap="round"/></svg>'
)
