"""docs/gateway.md followed literally, command by command, in an empty environment, up to the first reading."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.edge.parts import ROOT, Kafka, Mosquitto, Process, Registry, free_port, wait_until

_GUIDE = (ROOT / "docs" / "gateway.md").read_text()
_KEEPS = ("PIP_", "SSL_", "REQUESTS_", "HTTP", "http", "NO_PROXY", "no_proxy")  # how this machine reaches an index


def _commands(heading: str) -> list[list[str]]:
    """The command blocks under a heading of the guide, comments left out."""
    section = re.split(r"^## ", _GUIDE.split(f"## {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"(?:^ {4}.*\n)+", section, flags=re.MULTILINE)
    return [[line.strip() for line in re.sub(r" {2,}#.*", "", block).splitlines()] for block in blocks]


def _index_answers(directory: Path) -> bool:
    command = [sys.executable, "-m", "pip", "download", "-q", "--retries", "0", "--timeout", "10", "--no-deps"]
    done = subprocess.run([*command, "-d", str(directory), "hatchling"], check=False, capture_output=True)
    return done.returncode == 0


class Shell:
    """One person's terminal: directory and environment last from command to command, and begin empty."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._kept = directory / ".environment"
        home = directory / "home"
        home.mkdir()
        more = {name: value for name, value in os.environ.items() if name.startswith(_KEEPS)}
        self.environment = more | {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(home), "LANG": "C.UTF-8"}

    def run(self, command: str, *, status: int = 0) -> str:
        script = f'{command}\nstatus=$?\nenv -0 > "{self._kept}"\nexit $status\n'
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.directory, env=self.environment, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        self.environment = dict(pair.split("=", 1) for pair in self._kept.read_text().split("\0") if pair)
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    if not _index_answers(tmp_path / "probe"):
        pytest.skip("no package index can be reached")
    for part in ("schemas", "edge"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    yield Shell(tmp_path)


def _install(shell: Shell, way: str) -> None:
    package, pipx, environment = _commands("2. Install")
    assert "dpkg" in package[-1], "followed by test_gateway_package.py"
    if way == "pipx":
        if not shutil.which("pipx", path=shell.environment["PATH"]):  # what `apt install pipx` would do
            shell.run("python3 -m venv .pipx && .pipx/bin/pip install -q pipx")
            shell.environment["PATH"] += f":{shell.directory}/.pipx/bin"
        shell.environment["PIPX_HOME"] = f"{shell.directory}/home/pipx"
    for command in pipx if way == "pipx" else environment:
        shell.run(command)


@pytest.mark.parametrize("way", ["environment", "pipx"])
def test_guide_leads_from_nothing_to_the_first_reading(
    shell: Shell, parts: tuple[Mosquitto, Kafka, Registry], prefix: str, way: str
) -> None:
    mosquitto, kafka, registry = parts
    _install(shell, way)
    assert str(shell.directory) in shell.run("command -v fieldstream-gateway")
    (init,), checks = _commands("3. Configure")
    shell.run(init)
    config = shell.directory / "gateway.toml"
    text = config.read_text()
    for old, new in (
        ('gateway_id = "hall-3"', f'gateway_id = "{prefix}"'),
        ("mqtt://127.0.0.1:1883", mosquitto.url),
        ("127.0.0.1:9092", kafka.bootstrap),
        ("http://127.0.0.1:8085/apis/ccompat/v7", registry.url),
    ):  # the four lines that the guide says to edit
        assert old in text
        text = text.replace(old, new)
    config.write_text(f"{text}\n[http]\nport = {free_port()}\n")  # others on this machine have the usual one
    for command in checks:
        shell.run(command)
    ((_, start),) = _commands("4. Start")
    gateway = Process(["bash", "-c", f"exec {start}"], shell.directory / "log", shell.environment, shell.directory)
    try:
        ((publish, status),) = _commands("5. See the first reading")
        wait_until(lambda: "Everything works" in _status(shell, status), 30, "the gateway")
        shell.run(publish.replace("-h BROKER", f"-h 127.0.0.1 -p {mosquitto.port}"))
        wait_until(lambda: re.search(r"Readings forwarded +1\n", _status(shell, status)), 20, "the first reading")
    finally:
        assert gateway.stop(signal.SIGTERM) == 0


def _status(shell: Shell, command: str) -> str:
    return subprocess.run(
        ["bash", "-c", command], cwd=shell.directory, env=shell.environment, capture_output=True, text=True, check=False
    ).stdout
