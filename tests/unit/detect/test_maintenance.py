"""Planned maintenance: nothing is raised and nothing learned in it, whoever announced it and whenever."""

import random

from fieldstream_central.detect.cohort import CohortDetection
from fieldstream_central.detect.config import DetectionConfig, Maintenance
from fieldstream_central.detect.model import Window

MINUTE = 60_000


def window(at_ms: int, value: float) -> Window:
    return Window(
        "d", "t", at_ms, at_ms + 10_000, 1, value, 0.0, value, value, value, value, at_ms, at_ms, asset_id="a",
        asset_type="pump", high=50.0,
    )  # fmt: skip


def steps(planned: tuple[Maintenance, ...], *, late: bool) -> list[str]:
    """Kinds found when minute 100 to 120 breaks a limit; `late`: the work is announced after the asset was seen."""
    detection, rng = CohortDetection(DetectionConfig()), random.Random(3)
    if not late:
        detection.set_maintenance(planned)
    found: list[str] = []
    for minute in range(200):
        if late and minute == 90:
            detection.set_maintenance(planned)
        value = (80.0 if 100 <= minute < 120 else 20.0) + rng.gauss(0, 0.1)
        found += [step.kind for step in detection.on_window(window(minute * MINUTE, value))]
    return found


def test_work_announced_before_or_after_an_asset_is_first_seen_keeps_it_silent() -> None:
    work = (Maintenance(99 * MINUTE, 121 * MINUTE, asset_id="a"),)
    assert "limit-high" in steps((), late=False)
    assert steps(work, late=False) == []
    assert steps(work, late=True) == []


def test_work_on_another_asset_changes_nothing() -> None:
    assert "limit-high" in steps((Maintenance(0, 200 * MINUTE, asset_id="b"),), late=False)
