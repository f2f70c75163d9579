"""One version in place of another on a running stack, program by program, on the same data."""

import shutil
import tomllib
from dataclasses import dataclass, field

from chaos.harm import until
from chaos.world import World
from local import stack
from local.layout import ROOT

from upgrade.version import Version, point

# The centre first: a newer gateway may write what an older centre does not know.
PROGRAMS = ("loader", "alerter", "watchdog", "api", "console", "gateway")
JOBS = ("pipeline", "detect")


@dataclass
class RollingWorld(World):
    """A stack that an earlier version has started. `old` is that version; `running` the one that runs."""

    old: Version = field(default_factory=lambda: Version(ROOT))

    def start(self) -> None:
        """The earlier version's stack, empty."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.old.up(self.layout)

    def roll(self, version: Version) -> None:
        """Puts a version in place of the one that runs, as docs/deploy.md says."""
        self._configure_as(version)
        sections = version.sections(self.layout)
        # Flink's Python workers start from the earlier version's path: as if that had been installed over.
        point(self.old.root / ".venv", version.root / (".venv-own" if version == self.old else ".venv"))
        version.fieldstream(self.layout, "topics")
        version.fieldstream(self.layout, "schemas", "register")
        self._replace("clickhouse", sections["clickhouse"])
        if version != self.old:  # which refuses what is newer than itself; tables stay as they are
            version.fieldstream(self.layout, "store", "migrate")
        self._replace("jobs", sections["jobs"])
        for job in JOBS:
            version.fieldstream(self.layout, "jobs", "upgrade", job)
        for program in PROGRAMS:
            self._replace(program, sections[program])

    def _configure_as(self, version: Version) -> None:
        """A spool that is encrypted stays so: the key is its site's, also with a version that sets none by itself."""
        path = self.layout.config / "gateway.toml"
        key = tomllib.loads(path.read_text()).get("spool", {}).get("key_file")
        version.configure(self.layout)
        if key and "spool" not in tomllib.loads(text := path.read_text()):
            path.write_text(f'{text}\n[spool]\nkey_file = "{key}"\n')

    def _replace(self, name: str, section: str) -> None:
        """Another program under a supervised name; returns when it is ready."""
        path = self.layout.config / "supervisord.conf"
        before, _, rest = path.read_text().partition(f"[program:{name}]")
        _, bracket, after = rest.partition("\n[program:")
        path.write_text(before + section.rstrip() + "\n" + bracket + after)
        self.supervisor.renew(name)
        ready = next(program.ready for program in stack.all_programs(self.layout) if program.name == name)
        until(f"{name} is ready", ready)
