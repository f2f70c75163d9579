"""The alarm list in headless Chromium: what a shift does there, against the real API and Kafka."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fieldstream_central.serve.api.access import add_token
from integration.alarms.conftest import Plant
from integration.store.rig import ROOT, Process, Store, eventually, free_port
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MS = 20_000

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed")


@dataclass
class Shift:
    """The running programs, and a token of each role."""

    plant: Plant
    url: str
    api: httpx.Client
    tokens: dict[str, str]
    start_api: Any
    api_process: Process

    def state(self, alarm_id: str) -> str:
        headers = {"Authorization": f"Bearer {self.tokens['admin']}"}
        found = self.api.get("/api/v1/alarms", headers=headers).json()
        return next((alarm["state"] for alarm in found if alarm["alarm_id"] == alarm_id), "")


@pytest.fixture(scope="module")
def shift(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shift]:
    folder = tmp_path_factory.mktemp("page")
    store, api_port, port = Store(folder), free_port(), free_port()
    tokens = folder / "tokens.toml"
    config = folder / "settings.toml"
    config.write_text(
        f'kafka = "{plant.settings.kafka}"\nregistry = ["http://127.0.0.1:1"]\n'
        f'schema_cache = "{plant.settings.schema_cache}"\nclickhouse = "{store.url}"\n'
        f'api = "http://127.0.0.1:{api_port}"\napi_tokens_file = "{tokens}"\n'
    )
    given = {role: add_token(tokens, f"the-{role}", role) for role in ("viewer", "operator", "admin")}

    def start(program: str, port: int) -> Process:
        code = f"from fieldstream_central.serve.cli import {program}; {program}(port={port})"
        return Process([sys.executable, "-c", code], folder / program, {"FIELDSTREAM_CONFIG": str(config)})

    def start_api() -> Process:
        process = start("api", api_port)
        eventually(lambda: httpx.get(f"http://127.0.0.1:{api_port}/healthz").status_code == 200, timeout_s=40)
        return process

    with ExitStack() as ending:
        ending.callback(store.process.stop)
        api_process = start_api()
        ending.callback(start("console", port).stop)
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: httpx.get(url).status_code == 200, timeout_s=40, what="the console is up")
        http = ending.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{api_port}"))
        made = Shift(plant, url, http, given, start_api, api_process)
        yield made
        made.api_process.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield launched
        launched.close()


def signed_in(browser: Browser, shift: Shift, role: str) -> Page:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{shift.url}/alarms")
    page.get_by_label("Your token").fill(shift.tokens[role])
    page.get_by_role("button", name="Sign in").click()
    return page


def row_of(page: Page, device: str) -> Any:
    return page.locator("tbody tr").filter(has_text=f"{device} · temperature")


def test_several_alarms_are_acknowledged_together_and_keep_who_did_it(browser: Browser, shift: Shift) -> None:
    ids = [shift.plant.episode(f"page-{n}", device=f"page-{n}") for n in range(3)]
    page = signed_in(browser, shift, "operator")
    for number in range(3):
        row_of(page, f"page-{number}").get_by_role("checkbox").click()
    page.get_by_role("button", name="Acknowledge").click()
    for number, alarm_id in enumerate(ids):
        expect(row_of(page, f"page-{number}")).to_contain_text("the-operator", timeout=PATIENCE_MS)
        assert shift.state(alarm_id) == "acknowledged"
    page.close()


def test_shelving_asks_for_a_reason_and_says_until_when(browser: Browser, shift: Shift) -> None:
    alarm_id = shift.plant.episode("aside-1", device="aside")
    page = signed_in(browser, shift, "operator")
    row_of(page, "aside").get_by_role("checkbox").click()
    page.get_by_role("button", name="Shelve", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Shelve").click()  # without a reason
    expect(page.get_by_text("shelving needs a reason").first).to_be_visible()
    assert shift.state(alarm_id) == "unacknowledged"
    row_of(page, "aside").get_by_role("checkbox").click()
    page.get_by_role("button", name="Shelve", exact=True).click()
    dialog.get_by_label("Reason").fill("valve is being changed <b>today</b>")
    dialog.get_by_role("button", name="Shelve").click()
    expect(row_of(page, "aside")).to_contain_text(re.compile("Shelved.*valve is being changed <b>today</b>, until"))
    assert shift.state(alarm_id) == "shelved"
    page.screenshot(path=ROOT / "var" / "alarm-list.png")  # for people to look at
    page.close()


def test_a_viewer_is_offered_nothing_that_he_may_not_do(browser: Browser, shift: Shift) -> None:
    shift.plant.episode("seen-1", device="only-seen")
    page = signed_in(browser, shift, "viewer")
    expect(row_of(page, "only-seen")).to_be_visible()
    expect(page.get_by_role("button", name="Acknowledge")).to_be_hidden()
    page.close()


def test_a_new_alarm_and_its_end_show_without_reload(browser: Browser, shift: Shift) -> None:
    page = signed_in(browser, shift, "operator")
    expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()
    started = time.time_ns() // 1_000_000
    shift.plant.episode("new-1", device="fresh", started_at=started)
    expect(row_of(page, "fresh")).to_contain_text("Unacknowledged")
    shift.plant.episode("new-1", "close", revision=2, device="fresh", started_at=started)
    expect(row_of(page, "fresh")).to_contain_text("Over, unacknowledged")
    page.close()


def test_the_api_away_is_said_and_the_page_goes_on_when_it_is_back(browser: Browser, shift: Shift) -> None:
    shift.plant.episode("stays-1", device="stays")
    page = signed_in(browser, shift, "operator")
    expect(row_of(page, "stays")).to_be_visible()
    shift.api_process.kill()
    expect(page.get_by_text("The API does not answer")).to_be_visible(timeout=PATIENCE_MS)
    expect(row_of(page, "stays")).to_be_visible()
    shift.api_process = shift.start_api()
    expect(page.get_by_text("The API does not answer")).to_be_hidden(timeout=60_000)
    row_of(page, "stays").get_by_role("checkbox").click()
    page.get_by_role("button", name="Acknowledge").click()
    expect(row_of(page, "stays")).to_contain_text("the-operator", timeout=PATIENCE_MS)
    page.close()


def test_five_hundred_alarms_are_acknowledged_in_one_go(browser: Browser, shift: Shift) -> None:
    for number in range(500):
        shift.plant.episode(f"flood-{number}", device=f"flood-{number:03}")
    page = signed_in(browser, shift, "operator")
    expect(page.get_by_text(re.compile(r"^5\d\d wait for somebody$"))).to_be_visible(timeout=60_000)
    page.locator("thead").get_by_role("checkbox").click()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("nobody is needed")).to_be_visible(timeout=90_000)
    page.close()
