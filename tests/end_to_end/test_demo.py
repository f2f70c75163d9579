"""The demo itself, headless: every figure of its JSON line is measured against the simulator's truth."""

import json
import time
from typing import Any

import pytest
from fieldstream_central.grafana.macros import TimeRange
from fieldstream_central.grafana.queries import all_queries
from fieldstream_central.grafana.render import Sources, render
from fieldstream_central.grafana.variables import choose
from fieldstream_central.store.clickhouse import ClickHouse
from local.layout import ROOT

from end_to_end.conftest import Stack

# What the demo's plant gives no cause for: nothing so late, no second version of a detector, no certificate.
EMPTY_IN_THE_DEMO = {"Repaired windows", "Corrected windows", "What late readings changed"}


@pytest.fixture(scope="module")
def demo(stack: Stack) -> dict[str, Any]:
    """The demo's JSON line, after a run that ended well."""
    done = stack.run("python", "-m", "local.demo", timeout_s=800, ONCE="1")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, result
    return result


@pytest.mark.timeout(900)
def test_the_demo_loses_nothing_counts_nothing_twice_and_finds_the_recorded_failure(demo: dict[str, Any]) -> None:
    result = demo
    for name in ("missing", "duplicates", "unexpected", "altered", "windows_wrong", "bad_messages_unaccounted"):
        assert result[name] == 0, result
    assert result["acknowledged"] > 10_000, result
    assert result["windows_checked"] > 1_000, result
    # That detection is wired up end to end; how good it is, is measured on many seeds by `make bench-detect`.
    assert result["faults_found"] == result["faults_injected"] >= 7, result["details"]
    assert result["false_alarms"] == 0, result["details"]
    assert result["recorded_failure_found"] is True, result
    assert result["notifications"] >= 1, result
    assert result["incident"] == dict.fromkeys(("told_by_mail", "acknowledged", "resolved", "handed_over"), True), (
        result
    )


def test_every_question_of_grafana_has_an_answer_on_the_demos_data(demo: dict[str, Any], stack: Stack) -> None:
    clickhouse = ClickHouse(stack.layout.url("clickhouse"))
    sources = Sources(clickhouse, stack.layout.url("prometheus"))
    now = time.time_ns() // 1_000_000
    span, chosen = TimeRange(now - round(demo["seconds"] + 120) * 1000, now), choose(clickhouse)
    silent = {q.name for q in all_queries() if not sources.answer(q, span, chosen)}
    assert silent <= EMPTY_IN_THE_DEMO, silent
    # For people to look at: what each dashboard shows of the demo.
    assert render(sources, ROOT / "var" / "grafana", span, chosen)
