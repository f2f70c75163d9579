"""What a shift does at the console, in headless Chromium against the real API, Kafka and store."""

import re
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from fieldstream_central.serve.api.access import add_token
from integration.serve.conftest import Scene, Visitor
from integration.serve.shift import Shift
from integration.store.rig import eventually
from playwright.sync_api import Browser, Page, expect

PAGES = {
    "/": "The way of a reading",
    "/overview": "The plant",
    "/alarms": "Alarm list",
    "/incident/feed-pump-2/temperature/limit": "Feed pump 2 temperature",
    "/gateways": "Gateways",
    "/maintenance": "Planned work",
    "/handover": "Shift hand-over",
    "/alarm-health": "Alarm health",
    "/detection": "Try settings",
    "/dead-letters": "Dead letters",
}


def row_of(page: Page, device: str) -> Any:
    return page.locator("tbody tr").filter(has_text=f"{device} · temperature")


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", name=text, exact=True)).to_be_visible()


def test_every_page_is_reached_by_the_navigation_without_loading_anew(operator: Visitor, scene: Scene) -> None:
    page = operator.open("/")
    page.evaluate("window.stillHere = true")
    for path, title in PAGES.items():
        if not path.startswith("/incident"):
            page.get_by_role("navigation").locator(f"a[href='{path}']").click()
            heading(page, title)
            page.wait_for_url(lambda url, path=path: urlsplit(url).path == path)  # type: ignore[misc]
    assert page.evaluate("window.stillHere")
    page.go_back()
    heading(page, PAGES["/detection"])


@pytest.mark.parametrize("light", ["0", "1"])
def test_axe_finds_nothing_on_any_page(operator: Visitor, scene: Scene, shift: Shift, light: str) -> None:
    page = operator.open("/")
    page.context.add_cookies([{"name": "fieldstream-light", "value": light, "url": shift.url}])
    found = []
    for path, title in PAGES.items():
        operator.open(path)
        heading(page, title)
        page.wait_for_timeout(800)  # for what comes with the first answer
        found += [(path, one["id"], one["nodes"][0]["html"][:200]) for one in Axe().run(page).response["violations"]]
    assert found == []


def test_signing_in_with_a_token_opens_what_the_role_may_do(browser: Browser, shift: Shift, scene: Scene) -> None:
    visitor = Visitor(browser, shift)
    page = visitor.page
    page.goto(f"{shift.url}/alarms")
    expect(page.get_by_text("Sign in to see the plant.")).to_be_visible()
    page.get_by_label("Your token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Give a token").first).to_be_visible()
    for role, acts in (("viewer", False), ("operator", True)):
        page.get_by_label("Your token").fill(shift.tokens[role])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text(f"the-{role} ({role})")).to_be_visible()
        expect(page.locator("tbody tr").first).to_be_visible()
        expect(page.get_by_role("button", name="Acknowledge")).to_be_visible(visible=acts)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_text("Sign in to see the plant.")).to_be_visible()
        page.goto(f"{shift.url}/alarms")
    visitor.leave()


def test_a_window_whose_token_was_withdrawn_shows_nothing_more(browser: Browser, shift: Shift, scene: Scene) -> None:
    file = shift.settings.api_tokens_file
    before = file.read_text()
    shift.tokens["leaver"] = add_token(file, "the-leaver", "viewer")
    visitor = Visitor(browser, shift, "leaver")
    page = visitor.open("/")
    expect(page.get_by_text("the-leaver (viewer)")).to_be_visible()
    file.write_text(before)
    expect(page.get_by_text("Sign in to see the plant.")).to_be_visible()
    assert page.locator(".fs-panel").count() == 0
    visitor.leave()


def test_a_viewer_is_not_shown_dead_letters(browser: Browser, shift: Shift) -> None:
    visitor = Visitor(browser, shift, "viewer")
    page = visitor.open("/dead-letters")
    expect(page.get_by_text("Dead letters are shown to operators")).to_be_visible()
    assert page.locator("tbody tr .q-checkbox").count() == 0
    visitor.leave()


def test_several_alarms_are_acknowledged_together_and_keep_who_did_it(operator: Visitor, shift: Shift) -> None:
    ids = [shift.episode(f"page-{n}", device=f"page-{n}") for n in range(3)]
    page = operator.open("/alarms")
    for number in range(3):
        row_of(page, f"page-{number}").get_by_role("checkbox").click()
    page.get_by_role("button", name="Acknowledge").click()
    for number, alarm_id in enumerate(ids):
        expect(row_of(page, f"page-{number}")).to_contain_text("the-operator")
        assert shift.state(alarm_id) == "acknowledged"


def test_an_alarm_is_acknowledged_by_the_keyboard_alone(operator: Visitor, shift: Shift) -> None:
    alarm_id = shift.episode("keys-1", device="keyed", severity="critical", started_at=1)
    page = operator.open("/alarms")
    expect(row_of(page, "keyed")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    focused = "document.activeElement.closest('tr')?.innerText.includes('keyed') && document.activeElement.role"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "checkbox":
            break
    page.keyboard.press("Space")
    expect(page.get_by_text("1 chosen")).to_be_visible()
    page.keyboard.press("a")
    expect(row_of(page, "keyed")).to_contain_text("the-operator")
    assert shift.state(alarm_id) == "acknowledged"


def test_shelving_asks_for_a_reason_and_says_until_when(operator: Visitor, shift: Shift) -> None:
    alarm_id = shift.episode("aside-1", device="aside")
    page = operator.open("/alarms")
    row_of(page, "aside").get_by_role("checkbox").click()
    page.get_by_role("button", name="Shelve", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Shelve").click()  # without a reason
    expect(page.get_by_text("shelving needs a reason").first).to_be_visible()
    assert shift.state(alarm_id) == "unacknowledged"
    expect(page.get_by_text("1 chosen")).to_be_visible()  # what could not be done stays chosen
    page.get_by_role("button", name="Shelve", exact=True).click()
    dialog.get_by_label("Reason").fill("valve is being changed <b>today</b>")
    dialog.get_by_role("button", name="Shelve").click()
    expect(row_of(page, "aside")).to_contain_text(re.compile("Shelved.*valve is being changed <b>today</b>, until"))
    assert shift.state(alarm_id) == "shelved"


def test_an_incident_is_read_marked_and_its_life_tells_it(operator: Visitor, shift: Shift, scene: Scene) -> None:
    page = operator.open("/alarms")
    page.get_by_role("link", name="feed-pump-2 · temperature").click()
    heading(page, PAGES["/incident/feed-pump-2/temperature/limit"])
    expect(page.locator(".fs-chart canvas").first).to_be_visible()
    expect(page.get_by_text("Feed pump 2 vibration")).to_be_visible()  # a mate
    expect(page.locator(".fs-facts").get_by_text(re.compile("^(good|fair|poor)"))).to_be_visible()
    assert "var-sensor=feed-pump-2" in str(page.get_by_role("link", name="Grafana").get_attribute("href"))
    page.get_by_role("button", name="useful").click()
    expect(page.locator(".fs-facts")).to_contain_text("the-operator: useful")
    life = page.locator("tr").filter(has_text="marked")
    expect(life).to_contain_text("the-operator")
    page.get_by_role("link", name="Detection").click()
    expect(page.locator("tr").filter(has_text="feed-pump-2/temperature/limit")).to_be_visible()


def test_the_page_of_an_alarm_that_there_is_not_says_so_and_nothing_else(operator: Visitor) -> None:
    page = operator.open("/incident/no/such/alarm")
    expect(page.get_by_text("There is no alarm 'no/such/alarm'")).to_be_visible()
    expect(page.locator(".fs-panel:visible")).to_have_count(1)
    assert page.get_by_role("link", name="Grafana").count() == 0


def test_a_new_alarm_and_its_end_show_without_reload(operator: Visitor, shift: Shift) -> None:
    page = operator.open("/alarms")
    started = time.time_ns() // 1_000_000
    shift.episode("new-1", device="fresh", started_at=started)
    expect(row_of(page, "fresh")).to_contain_text("Unacknowledged")
    shift.episode("new-1", "close", revision=2, device="fresh", started_at=started)
    expect(row_of(page, "fresh")).to_contain_text("Over, unacknowledged")


def test_work_is_planned_and_ended(operator: Visitor, shift: Shift, scene: Scene) -> None:
    page = operator.open("/maintenance")
    page.get_by_label("Asset").fill("chiller")
    page.get_by_role("option", name="chiller").click()
    page.get_by_label("What is done").fill("compressor oil")
    page.get_by_role("button", name="Plan work").click()
    work = page.locator(".fs-work").filter(has_text="compressor oil")
    expect(work).to_contain_text("planned by the-operator")
    work.get_by_role("button", name="End now").click()
    expect(work).to_contain_text("over")


def test_dead_letters_are_found_read_and_discarded_with_a_reason(operator: Visitor, scene: Scene) -> None:
    page = operator.open("/dead-letters")
    rows = page.locator(".fs-letters-table tbody tr")
    letter = rows.filter(has_text="too-large")
    letter.get_by_role("button", name="too-large").click()
    expect(page.locator(".fs-letter")).to_contain_text("fieldstream dead-letters replay")
    page.keyboard.press("Escape")
    letter.get_by_role("checkbox").click()
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("a test of the device")
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    expect(letter).to_have_count(0)
    page.get_by_label("Gateway").fill("no-such-gateway")
    expect(page.get_by_text("No dead letters here")).to_be_visible()


def test_the_handover_can_be_printed(operator: Visitor, scene: Scene) -> None:
    page = operator.open("/handover")
    expect(page.get_by_text("Sensors with corrected numbers: 1")).to_be_visible()
    page.emulate_media(media="print")
    expect(page.get_by_role("navigation")).to_be_hidden()
    expect(page.get_by_text("taken over by")).to_be_visible()
    assert page.pdf()[:4] == b"%PDF"


def test_a_phone_needs_no_sideways_scrolling_on_any_page(browser: Browser, shift: Shift, scene: Scene) -> None:
    visitor = Visitor(browser, shift, "operator", viewport={"width": 390, "height": 844})
    for path, title in PAGES.items():
        page = visitor.open(path)
        heading(page, title)
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
    row = visitor.open("/alarms").locator("tbody tr").first
    row.wait_for()
    assert row.evaluate("row => row.scrollHeight <= row.clientHeight + 1")  # no row lies over the next one
    visitor.leave()


def test_on_a_slow_line_the_pages_come_and_say_what_they_know(operator: Visitor, scene: Scene) -> None:
    line = operator.page.context.new_cdp_session(operator.page)
    line.send("Network.enable")
    slow = {"offline": False, "latency": 400, "downloadThroughput": 200_000, "uploadThroughput": 50_000}
    line.send("Network.emulateNetworkConditions", slow)
    page = operator.open("/alarms")
    expect(page.locator("tbody tr").first).to_be_visible()
    page.get_by_role("link", name="Plant").click()
    expect(page.get_by_role("link", name=re.compile("feed-pump-2"))).to_be_visible()


def test_the_api_away_is_said_and_the_page_goes_on_when_it_is_back(operator: Visitor, shift: Shift) -> None:
    shift.episode("stays-1", device="stays")
    page = operator.open("/alarms")
    expect(row_of(page, "stays")).to_be_visible()
    shift.programs["api"].kill()
    expect(page.get_by_text("The API does not answer").first).to_be_visible()
    expect(row_of(page, "stays")).to_be_visible()
    shift.start("api")
    # At first it may have to read the alarms before it can act on them, and says so.
    trouble = page.get_by_text(re.compile("API does not answer|not been read from Kafka")).filter(visible=True)
    expect(trouble).to_have_count(0, timeout=60_000)
    row_of(page, "stays").get_by_role("checkbox").click()
    page.get_by_role("button", name="Acknowledge").click()
    expect(row_of(page, "stays")).to_contain_text("the-operator")


def test_a_flood_of_five_thousand_is_paged_and_can_be_acknowledged_in_one_go(operator: Visitor, shift: Shift) -> None:
    page = operator.open("/alarms")
    for number in range(5000):
        shift.episode(f"flood-{number}", device=f"flood-{number:04}", flush=False)
    shift.feed.flush()
    eventually(lambda: len(shift.api("GET", "/alarms", params={"limit": 6000})) > 5000, what="all have arrived")
    expect(page.get_by_text(re.compile(r"of 5,0\d\d$"))).to_be_visible()
    assert page.locator("tbody tr").count() == 100
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("101 to 200")).to_be_visible()
    page.get_by_role("button", name="Choose all").click()
    expect(page.get_by_text(re.compile(r"5\d\d\d chosen"))).to_be_visible()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("nobody is needed")).to_be_visible(timeout=300_000)
