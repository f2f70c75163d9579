"""The generated configuration files, judged by the programs' own checkers."""

import subprocess
from pathlib import Path

import pytest
import yaml
from fieldstream_central.cli import app
from local import configs
from local.layout import Layout
from typer.testing import CliRunner


@pytest.mark.parametrize(
    ("checker", "name"),
    [(["amtool", "check-config"], "alertmanager.yml"), (["promtool", "check", "config"], "prometheus.yml")],
)
def test_a_generated_configuration_passes_its_programs_own_check(tmp_path: Path, checker: list[str], name: str) -> None:
    configs.write_all(Layout(tmp_path))
    done = subprocess.run([*checker, str(tmp_path / "config" / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alertmanager_shows_its_certificate_to_an_alerter_that_asks_for_it(tmp_path: Path) -> None:
    options = ["--alerter", "https://fieldstream-alerter.fieldstream:9110", "--certificates", str(tmp_path)]
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).write_text("")
    told = CliRunner().invoke(app, ["notify", "alertmanager-config", *options]).output
    (tmp_path / "alertmanager.yaml").write_text(told)
    subprocess.run(["amtool", "check-config", str(tmp_path / "alertmanager.yaml")], capture_output=True, check=True)
    hooks = [hook for receiver in yaml.safe_load(told)["receivers"] for hook in receiver["webhook_configs"]]
    assert len(hooks) >= 2
    for hook in hooks:
        assert hook["url"].startswith("https://fieldstream-alerter.fieldstream:9110/notify/")
        assert hook["http_config"]["tls_config"] == {
            "ca_file": f"{tmp_path}/ca.crt",
            "cert_file": f"{tmp_path}/tls.crt",
            "key_file": f"{tmp_path}/tls.key",
        }


def test_the_pseudonym_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    configs.write_all(Layout(tmp_path))
    key = tmp_path / "secrets" / "pseudonym.key"
    first = key.read_text()
    configs.write_all(Layout(tmp_path))
    assert key.read_text() == first
    assert key.stat().st_mode & 0o077 == 0
