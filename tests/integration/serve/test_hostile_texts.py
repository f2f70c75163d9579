"""What a device or a person writes is text and nothing else, on every page and in CSV; nobody may frame a page."""

import csv
import io
import time
from typing import Any

import httpx
import pytest
from fieldstream_schemas.topics import READINGS_CLEAN
from integration.serve.conftest import Visitor
from integration.serve.shift import Shift
from integration.store.rig import eventually, reading
from playwright.sync_api import Page

SCRIPT = "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script>"
TEXTS = (SCRIPT, "'; DROP TABLE readings; --", "{{constructor.constructor('window.pwned=1')()}}", "=cmd|' /C calc'!A0")
PAGES = (
    "/",
    "/alarms",
    "/incident/{alarm}",
    "/overview",
    "/gateways",
    "/dead-letters",
    "/maintenance",
    "/alarm-health",
    "/handover",
    "/detection",
)


@pytest.fixture(scope="module")
def hostile(shift: Shift) -> list[str]:
    """Alarms, readings and windows whose every text is hostile; the alarms' ids."""
    alarms = []
    now = time.time_ns() // 1_000_000
    for number, text in enumerate(TEXTS):
        device = f"{text} {number}"
        names: dict[str, Any] = {"asset_id": text, "site": text, "area": text, "asset_type": text, "unit": text}
        alarms.append(
            shift.episode(f"hostile-{number}", device=device, reason=text, site=text, area=text, asset_id=text)
        )
        rows = [
            reading(n, device_id=device, metric="temperature", ts=now - 1000 * n, received_at=now, **names)
            for n in range(20)
        ]
        shift.feed.send(READINGS_CLEAN, rows)
    with shift.store.client() as clickhouse:
        eventually(
            lambda: int(clickhouse.value("SELECT count() AS n FROM fieldstream.readings WHERE unit LIKE '=cmd%'")) == 20
        )
    eventually(lambda: shift.state(alarms[-1]) != "")
    return alarms


def harmless(page: Page) -> bool:
    return page.evaluate("window.pwned") is None


def test_hostile_texts_run_on_no_page(operator: Visitor, shift: Shift, hostile: list[str]) -> None:
    page = operator.page
    page.on("dialog", lambda dialog: operator.troubles.append(dialog.message))
    for path in PAGES:
        for alarm in hostile[:3] if "{alarm}" in path else hostile[:1]:
            operator.open(path.format(alarm=httpx.URL("http://x/").copy_with(path=f"/{alarm}").raw_path.decode()[1:]))
            page.wait_for_timeout(600)  # for what comes with the first answer
            assert harmless(page), path
    operator.open("/alarms")
    page.get_by_text("DROP TABLE").first.wait_for()
    page.get_by_text("<script>").first.wait_for()


def test_a_formula_is_text_in_csv(shift: Shift, hostile: list[str]) -> None:
    headers = {"Authorization": f"Bearer {shift.tokens['viewer']}"}
    asked = {"device_id": f"{TEXTS[3]} 3", "metric": "temperature"}
    answer = httpx.get(f"{shift.settings.api}/api/v1/export/readings", params=asked, headers=headers, timeout=30)
    units = {row["unit"] for row in csv.DictReader(io.StringIO(answer.text))}
    assert units == {"'" + TEXTS[3]}


def test_a_caller_gets_the_rows_of_a_name_that_looks_like_sql(shift: Shift, hostile: list[str]) -> None:
    for number, text in enumerate(TEXTS):
        asked = {"device_id": f"{text} {number}", "metric": "temperature"}
        assert len(shift.api("GET", "/readings", role="viewer", params=asked)["items"]) == 20


def test_no_answer_may_be_framed_guessed_or_fed_by_others(shift: Shift) -> None:
    for url in (shift.settings.console, f"{shift.settings.api}/healthz", f"{shift.settings.api}/api/v1/alarms"):
        headers = httpx.get(url, timeout=30).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], url
        assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"]) == ("nosniff", "DENY"), url
        assert headers["Referrer-Policy"] == "no-referrer", url
