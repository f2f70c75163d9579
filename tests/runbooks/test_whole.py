"""Last, when all drills have run: nothing on the pages is left that no drill has tried."""

import pytest

from runbooks.drill import FOLLOWED
from runbooks.page import PAGES, Page


def test_every_command_of_every_page_was_followed() -> None:
    pages = {path.stem: Page.read(path.stem) for path in PAGES.glob("*.md")}
    if {name for name, _ in FOLLOWED} < pages.keys():
        pytest.skip("not every drill has run")
    there = {(name, text) for name, page in pages.items() for part in page.sections for text in page.commands(part)}
    assert there - FOLLOWED == set()
