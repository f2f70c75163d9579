"""The status page as an installer sees it: on a phone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from integration.edge.parts import GatewayProcess, Kafka, Mosquitto, Registry
from integration.edge.test_gateway_on_real_parts import publish, readings
from playwright.sync_api import expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
PHONE = {"width": 360, "height": 640}

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed")


def test_page_fits_a_phone_and_says_what_is_wrong_and_when_it_is_right(
    parts: tuple[Mosquitto, Kafka, Registry], gateway_for: Callable[..., GatewayProcess], prefix: str, tmp_path: Path
) -> None:
    gateway = gateway_for(f"sensors/{prefix}/#", mqtt="mqtt://a-host-name-that-is-rather-long-and-not-there.invalid")
    gateway.start(ready=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=PHONE, is_mobile=True, has_touch=True)  # type: ignore[arg-type]
        page.set_default_timeout(20_000)

        def look(name: str) -> None:
            page.screenshot(path=str(tmp_path / f"{name}.png"))
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

        page.goto(f"http://127.0.0.1:{gateway.port}/", wait_until="domcontentloaded")
        expect(page.get_by_text("No readings are accepted at the moment")).to_be_in_viewport()
        expect(page.get_by_text("Name or service not known").or_(page.get_by_text("name resolution"))).to_be_visible()
        look("wrong")
        gateway.stop()
        gateway.config.write_text(
            gateway.config.read_text().replace(
                "mqtt://a-host-name-that-is-rather-long-and-not-there.invalid", parts[0].url
            )
        )
        gateway.start()
        publish(parts[0].port, f"sensors/{prefix}/t", [*readings(1200), "x"])
        gateway.wait_drained()
        page.goto(f"http://127.0.0.1:{gateway.port}/", wait_until="domcontentloaded")
        expect(page.get_by_text("Everything works")).to_be_in_viewport()
        expect(page.get_by_role("row", name="Readings accepted").get_by_text("1,200")).to_be_in_viewport()
        look("right")
        browser.close()
