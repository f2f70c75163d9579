"""What each receiver was told last, on disk: so that a message is sent once, whatever was killed in between.

Alertmanager notes what it sent every few seconds only, and forgets alerts when it is killed; it then sends again. Lost,
this file costs a repeated message and nothing else.
"""

import sqlite3
import threading
import time
from pathlib import Path

from fieldstream_central.alarms.life import rank

_KEPT_S = 30 * 86_400
# A repetition may come a little earlier than its interval after the message before.
_SLACK = 0.8


class Ledger:
    """One row per channel of a receiver (`on-call/email`) and incident."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS told (receiver TEXT, incident TEXT, status TEXT, severity TEXT, at_s REAL, "
            "PRIMARY KEY (receiver, incident))"
        )
        self._db.execute("DELETE FROM told WHERE at_s < ?", (time.time() - _KEPT_S,))

    def last(self, receiver: str, incident: str) -> tuple[str, str, float] | None:
        """Status (firing or resolved), severity and time of the last message, seconds since 1970."""
        with self._lock:
            row = self._db.execute(
                "SELECT status, severity, at_s FROM told WHERE receiver = ? AND incident = ?", (receiver, incident)
            ).fetchone()
        return tuple(row) if row else None

    def is_due(self, receiver: str, incident: str, status: str, severity: str, repeat_s: float) -> bool:
        """Whether this says anything that was not said: another status, a worse severity, or a repetition."""
        last = self.last(receiver, incident)
        if last is None or last[0] != status:
            return True
        worse = rank(severity) > rank(last[1])
        return status == "firing" and (worse or time.time() - last[2] >= _SLACK * repeat_s)

    def note(self, receiver: str, incident: str, status: str, severity: str) -> None:
        """It has been sent."""
        with self._lock:
            self._db.execute(
                "INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?)",
                (receiver, incident, status, severity, time.time()),
            )

    def was_told(self, receiver: str, incident: str) -> bool:
        """Whether any channel of a receiver was told of its beginning and not of its end."""
        with self._lock:
            row = self._db.execute(
                "SELECT 1 FROM told WHERE status = 'firing' AND incident = ? AND substr(receiver, 1, ?) = ?",
                (incident, len(receiver) + 1, f"{receiver}/"),
            ).fetchone()
        return row is not None

    def untold_ends(self, incidents: list[str]) -> set[str]:
        """Of these the ones whose beginning was told to somebody and whose end was not."""
        marks = ",".join("?" * len(incidents))
        with self._lock:
            rows = self._db.execute(
                f"SELECT DISTINCT incident FROM told WHERE status = 'firing' AND incident IN ({marks})",  # noqa: S608
                incidents,
            ).fetchall()
        return {row[0] for row in rows}
