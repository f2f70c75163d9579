"""The generated configuration files, judged by the programs' own checkers."""

import subprocess
from pathlib import Path

import pytest
from local import configs
from local.layout import Layout


@pytest.mark.parametrize(
    ("checker", "name"),
    [(["amtool", "check-config"], "alertmanager.yml"), (["promtool", "check", "config"], "prometheus.yml")],
)
def test_a_generated_configuration_passes_its_programs_own_check(tmp_path: Path, checker: list[str], name: str) -> None:
    configs.write_all(Layout(tmp_path))
    done = subprocess.run([*checker, str(tmp_path / "config" / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pseudonym_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    configs.write_all(Layout(tmp_path))
    key = tmp_path / "secrets" / "pseudonym.key"
    first = key.read_text()
    configs.write_all(Layout(tmp_path))
    assert key.read_text() == first
    assert key.stat().st_mode & 0o077 == 0
