"""Whoever follows a message's link to its runbook finds a page with all that it must have."""

import re
from pathlib import Path

import pytest
import yaml
from fieldstream_central.detect import limits, residuals
from fieldstream_central.grafana.alerts import ALERTS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs/runbooks"
RULES = yaml.safe_load((ROOT / "deploy/prometheus/fieldstream-rules.yml").read_text())["groups"][0]["rules"]
NAMES = [rule["alert"] for rule in RULES if "alert" in rule] + [alert.name for alert in ALERTS]
HEADINGS = ["Meaning", "First look", "Remedy", "It is over when"]


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_its_runbook(name: str) -> None:
    parts = re.split(r"^## (.+)\n", (PAGES / f"{name}.md").read_text(), flags=re.MULTILINE)
    assert parts[1::2] == HEADINGS
    assert all(text.strip() for text in parts[2::2])


def test_no_runbook_is_left_of_an_alert_that_is_gone() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {*NAMES, "sensor-alarms"}


def test_every_kind_of_sensor_alarm_has_its_paragraph() -> None:
    told = re.findall(r'<a id="(.+?)"></a>', (PAGES / "sensor-alarms.md").read_text())
    assert {*told} >= {*limits.KINDS, *residuals.KINDS, "asset", "gateway"}
