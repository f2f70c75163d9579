"""The console in Chromium, with a watch in hand."""

import statistics
import time
from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# A click on the first alarm's box, until the box shows it.
_CHOOSE = """() => new Promise(done => {
    const box = document.querySelector('tbody [role=checkbox]'), before = box.getAttribute('aria-checked');
    const began = performance.now();
    const look = () => box.getAttribute('aria-checked') !== before || !box.isConnected
        ? done(performance.now() - began) : requestAnimationFrame(look);
    box.click();
    requestAnimationFrame(look);
})"""


class Console:
    """One person at the alarm list."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGS)
        self._page = self._open()

    def close(self) -> None:
        """Ends the browser."""
        self._browser.close()
        self._playwright.stop()

    def first_view_s(self, times: int = 5) -> float:
        """From nothing to the list with its alarms, by somebody who was here before: the median."""
        return round(statistics.median(self._timed(self._view) for _ in range(times)), 3)

    def change_of_page_s(self, times: int = 5) -> float:
        """From the board to the list, by its link: the median."""
        found = []
        for _ in range(times):
            self._page.goto(f"{self._url}/")
            self._page.locator("a[href='/alarms']").first.wait_for()
            time.sleep(1)  # until its data are there too
            found.append(self._timed(self._to_the_list))
        return round(statistics.median(found), 3)

    def shown_after_s(self, device: str, happen: Callable[[], object]) -> float:
        """From the moment when `happen` returns until the list shows the device."""
        happen()
        began = time.monotonic()
        self._page.locator("tbody tr").filter(has_text=f"{device} ").first.wait_for(timeout=20_000)
        return time.monotonic() - began

    def action_ms(self) -> float:
        """From a click on an alarm until it shows as chosen."""
        elapsed: float = self._page.evaluate(_CHOOSE)
        return elapsed

    def axe(self, paths: list[str]) -> dict[str, float]:
        """What axe finds on these pages, dark and light."""
        impacts: list[str] = []
        page = self._open()
        for light in "01":
            page.context.add_cookies([{"name": "fieldstream-light", "value": light, "url": self._url}])
            for path in paths:
                page.goto(f"{self._url}{path}")
                page.locator(".fs-panel:visible").first.wait_for()
                time.sleep(1)  # for what comes with the first answer
                impacts += [one["impact"] for one in Axe().run(page).response["violations"]]
        page.close()
        serious = sum(impact in ("serious", "critical") for impact in impacts)
        return {"axe_serious_or_worse": serious, "axe_of_any_kind": len(impacts)}

    def _open(self) -> Page:
        page = self._browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{self._url}/alarms")
        return page

    def _view(self) -> None:
        self._page.goto(f"{self._url}/alarms")
        self._page.locator("tbody [role=checkbox]").first.wait_for()

    def _to_the_list(self) -> None:
        self._page.locator("a[href='/alarms']").first.click()
        self._page.locator("tbody [role=checkbox]").first.wait_for()

    @staticmethod
    def _timed(what: Callable[[], None]) -> float:
        began = time.monotonic()
        what()
        return time.monotonic() - began
