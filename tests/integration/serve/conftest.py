"""A shift with everything it works with for each module, so that none sees what another did; one browser for all."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from integration.serve.lifelike import Exporter
from integration.serve.shift import Shift, on_shift
from integration.store.rig import Store, eventually
from playwright.sync_api import Browser, Page, expect, sync_playwright


@dataclass
class Scene:
    """A running store, plant and Prometheus."""

    store: Store
    plant: Exporter
    prometheus: str
    mailbox: str


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shift]:
    with on_shift(tmp_path_factory.mktemp("shift")) as running:
        yield running


@pytest.fixture(scope="module")
def scene(shift: Shift) -> Scene:
    def stored() -> bool:
        with shift.store.client() as clickhouse:
            return bool(clickhouse.value("SELECT count() FROM fieldstream.anomalies") >= 4)

    eventually(stored, what="the loader has brought the anomalies")
    return Scene(shift.store, shift.plant, shift.settings.prometheus, shift.settings.mailbox)


CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MS = 30_000
_ARGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=_ARGS)
        yield launched
        launched.close()


class Visitor:
    """One person's browser window on the console; errors of its scripts fail the test."""

    def __init__(self, browser: Browser, shift: Shift, role: str = "", **options: Any) -> None:
        self._context = browser.new_context(**({"viewport": {"width": 1440, "height": 900}} | options))
        self.url = shift.url
        if role:
            cookie = {"name": "fieldstream-token", "value": shift.tokens[role], "url": shift.url}
            self._context.add_cookies([cookie])  # type: ignore[list-item]
        self.page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.troubles: list[str] = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))

    def open(self, path: str) -> Page:
        """The page, once its content is there."""
        self.page.goto(f"{self.url}{path}")
        self.page.locator(".fs-panel:visible").first.wait_for()
        return self.page

    def leave(self) -> None:
        """Closes the window."""
        self._context.close()
        assert self.troubles == []


@pytest.fixture
def operator(browser: Browser, shift: Shift) -> Iterator[Visitor]:
    visitor = Visitor(browser, shift, "operator")
    yield visitor
    visitor.leave()
