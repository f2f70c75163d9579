"""Backups by ClickHouse's own BACKUP and RESTORE, into the folder that the server allows for them."""

import re

from fieldstream_central.store.clickhouse import ClickHouse

# Longer than any backup may take; a query's ordinary limit would end it.
_SETTINGS = {"max_execution_time": 86_400}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class BackupError(Exception):
    """The backup cannot be made or restored so."""


def backup(clickhouse: ClickHouse, name: str, *, base: str | None = None) -> None:
    """Writes the whole database as `name`; with `base`, only what that backup does not have.

    Rows stored while it runs may be in it or not; each block is whole. Raises BackupError, ClickHouseError.
    """
    settings = f" SETTINGS base_backup = File('{_checked(base)}')" if base else ""
    clickhouse.execute(f"BACKUP DATABASE fieldstream TO File('{_checked(name)}'){settings}", settings=_SETTINGS)


def restore(clickhouse: ClickHouse, name: str, *, replace: bool = False) -> None:
    """Brings back the database as it was in `name`. With `replace`, drops what is there first.

    Stop the loader before; afterwards it goes on at its offsets in Kafka: what it stored after the backup was
    made is not read again unless its group's offsets are set back. Raises BackupError, ClickHouseError.
    """
    there = clickhouse.value("SELECT count() FROM system.databases WHERE name = 'fieldstream'")
    if there and not replace:
        raise BackupError("there is a database fieldstream: stop the loader, then give --replace to drop it first")
    checked = _checked(name)
    if there:
        # A backup that cannot be read must not cost what is there: one small table of it is read first.
        clickhouse.execute("DROP DATABASE IF EXISTS fieldstream_probe SYNC")
        clickhouse.execute("CREATE DATABASE fieldstream_probe")
        probe = f"RESTORE TABLE fieldstream.migrations AS fieldstream_probe.migrations FROM File('{checked}')"
        clickhouse.execute(probe, settings=_SETTINGS)
        clickhouse.execute("DROP DATABASE fieldstream_probe SYNC")
        clickhouse.execute("DROP DATABASE fieldstream SYNC", settings=_SETTINGS)
    clickhouse.execute(f"RESTORE DATABASE fieldstream FROM File('{checked}')", settings=_SETTINGS)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BackupError(f"{name!r} is no name for a backup: letters, digits, '.', '_' and '-'")
    return name
