"""The table of forbidden acts in docs/security.md is the one that `make test-secure` tries."""

from local.layout import ROOT
from secure.acts import ACTS, table


def test_the_page_shows_every_forbidden_act_that_is_tried() -> None:
    assert len(ACTS) >= 40
    assert table() in (ROOT / "docs" / "security.md").read_text(), "print it: python -m secure.acts, in tests/"
