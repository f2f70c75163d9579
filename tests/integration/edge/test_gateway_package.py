"""The Debian package: built, installed, run, upgraded, kept from a downgrade, removed, purged."""

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.edge.parts import ROOT, Kafka, Mosquitto, Process, Registry, free_port, wait_until
from integration.edge.test_gateway_on_real_parts import publish, readings
from systemd.build_deb import wheels

_NAME = "fieldstream-gateway"
_WHEELS = ROOT / "var" / "gateway-wheels"  # kept, so that only the first run downloads
_STATE, _SETTINGS = Path("/var/lib/fieldstream"), Path("/etc/fieldstream")


def _why_not() -> str:
    if os.geteuid() != 0:
        return "needs root to install packages"
    if not shutil.which("dpkg-deb") or not Path("/usr/bin/python3.11").exists():
        return "needs Debian 12 with its Python 3.11"
    if _STATE.exists() or _SETTINGS.exists():
        return f"{_STATE} or {_SETTINGS} exist: this machine has a gateway"
    return ""


pytestmark = pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "-")


def run(*command: str, ok: bool = True, **environment: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | environment, stdin=subprocess.DEVNULL
    )  # fmt: skip
    assert not ok or done.returncode == 0, done.stdout + done.stderr
    return done


def purge_at_a_terminal(answer: str) -> str:
    """`dpkg --purge` as a person runs it; what it asked."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "FIELDSTREAM_PURGE_DATA"}
    purge = subprocess.Popen(["dpkg", "--purge", _NAME], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 4096)
    os.write(ours, f"{answer}\n".encode())
    assert purge.wait(60) == 0
    os.close(ours)
    return shown.decode()


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, str]:
    build = str(ROOT / "deploy" / "systemd" / "build_deb.py")
    built = {}
    for version in ("0.1.0", "0.2.0"):
        done = run(
            sys.executable,
            build,
            "--version",
            version,
            "--out",
            str(tmp_path),
            "--cache",
            str(_WHEELS),
            ok=False,
        )
        if done.returncode and "pip" in done.stderr:
            pytest.skip(f"the dependencies' wheels cannot be had here: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stderr
        built[version] = done.stdout.strip()
    return built


@pytest.fixture
def clean_machine() -> Iterator[None]:
    yield
    run("dpkg", "--purge", _NAME, ok=False, FIELDSTREAM_PURGE_DATA="yes")
    run("userdel", "fieldstream", ok=False)


def test_package_is_installed_run_upgraded_and_removed(
    parts: tuple[Mosquitto, Kafka, Registry], packages: dict[str, str], clean_machine: None, prefix: str, tmp_path: Path
) -> None:
    mosquitto, kafka, registry = parts
    run("dpkg", "-i", "--force-depends", packages["0.1.0"])
    settings = _SETTINGS / "gateway.toml"
    assert settings.exists()
    assert run(_NAME, "--version").stdout.strip() == "0.1.0"
    assert run(_NAME, "check").returncode == 0
    port = free_port()
    settings.write_text(
        f'gateway_id = "{prefix}"\nstate_dir = "{_STATE}"\n[http]\nport = {port}\n[mqtt]\nurl = "{mosquitto.url}"\n'
        f'subscriptions = ["sensors/{prefix}/#"]\n[kafka]\nbootstrap = "127.0.0.1:1"\n'
        f'[registry]\nurls = ["{registry.url}"]\n'
    )

    def start() -> Process:
        command = ["setpriv", "--reuid=fieldstream", "--regid=fieldstream", "--init-groups", _NAME, "run"]
        process = Process(command, tmp_path / "gateway.log")
        wait_until(
            lambda: "Readings accepted" in run(_NAME, "status", ok=False).stdout,
            20,
            (tmp_path / "gateway.log").read_text(),
        )
        return process

    process = start()
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(300))
    wait_until(lambda: '"last_seq": 300' in run(_NAME, "status", "--json", ok=False).stdout, 20, "300 readings")
    assert process.stop() == 0

    run("dpkg", "-i", "--force-depends", packages["0.2.0"])
    assert run(_NAME, "--version").stdout.strip() == "0.2.0"
    refused = run("dpkg", "-i", "--force-depends", packages["0.1.0"], ok=False)
    assert refused.returncode != 0
    assert "may not be able to read the spool" in refused.stderr
    assert run(_NAME, "--version").stdout.strip() == "0.2.0"

    settings.write_text(settings.read_text().replace("127.0.0.1:1", kafka.bootstrap))
    process = start()
    wait_until(
        lambda: '"last_sent_seq": 300' in run(_NAME, "status", "--json", ok=False).stdout, 30, "the old spool sent"
    )
    assert process.stop() == 0

    run("dpkg", "--remove", _NAME)
    assert not Path("/usr/bin/fieldstream-gateway").exists()
    assert list((_STATE / "spool").glob("*.seg"))
    assert not Path("/usr/lib/fieldstream-gateway").exists()
    kept = run("dpkg", "--purge", _NAME)
    assert "are kept" in kept.stdout
    assert _STATE.exists()
    for answer, stays in (("n", True), ("y", False)):
        run("dpkg", "-i", "--force-depends", packages["0.2.0"])
        assert "not delivered included" in purge_at_a_terminal(answer)
        assert _STATE.exists() is stays
        assert _SETTINGS.exists() is stays


def test_unit_is_valid_and_hardened() -> None:
    unit = ROOT / "deploy" / "systemd" / "fieldstream-gateway.service"
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    done = run("systemd-analyze", "security", "--offline=true", str(unit))
    score = float(done.stdout.rsplit("service:", 1)[1].split()[0])
    assert score <= 1.5


def test_all_dependencies_have_wheels_for_both_architectures(tmp_path: Path) -> None:
    for arch in ("amd64", "arm64"):
        directory = tmp_path / arch
        directory.mkdir()
        try:
            found = wheels(directory, arch, _WHEELS)
        except subprocess.CalledProcessError as error:
            if "download" in error.cmd:
                pytest.fail(f"a dependency has no wheel for {arch}")
            raise
        assert len(found) > 10
