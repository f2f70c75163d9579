"""Each threat has a test that exists, or says that it is accepted."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/threat-model.md").read_text()
THREATS = re.findall(r"^\| [STRIDE](?:, [STRIDE])* \|.*\|$", PAGE, re.MULTILINE)


def test_every_named_test_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


def test_every_threat_is_tried_or_accepted() -> None:
    assert len(THREATS) > 35
    for row in THREATS:
        last = row.split("|")[-2]
        assert re.search(r"`tests/|`make |accepted|as above|\[security\]", last), row


def test_every_make_target_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", PAGE + (ROOT / "SECURITY.md").read_text())) <= targets
