"""The live board in headless Chromium, as a person uses it."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from integration.serve.conftest import Scene, Visitor
from integration.serve.shift import Shift
from playwright.sync_api import Browser, Page, Request, expect


@pytest.fixture(scope="module")
def console(shift: Shift, scene: Scene) -> Iterator[str]:
    yield shift.url
    assert "fieldstream_central/serve" not in shift.programs["console"].output(), "an error of ours in the log"


@pytest.fixture
def page(browser: Browser, shift: Shift, console: str) -> Iterator[Page]:
    visitor = Visitor(browser, shift, "viewer")
    visitor.page.goto(console)
    yield visitor.page
    visitor.leave()


def shown(page: Page, selector: str, text: str | re.Pattern[str]) -> None:
    expect(page.locator(selector).filter(has_text=text).first).to_be_visible()


def test_the_page_says_that_it_is_live_and_shows_every_hop_with_its_rate(page: Page) -> None:
    shown(page, ".fs-fresh", "Live")
    assert page.locator(".fs-hop-name").all_inner_texts() == [
        *("Gateway", "Kafka", "Pipeline", "ClickHouse", "Detect", "Alerter", "People")
    ]
    for number in range(5):
        expect(page.locator(".fs-hop").nth(number).locator(".fs-figure")).to_have_text(re.compile(r"^[1-9]"))
    expect(page.locator(".fs-hop.is-ok")).to_have_count(7)


def test_active_alarms_come_first_and_choosing_one_shows_its_sensor(page: Page) -> None:
    shown(page, ".fs-badge", re.compile(r"\d+ active"))
    rows = page.locator(".fs-alarm")
    expect(rows.first).to_contain_text("Feed pump 2 temperature")
    expect(rows.nth(3)).to_have_class(re.compile("is-over"))
    expect(page.locator(".fs-value-name")).to_have_text("Feed pump 2 temperature")
    rows.nth(1).click()
    expect(page.locator(".fs-value-name")).to_have_text("Compressor B vibration")
    assert "device=compressor-b" in page.url


def test_a_link_names_a_sensor_and_the_chart_draws_it(page: Page, console: str) -> None:
    page.goto(f"{console}/?device=mixer&metric=pressure")
    expect(page.locator(".fs-value-name")).to_have_text("Mixer pressure")
    expect(page.locator(".fs-value")).to_have_text(re.compile(r"\d bar$"))
    expect(page.locator(".fs-chart canvas").first).to_be_visible()
    page.get_by_text("1 h", exact=True).click()
    shown(page, ".fs-now", "buckets")


def test_the_completeness_line_names_the_gap_that_was_made(page: Page) -> None:
    east = page.locator(".fs-gateway").filter(has_text="gw-east")
    expect(east).to_contain_text(re.compile(r"accepted [\d,]+, stored [\d,]+, missing 1, duplicates 0"))
    expect(east).to_contain_text("missing seq 501-501")
    expect(page.locator(".fs-gateway").filter(has_text="gw-west")).to_contain_text("missing 0, duplicates 0")


def test_notifications_are_listed_newest_first(page: Page) -> None:
    rows = page.locator(".fs-sent")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text("Feed pump 2 temperature above HH")
    expect(rows.nth(3)).to_contain_text("resolved")


def test_a_new_alarm_appears_without_reload(scene: Scene, page: Page) -> None:
    shown(page, ".fs-alarm", "Feed pump 2")
    reason = "Appeared while the page was open <b>not bold</b>"
    scene.plant.plant.anomaly(50, ("chiller", "vibration"), 1e9 + 8e8, severity="warning", reason=reason)
    shown(page, ".fs-alarm", reason)
    assert page.locator(".fs-alarm b").count() == 0
    scene.plant.plant.anomaly(50, ("chiller", "vibration"), 1e9 + 8e8, state="close", ended_at=1e9 + 8e8, revision=2)
    expect(page.locator(".fs-alarm").filter(has_text=reason)).to_have_count(0)


def test_a_stopped_job_is_seen_at_its_hop(scene: Scene, page: Page) -> None:
    scene.plant.down.add("detect")
    detect = page.locator(".fs-hop").filter(has_text="Detect")
    expect(detect).to_have_class(re.compile("is-bad"))
    expect(detect).to_contain_text("stopped")
    scene.plant.down.clear()
    expect(detect).to_have_class(re.compile("is-ok"))


def test_light_and_dark_can_be_switched(page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Switch between light and dark").click()
    page.wait_for_function(f"{background} !== {dark!r}")


def test_nothing_is_fetched_from_elsewhere_and_a_phone_needs_no_sideways_scrolling(
    browser: Browser, shift: Shift, console: str
) -> None:
    asked: list[str] = []
    visitor = Visitor(browser, shift, "viewer", viewport={"width": 390, "height": 844})
    page = visitor.page

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.goto(console)
    expect(page.locator(".fs-alarm").first).to_be_visible()
    home = urlsplit(console).netloc
    assert [
        url for url in asked if urlsplit(url).scheme in ("http", "https", "ws") and urlsplit(url).netloc != home
    ] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    visitor.leave()


def test_it_says_when_the_store_is_away_and_goes_on_when_it_is_back(scene: Scene, page: Page) -> None:
    shown(page, ".fs-fresh", "Live")
    scene.store.process.kill()
    shown(page, ".fs-fresh", "Store does not answer")
    expect(page.locator(".fs-alarm").first).to_be_visible()  # what was known stays
    scene.store.start()
    shown(page, ".fs-fresh", re.compile("Live|Data is old"))
