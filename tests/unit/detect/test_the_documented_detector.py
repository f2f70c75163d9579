"""The example detector in docs/detection.md, taken from there word for word, loaded by entry point and at work."""

import re
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import pytest
from fieldstream_central.detect.asset_detection import AssetDetection
from fieldstream_central.detect.config import DetectionConfig
from fieldstream_central.detect.model import Window

HOUR = 3_600_000
PAGE = Path(__file__).resolve().parents[3] / "docs" / "detection.md"


def test_example_of_at_most_thirty_lines_finds_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(example.splitlines()) <= 30
    module = ModuleType("my_package")
    exec(example, module.__dict__)  # noqa: S102 - our own page
    monkeypatch.setitem(sys.modules, "my_package", module)
    point = EntryPoint("night-load", "my_package:NightLoad", "fieldstream.detectors")
    monkeypatch.setattr("fieldstream_central.detect.plug_ins.entry_points", lambda **_: EntryPoints([point]))
    detection = AssetDetection.load("a", {}, DetectionConfig())
    steps = []
    for minute in range(14 * 60):
        at_ms = minute * 60_000
        draws = 7.5 if at_ms // HOUR in (1, 12) else 0.5
        row = Window("d", "current", at_ms, at_ms + 10_000, 1, draws, 0.0, draws, draws, draws, draws, at_ms, at_ms)
        steps += [step for step in detection.on_window(row) if step.detector == "night-load"]
    assert [(step.state, step.started_at // HOUR) for step in steps if step.state != "update"] == [
        ("open", 1),
        ("close", 1),
    ]
    assert steps[0].reason == "draws 7.5 A at night"
