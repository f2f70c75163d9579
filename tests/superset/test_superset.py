"""The bundle in a real Superset: imported, every chart's question asked, the dashboard opened in a browser.

Needs the environment that `make test-superset` installs; without it the test is skipped, saying so.
"""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fieldstream_central.store.rollup import Rollup
from fieldstream_central.superset.bundle import write_bundle
from fieldstream_central.superset.charts import CHARTS
from integration.serve.lifelike import alive
from integration.store.rig import ROOT, Process, Store, eventually, free_port
from playwright.sync_api import sync_playwright

PROGRAM = ROOT / "var" / "superset" / "venv" / "bin" / "superset"
PICTURE = ROOT / "var" / "superset" / "dashboard.png"
PASSWORD = secrets.token_urlsafe(12)

pytestmark = [
    pytest.mark.skipif(not PROGRAM.exists(), reason="Superset is not installed: make test-superset installs it"),
    pytest.mark.timeout(900),
]


@dataclass
class Superset:
    """A running Superset into which the bundle has been imported."""

    url: str
    api: httpx.Client


@pytest.fixture(scope="module")
def superset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Superset]:
    folder = tmp_path_factory.mktemp("superset")
    store, exporter_port, port = Store(folder), free_port(), free_port()
    environment = os.environ | {
        "SUPERSET_HOME": str(folder),
        "SUPERSET_CONFIG_PATH": str(Path(__file__).with_name("superset_config.py")),
        "SUPERSET_SECRET_KEY": secrets.token_hex(32),
        "FLASK_APP": "superset.app:create_app()",
    }

    def superset_command(*arguments: str) -> None:
        done = subprocess.run(
            [PROGRAM, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]

    bundle = folder / "fieldstream.zip"
    write_bundle(bundle, f"clickhousedb://default@127.0.0.1:{store.port}/fieldstream")
    with ExitStack() as ending:
        ending.callback(store.process.stop)
        plant = ending.enter_context(alive(store.url, exporter_port))
        Rollup(plant.plant.clickhouse, settled_after_s=0).step()
        superset_command("db", "upgrade")
        superset_command(
            *("fab", "create-admin", "--username", "admin", "--firstname", "A", "--lastname", "B"),
            *("--email", "admin@localhost", "--password", PASSWORD),
        )
        superset_command("init")
        superset_command("import-dashboards", "-p", str(bundle), "-u", "admin")
        command = [str(PROGRAM), "run", "-h", "127.0.0.1", "-p", str(port), "--with-threads"]
        ending.callback(Process(command, folder / "superset.log", environment).stop)
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: httpx.get(f"{url}/health").status_code == 200, timeout_s=120, what="Superset")
        login = {"username": "admin", "password": PASSWORD, "provider": "db"}
        token = httpx.post(f"{url}/api/v1/security/login", json=login, timeout=30).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        yield Superset(url, ending.enter_context(httpx.Client(base_url=url, headers=headers, timeout=60)))


def charts_of(superset: Superset) -> dict[str, dict[str, Any]]:
    found = superset.api.get("/api/v1/chart/", params={"q": "(page_size:100)"}).json()["result"]
    return {chart["slice_name"]: chart for chart in found}


def test_the_import_brings_every_chart_and_the_dashboard(superset: Superset) -> None:
    assert charts_of(superset).keys() == {chart.title for chart in CHARTS}
    (dashboard,) = superset.api.get("/api/v1/dashboard/").json()["result"]
    assert dashboard["dashboard_title"] == "Fieldstream"
    position = json.loads(superset.api.get("/api/v1/dashboard/fieldstream").json()["result"]["position_json"])
    placed = {
        part["meta"]["chartId"] for part in position.values() if isinstance(part, dict) and part["type"] == "CHART"
    }
    assert placed == {chart["id"] for chart in charts_of(superset).values()}


@pytest.mark.parametrize("title", [chart.title for chart in CHARTS])
def test_every_charts_question_is_answered_by_the_store(superset: Superset, title: str) -> None:
    number = charts_of(superset)[title]["id"]
    answer = superset.api.get(f"/api/v1/chart/{number}/data/", params={"force": "true"})
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["result"]
    assert result["error"] is None
    assert result["rowcount"] > 0, result["query"]


def test_the_dashboard_opens_in_a_browser_and_every_chart_is_drawn(superset: Superset) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
        )
        playwright.selectors.set_test_id_attribute("data-test")
        page = browser.new_page(viewport={"width": 1600, "height": 2400})
        page.goto(f"{superset.url}/login/")
        page.get_by_test_id("username-input").fill("admin")
        page.get_by_test_id("password-input").fill(PASSWORD)
        page.get_by_test_id("login-button").click()
        page.wait_for_url("**/superset/welcome/**", timeout=60_000)
        page.goto(f"{superset.url}/superset/dashboard/fieldstream/")
        page.wait_for_function(
            "n => document.querySelectorAll('.chart-container').length >= n && !document.querySelector('.loading')",
            arg=len(CHARTS),
            timeout=120_000,
        )
        page.screenshot(path=PICTURE, full_page=True)
        text = page.inner_text("body")
        browser.close()
    assert "Unexpected error" not in text
    assert "feed-pump-2" in text
