"""Brings a ClickHouse to the current schema: numbered SQL files, each applied once and recorded.

Statements are written so that running one again does no harm: a migration that was interrupted is run
again from its start. A line `-- when: SELECT ...` before a statement runs it only if the answer is not 0. A file
that was applied must not be edited any more; a changed one is reported.
"""

import hashlib
import logging
import re
import time
from dataclasses import dataclass
from importlib.resources import files

from fieldstream_central.store.clickhouse import ClickHouse, UnreachableError
from fieldstream_central.store.cluster import render

log = logging.getLogger("fieldstream.migrate")

_WHEN = re.compile(r"^-- when: (.+)$", re.MULTILINE)
# Long enough to copy a table.
_TIMEOUT_S = 86_400.0

_PREPARE = (
    "CREATE DATABASE IF NOT EXISTS fieldstream",
    """CREATE TABLE IF NOT EXISTS fieldstream.migrations
    (number UInt32, name String, sha256 String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'))
    ENGINE = ReplacingMergeTree ORDER BY number""",
)


class MigrationError(Exception):
    """The database's schema and this version's migrations do not fit together."""


@dataclass(frozen=True)
class Migration:
    """One file of store/schema."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Digest of the statements, comments left out: those may be improved."""
        return hashlib.sha256("\n".join(self.statements).encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """Its statements, without comments."""
        return [statement for _, statement in self.guarded]

    @property
    def guarded(self) -> list[tuple[str, str]]:
        """Its statements, each behind the question whether it is to be run; empty: always."""
        found = []
        comments = re.compile(r"^[ \t]*--(?! when: ).*\n", re.MULTILINE)
        for part in comments.sub("", self.text).rstrip("\n").split(";\n"):
            when = _WHEN.search(part)
            statement = _WHEN.sub("", part).strip()
            if statement.rstrip(";"):
                found.append((when.group(1) if when else "", statement))
        return found


def migrations() -> list[Migration]:
    """All migrations of this version, in order."""
    found = files("fieldstream_central.store").joinpath("schema").iterdir()
    parts = [(path.name.removesuffix(".sql").partition("_"), path) for path in found if path.name.endswith(".sql")]
    return sorted(
        (Migration(int(number), name, path.read_text()) for (number, _, name), path in parts),
        key=lambda migration: migration.number,
    )


def migrate(url: str, *, wait_s: float = 60.0, cluster: str = "") -> list[str]:
    """Applies what is missing; waits up to `wait_s` for ClickHouse. Names of the migrations applied now.

    With `cluster`, the name of a cluster that the server knows, tables are Replicated and Distributed (cluster.py).

    Raises MigrationError when the database is newer than this program or an applied file was changed;
    ClickHouseError when ClickHouse refuses or does not answer.
    """
    with ClickHouse(url, timeout_s=_TIMEOUT_S) as clickhouse:
        _wait(clickhouse, wait_s)

        def run(statement: str) -> None:
            for one in render(statement, cluster) if cluster else [statement]:
                clickhouse.execute(one)

        for statement in _PREPARE:
            run(statement)
        applied = {row["number"]: row for row in clickhouse.rows("SELECT * FROM fieldstream.migrations FINAL")}
        known = migrations()
        newest = max((migration.number for migration in known), default=0)
        if beyond := [number for number in applied if number > newest]:
            raise MigrationError(f"the database has migrations {beyond}, newer than this program's {newest}")
        done = []
        for migration in known:
            if migration.number in applied:
                if applied[migration.number]["sha256"] != migration.sha256:
                    raise MigrationError(f"{migration.number:04d}_{migration.name} was changed after it was applied")
                continue
            for when, statement in migration.guarded:
                if not when or clickhouse.value(when):
                    run(statement)
            clickhouse.execute(
                "INSERT INTO fieldstream.migrations (number, name, sha256) "
                "VALUES ({number:UInt32}, {name:String}, {sha:String})",
                {"number": migration.number, "name": migration.name, "sha": migration.sha256},
            )
            log.info("applied %04d_%s", migration.number, migration.name)
            done.append(f"{migration.number:04d}_{migration.name}")
        return done


def _wait(clickhouse: ClickHouse, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            clickhouse.execute("SELECT 1")
            return
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
