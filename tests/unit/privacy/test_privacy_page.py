"""docs/privacy.md says of every topic how long it keeps what it holds."""

import re
from pathlib import Path

from fieldstream_central.store.retention import Retention
from fieldstream_schemas.topics import TOPICS

PAGE = (Path(__file__).resolve().parents[3] / "docs/privacy.md").read_text()


def test_every_topic_is_on_the_page_with_its_retention() -> None:
    said = {
        name: row.rsplit("|", 2)[1].strip()
        for row in re.findall(r"^\| topics? .*$", PAGE, re.MULTILINE)
        for name in re.findall(r"`([a-z.-]+)`", row.split("|")[1])
    }
    days = {name: f"{topic.retention_ms // 86_400_000} days" for name, topic in TOPICS.items()}
    days["audit-log"] = "for ever"
    assert said == {name: "for ever (compacted)" if TOPICS[name].compacted else days[name] for name in TOPICS}


def test_the_tables_days_are_the_defaults() -> None:
    for name in ("readings", "dead_letters"):
        assert f"`retention_days.{name}` ({getattr(Retention(), name)})" in PAGE
