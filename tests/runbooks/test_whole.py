"""Last, when all drills have run: no alert and nothing on the pages is left that no drill has tried."""

from pathlib import Path

import pytest
import yaml

from runbooks.drill import ENDED, FOLLOWED
from runbooks.page import PAGES, Page
from runbooks.watched import RULES


@pytest.fixture(autouse=True)
def all_drills_have_run(request: pytest.FixtureRequest) -> None:
    """Some drills alone say nothing of the pages as a whole."""
    if {item.path for item in request.session.items} != {*Path(__file__).parent.glob("test_*.py")}:
        pytest.skip("not every drill has run")


def test_every_command_of_every_page_was_followed() -> None:
    pages = {path.stem: Page.read(path.stem) for path in PAGES.glob("*.md")}
    there = {(name, text) for name, page in pages.items() for part in page.sections for text in page.commands(part)}
    assert there - FOLLOWED == set()


def test_every_alert_was_raised_and_has_ended() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
              if "alert" in rule}  # fmt: skip
    assert alerts - ENDED == {"FieldstreamWatchdog"}  # which never ends: its drill silences it
