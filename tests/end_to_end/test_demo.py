"""The demo itself, headless: every figure of its JSON line is measured against the simulator's truth."""

import json

import pytest

from end_to_end.conftest import Stack


@pytest.mark.timeout(900)
def test_the_demo_loses_nothing_counts_nothing_twice_and_finds_the_recorded_failure(stack: Stack) -> None:
    done = stack.run("python", "-m", "local.demo", timeout_s=800, ONCE="1")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, result
    for name in ("missing", "duplicates", "unexpected", "altered", "windows_wrong", "bad_messages_unaccounted"):
        assert result[name] == 0, result
    assert result["acknowledged"] > 10_000, result
    assert result["windows_checked"] > 1_000, result
    # That detection is wired up end to end; how good it is, is measured on many seeds by `make bench-detect`.
    assert result["faults_found"] >= result["faults_injected"] - 1 >= 6, result["details"]
    assert result["false_alarms"] <= 1, result["details"]
    assert result["recorded_failure_found"] is True, result
    assert result["notifications"] >= 1, result
