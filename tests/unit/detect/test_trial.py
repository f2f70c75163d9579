"""Settings on trial: what replaces what, and the verdict."""

from dataclasses import replace
from typing import Any

import pytest
from fieldstream_central.detect.compare import Change
from fieldstream_central.detect.config import DetectionConfig, DetectionConfigError
from fieldstream_central.detect.model import Anomaly
from fieldstream_central.detect.trial import candidate, judge

HOUR_MS = 3_600_000
EPISODE = Anomaly.from_record(
    {
        **{"anomaly_id": "a", "device_id": "pump-1", "metric": "temperature", "site": "", "area": "", "asset_id": "p"},
        **{"asset_type": "pump", "detector": "limit", "detector_version": "1", "kind": "limit-high"},
        **{"severity": "warning", "state": "close", "started_at": 0, "detected_at": 10, "ended_at": HOUR_MS},
        **{"observed": None, "expected": None, "expected_low": None, "expected_high": None, "score": 1.0},
        **{"reason": "", "evidence_start": 0, "evidence_end": 10, "members": [], "shadow": False, "revision": 2},
    }
)


def marked(mark: str, started_at: int, metric: str = "temperature") -> dict[str, Any]:
    times: dict[str, Any] = {"started_at": started_at, "ended_at": started_at + 60_000}
    return times | {"device_id": "pump-1", "metric": metric, "marks": [mark]}


def test_a_useful_alarm_that_would_not_have_come_is_missed_and_a_false_one_avoided() -> None:
    change = Change(removed=[EPISODE], added=[replace(EPISODE, metric="pressure")], kept=3)
    marks = [marked("useful", 0), marked("false", HOUR_MS), marked("useful", 9 * HOUR_MS), marked("false", 0, "flow")]
    verdict = judge(change, marks, windows=7)
    assert (verdict.before, verdict.after, verdict.added, verdict.removed) == (4, 4, 1, 1)
    assert (verdict.useful, verdict.missed, verdict.unwanted, verdict.avoided) == (2, 1, 2, 1)


def test_a_trial_replaces_what_it_names_and_nothing_else() -> None:
    live = DetectionConfig.from_table({"all": {"off_delay_s": 5}, "metric": {"t": {"high": 9.0}}}, "test")
    tried = candidate(live, "metric", "t", {"on_delay_s": 30})
    assert tried.of("", "d", "t").high == 9.0
    assert tried.of("", "d", "t").on_delay_s == 30.0
    assert tried.of("", "d", "other").on_delay_s == 0.0
    assert candidate(live, "all", "", {"on_delay_s": 7}).of("", "d", "x").off_delay_s == 5.0
    assert live.of("", "d", "t").on_delay_s == 0.0


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(DetectionConfigError, match="did you mean 'on_delay_s'"):
        candidate(DetectionConfig(), "all", "", {"on_delay": 7})
