"""The alert rules fire when they should and only then, as promtool plays them; the local stack's own copy is valid."""

import subprocess
from pathlib import Path

import pytest
from local import configs
from local.install import path_of
from local.layout import Layout

PROMTOOL = path_of("promtool")
pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: make install")


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run([str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alarms_about_the_system_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", Path(__file__).parent / "rules_test.yml")


def test_the_local_stacks_prometheus_loads_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(configs.prometheus(Layout(tmp_path)))
    promtool("check", "config", file)
