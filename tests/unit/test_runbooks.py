"""Whoever follows a message's link to its runbook finds a page with all that it must have."""

import re
import shlex

import pytest
import yaml
from fieldstream_central import cli
from fieldstream_central.detect import limits, residuals
from fieldstream_central.grafana.alerts import ALERTS
from fieldstream_edge.cli import main as gateway
from local.layout import ROOT
from runbooks.defects import DEFECTS
from runbooks.page import NOT_GIVEN, OURS, PAGES, QUOTED, Page
from runbooks.rules import FACTOR, sooner
from typer.testing import CliRunner

RULES_FILE = ROOT / "deploy/prometheus/fieldstream-rules.yml"
RULES = yaml.safe_load(RULES_FILE.read_text())["groups"][0]["rules"]
NAMES = [rule["alert"] for rule in RULES if "alert" in rule] + [alert.name for alert in ALERTS]
HEADINGS = ["Meaning", "First look", "Remedy", "It is over when"]
NAME = re.compile(r"[a-z]+[_:./][\w:./]*")  # of a metric, a setting, a topic, a folder
WORDS = {"up", "ts", "parallelism", "FieldstreamWatchdog", "stopped", "starting", "expected", "missing 0",
         "not sent, Alertmanager will try again"}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_its_runbook(name: str) -> None:
    sections = Page.read(name).sections
    assert [*sections] == HEADINGS
    assert all(text.strip() for text in sections.values())


def test_no_runbook_is_left_of_an_alert_that_is_gone() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {*NAMES, "sensor-alarms"}


def test_every_kind_of_sensor_alarm_has_its_paragraph() -> None:
    told = re.findall(r'<a id="(.+?)"></a>', (PAGES / "sensor-alarms.md").read_text())
    assert {*told} >= {*limits.KINDS, *residuals.KINDS, "asset", "gateway"}


def commands() -> list[str]:
    """Every command that is given on any page."""
    pages = [Page.read(path.stem) for path in sorted(PAGES.glob("*.md"))]
    return sorted({text for page in pages for section in page.sections for text in page.commands(section)})


@pytest.mark.parametrize("text", [text for text in commands() if text.startswith("fieldstream ")])
def test_a_command_of_a_page_is_one_of_fieldstream(text: str) -> None:
    done = CliRunner().invoke(cli.app, [*shlex.split(text)[1:], "--help"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("text", [text for text in commands() if text.startswith(OURS[1:])])
def test_any_other_command_of_a_page_is_one_of_the_gateway_or_a_target_of_make(text: str) -> None:
    program, *words = shlex.split(text)
    if program == "make":
        assert f"\n{words[0]}:" in (ROOT / "Makefile").read_text()
    else:
        with pytest.raises(SystemExit) as ended:
            gateway([*words, "--help"])
        assert ended.value.code == 0


def test_no_command_of_a_page_slips_by_the_drills() -> None:
    """What a page quotes is a command that its drill gives, one of which is said why not, or no command."""
    text = "".join(path.read_text() for path in PAGES.glob("*.md"))
    assert "```" not in text
    others = {one for one in QUOTED.findall(text) if not NAME.fullmatch(one)} - {*commands()}
    assert others == WORDS | NOT_GIVEN.keys()


def test_rules_that_fire_sooner_differ_in_waits_alone() -> None:
    before, after = RULES_FILE.read_text(), sooner(RULES_FILE.read_text())
    changed = [(a, b) for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b]
    waits = {a.strip(): b.strip() for a, b in changed}
    assert waits["for: 10m"] == f"for: {600_000 // FACTOR}ms"
    assert waits["expr: max by (hop, topic) (fieldstream:lag_seconds) > 600"].endswith("> 30")
    assert waits["expr: increase(fieldstream_notifications_failed_total[5m]) > 0"].endswith("[15000ms]) > 0")
    assert all(re.search(r"for: |> (300|600)|\[(5|10)m\]", a) for a in waits)
    assert "fieldstream_store_parts) > 300" in after
    assert "abs(fieldstream_fleet_clock_offset_seconds)) > 30" in after


def test_the_documentation_lists_every_defect_that_the_doctor_is_shown() -> None:
    page = (ROOT / "docs/deploy.md").read_text()
    listed = re.findall(r"^\| (.+?) \| (\w+): \.\.\. (.+?) \.\.\. \|$", page, re.MULTILINE)
    assert listed == [(defect.name, defect.part, defect.said) for defect in DEFECTS]
