"""A version of the product, installed in a folder of its own: this one, or an earlier commit beside it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from local.layout import ROOT, Layout

# Runs the version's own code, for the stack in the environment.
CONFIGURE = "from local import configs, layout; configs.write_all(layout.Layout.from_environment())"
SECTIONS = """\
from local import layout, stack
here = layout.Layout.from_environment()
print(stack.supervisor_config(here, stack.all_programs(here)))
"""
CLI = """\
import os
from fieldstream_central.cli import main
from local import layout, programs
here = layout.Layout.from_environment()
try:
    os.environ |= programs.ours(here, "setup")
except TypeError:  # before each program had settings of its own
    os.environ |= programs.ours(here)
main()
"""


class VersionError(Exception):
    """A version cannot be had, or one of its commands failed."""


@dataclass(frozen=True)
class Version:
    """One version: its source in `root`, its environment in `root/.venv`."""

    root: Path

    def up(self, layout: Layout) -> None:
        """Starts the version's whole local stack."""
        self._run(layout, "-m", "local.stack", "up")

    def configure(self, layout: Layout) -> None:
        """Writes every configuration file as this version has it."""
        self._run(layout, "-c", CONFIGURE)

    def sections(self, layout: Layout) -> dict[str, str]:
        """How supervisord is to run each program of this version, by the program's name."""
        parts = re.split(r"^(?=\[program:)", self._run(layout, "-c", SECTIONS), flags=re.MULTILINE)[1:]
        return {part[len("[program:") :].partition("]")[0]: part for part in parts}

    def fieldstream(self, layout: Layout, *arguments: str) -> str:
        """Runs this version's command `fieldstream`; what it printed. Raises VersionError if it fails."""
        return self._run(layout, "-c", CLI, *arguments)

    def _run(self, layout: Layout, *arguments: str) -> str:
        offset = {f"FIELDSTREAM_PORT_{name.upper()}": str(port) for name, port in layout.ports.items()}
        environment = os.environ | offset | {"FIELDSTREAM_VAR": str(layout.var), "PYTHONPATH": f"{self.root}/deploy"}
        command = [str(self.root / ".venv/bin/python"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
        if done.returncode:
            raise VersionError(f"{arguments} of {self.root} ended with {done.returncode}: {done.stderr[-3000:]}")
        return done.stdout


def earlier(commit: str) -> Version:
    """The version of a commit, installed below var/test-upgrade. Its .venv is a link, so that it can be replaced."""
    root = ROOT / "var/test-upgrade" / commit
    if not (root / ".venv-own").exists():
        shutil.rmtree(root, ignore_errors=True)  # also what an interrupted installation left
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
        if archive.returncode:
            raise VersionError(f"no commit {commit} here ({archive.stderr.decode().strip()}): fetch the whole history")
        root.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", root], input=archive.stdout, check=True)
    else:
        point(root / ".venv", root / ".venv-own")
    install = [sys.executable, "-m", "local.install"]
    subprocess.run(install, env=os.environ | {"PYTHONPATH": f"{root}/deploy"}, check=True)
    if not (root / ".venv").is_symlink():
        (root / ".venv").rename(root / ".venv-own")
        point(root / ".venv", root / ".venv-own")
    return Version(root)


def point(link: Path, target: Path) -> None:
    """Lets a link name another target, in one step."""
    aside = link.with_name(f"{link.name}-aside")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    aside.replace(link)
