"""One local stack for all end-to-end tests, in a folder and on ports of its own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from local import oracle
from local.layout import ROOT, VENV, Layout

OFFSET = 10_000


class Stack:
    """Runs the commands that the Makefile runs, against the test's own folder and ports."""

    def __init__(self, var: Path) -> None:
        # NiceGUI behaves differently when it sees that pytest runs.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        self.environment = inherited | {
            "FIELDSTREAM_VAR": str(var),
            "FIELDSTREAM_PORT_OFFSET": str(OFFSET),
            "PYTHONPATH": str(ROOT / "deploy"),
        }
        self.environment["FIELDSTREAM_CONFIG"] = str(var / "config/fieldstream.toml")
        defaults = Layout(var)
        self.layout = Layout(var, {name: port + OFFSET for name, port in defaults.ports.items()})
        self.store = oracle.Store(self.layout.url("clickhouse"))

    def run(self, *command: str, timeout_s: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs a program of the virtual environment to its end."""
        return subprocess.run(
            [str(VENV / "bin" / command[0]), *command[1:]],
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def up(self) -> str:
        """`make up`; returns what it printed."""
        done = self.run("python", "-m", "local.stack", "up")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def down(self) -> None:
        """`make down`."""
        done = self.run("python", "-m", "local.stack", "down")
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A running stack; stopped at the end of the session. Its logs stay in var/test-stack until the next one."""
    running = Stack(ROOT / "var" / "test-stack")
    running.run("python", "-m", "local.stack", "clean")
    try:
        running.up()
        yield running
    finally:
        running.down()
