"""The console in headless Chromium, as a person uses it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from integration.serve.conftest import Scene
from integration.store.rig import Process, eventually, free_port
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def console(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("console")
    config = folder / "settings.toml"
    config.write_text(
        f'clickhouse = "{scene.store.url}"\nprometheus = "{scene.prometheus}"\nmailbox = "{scene.mailbox}"\n'
    )
    port = free_port()
    program = f"from fieldstream_central.serve.cli import console; console(port={port})"
    process = Process([sys.executable, "-c", program], folder / "log", {"FIELDSTREAM_CONFIG": str(config)})
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: httpx.get(url).status_code == 200, timeout_s=40, what="the console is up")
    yield url
    process.stop()
    assert "fieldstream_central/serve" not in process.output(), "an error of ours in the log"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, console: str) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    opened.set_default_timeout(PATIENCE_MS)
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.goto(console)
    yield opened
    assert troubles == []
    opened.close()


def shown(page: Page, selector: str, text: str | re.Pattern[str]) -> None:
    expect(page.locator(selector).filter(has_text=text).first).to_be_visible(timeout=PATIENCE_MS)


def test_the_page_says_that_it_is_live_and_shows_every_hop_with_its_rate(page: Page) -> None:
    shown(page, ".fs-fresh", "Live")
    assert page.locator(".fs-hop-name").all_inner_texts() == [
        *("Gateway", "Kafka", "Pipeline", "ClickHouse", "Detect", "Alerter", "People")
    ]
    for number in range(5):
        expect(page.locator(".fs-hop").nth(number).locator(".fs-figure")).to_have_text(
            re.compile(r"^[1-9]"), timeout=PATIENCE_MS
        )
    expect(page.locator(".fs-hop.is-ok")).to_have_count(7, timeout=PATIENCE_MS)


def test_active_alarms_come_first_and_choosing_one_shows_its_sensor(page: Page) -> None:
    shown(page, ".fs-badge", "2 active")
    rows = page.locator(".fs-alarm")
    expect(rows.first).to_contain_text("Feed pump 2 temperature")
    expect(rows.nth(3)).to_have_class(re.compile("is-over"))
    expect(page.locator(".fs-value-name")).to_have_text("Feed pump 2 temperature", timeout=PATIENCE_MS)
    rows.nth(1).click()
    expect(page.locator(".fs-value-name")).to_have_text("Compressor B vibration", timeout=PATIENCE_MS)
    assert "device=compressor-b" in page.url


def test_a_link_names_a_sensor_and_the_chart_draws_it(page: Page, console: str) -> None:
    page.goto(f"{console}/?device=mixer&metric=pressure")
    expect(page.locator(".fs-value-name")).to_have_text("Mixer pressure", timeout=PATIENCE_MS)
    expect(page.locator(".fs-value")).to_have_text(re.compile(r"\d bar$"), timeout=PATIENCE_MS)
    expect(page.locator(".fs-chart canvas").first).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_text("1 h", exact=True).click()
    shown(page, ".fs-now", "buckets")


def test_the_completeness_line_names_the_gap_that_was_made(page: Page) -> None:
    east = page.locator(".fs-gateway").filter(has_text="gw-east")
    expect(east).to_contain_text(
        re.compile(r"accepted [\d,]+, stored [\d,]+, missing 1, duplicates 0"), timeout=PATIENCE_MS
    )
    expect(east).to_contain_text("missing seq 501-501")
    expect(page.locator(".fs-gateway").filter(has_text="gw-west")).to_contain_text("missing 0, duplicates 0")


def test_notifications_are_listed_newest_first(page: Page) -> None:
    rows = page.locator(".fs-sent")
    expect(rows).to_have_count(5, timeout=PATIENCE_MS)
    expect(rows.first).to_contain_text("Feed pump 2 temperature above HH")
    expect(rows.nth(3)).to_contain_text("resolved")


def test_a_new_alarm_appears_without_reload(scene: Scene, page: Page) -> None:
    shown(page, ".fs-alarm", "Feed pump 2")
    reason = "Appeared while the page was open <b>not bold</b>"
    scene.plant.plant.anomaly(50, ("chiller", "vibration"), 1e9 + 8e8, severity="warning", reason=reason)
    shown(page, ".fs-alarm", reason)
    assert page.locator(".fs-alarm b").count() == 0
    scene.plant.plant.anomaly(50, ("chiller", "vibration"), 1e9 + 8e8, state="close", ended_at=1e9 + 8e8, revision=2)
    expect(page.locator(".fs-alarm").filter(has_text=reason)).to_have_count(0, timeout=PATIENCE_MS)


def test_a_stopped_job_is_seen_at_its_hop(scene: Scene, page: Page) -> None:
    scene.plant.down.add("detect")
    detect = page.locator(".fs-hop").filter(has_text="Detect")
    expect(detect).to_have_class(re.compile("is-bad"), timeout=PATIENCE_MS)
    expect(detect).to_contain_text("stopped")
    scene.plant.down.clear()
    expect(detect).to_have_class(re.compile("is-ok"), timeout=PATIENCE_MS)


def test_light_and_dark_can_be_switched(page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Switch between light and dark").click()
    page.wait_for_function(f"{background} !== {dark!r}")


def test_nothing_is_fetched_from_elsewhere_and_a_phone_needs_no_sideways_scrolling(
    browser: Browser, console: str
) -> None:
    asked: list[str] = []
    page = browser.new_page(viewport={"width": 390, "height": 844})

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.goto(console)
    expect(page.locator(".fs-alarm").first).to_be_visible(timeout=PATIENCE_MS)
    home = urlsplit(console).netloc
    assert [
        url for url in asked if urlsplit(url).scheme in ("http", "https", "ws") and urlsplit(url).netloc != home
    ] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.close()


def test_it_says_when_the_store_is_away_and_goes_on_when_it_is_back(scene: Scene, page: Page) -> None:
    shown(page, ".fs-fresh", "Live")
    scene.store.process.kill()
    shown(page, ".fs-fresh", "Store does not answer")
    expect(page.locator(".fs-alarm").first).to_be_visible()  # what was known stays
    scene.store.start()
    shown(page, ".fs-fresh", re.compile("Live|Data is old"))


def test_dead_letters_are_found_by_reason_and_read_in_full(page: Page, console: str) -> None:
    page.get_by_role("link", name="Dead letters").click()
    page.wait_for_url(f"{console}/dead-letters")
    rows = page.locator(".fs-letters-table tbody tr")
    expect(rows.first).to_be_visible(timeout=PATIENCE_MS)
    reason = rows.first.locator("td").nth(1).inner_text()
    rows.first.click()
    shown(page, ".fs-letter", reason)
    shown(page, ".fs-letter", "fieldstream dead-letters replay")
    page.keyboard.press("Escape")
    page.get_by_label("Gateway").fill("no-such-gateway")
    shown(page, ".fs-empty", "No dead letters here")
