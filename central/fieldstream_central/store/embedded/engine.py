"""The engine: one chdb process-wide instance, a handle per request, a handle kept per HTTP session.

A chdb handle runs one query at a time and mixes up parameters between threads: it belongs to one request at a time.
Handles of reading requests are kept for the next one with the same settings, which spares opening it and setting
them (0.4 ms). One handle is kept open all the time: with the last one the engine itself would close.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from chdb.state.sqlitelike import Connection

_ERROR = re.compile(r"Code: (\d+)[.,]")

_CONFIG = """<clickhouse>
  <max_server_memory_usage>{memory_bytes}</max_server_memory_usage>
  <mark_cache_size>{mark_cache_bytes}</mark_cache_size>
  <primary_index_cache_size>{mark_cache_bytes}</primary_index_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <mmap_cache_size>200</mmap_cache_size>
  <background_pool_size>4</background_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <backups><allowed_path>{backups}</allowed_path></backups>
  <merge_tree>
    <!-- These must stay below the pool's size, or merges of ordinary size never start. -->
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>2</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_mutation>2</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>2</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    <old_parts_lifetime>60</old_parts_lifetime>
  </merge_tree>
</clickhouse>
"""


class EngineError(Exception):
    """The engine refused or failed a query; `code` is ClickHouse's error code."""

    def __init__(self, message: str, code: int | None = None) -> None:
        self.message = _plain(message)
        found = _ERROR.search(self.message)
        self.code = code if code is not None else int(found.group(1)) if found else 1002
        super().__init__(self.message)


def _plain(message: str) -> str:
    # chdb puts its own words before ClickHouse's message; clients expect "Code: N. DB::Exception: ..." first.
    start = message.find("Code: ")
    return message[start:] if start > 0 else message


_MOST_READY = 32


@dataclass
class Handle:
    """A chdb connection with a lock: sessions may be asked for by two requests at once."""

    connection: Connection
    lock: threading.Lock = field(default_factory=threading.Lock)
    last_used: float = field(default_factory=time.monotonic)
    timeout_s: float = 60.0


class Engine:
    """The ClickHouse engine on one data directory. Only one process can open a directory."""

    def __init__(self, path: Path, *, memory_mb: int = 1500, backups: Path | None = None) -> None:
        path.mkdir(parents=True, exist_ok=True)
        backups = (backups or path.with_name(f"{path.name}-backups")).resolve()
        backups.mkdir(parents=True, exist_ok=True)
        self._path = path
        config = path / "engine.xml"
        memory = memory_mb << 20
        text = _CONFIG.format(memory_bytes=memory, mark_cache_bytes=memory >> 4, backups=escape(str(backups)))
        config.write_text(text)
        try:
            self._keeper = Connection(f"{path}?config-file={config}")
        except RuntimeError as error:
            raise EngineError(f"the engine cannot open {path}: {error}") from error
        self._sessions: dict[str, Handle] = {}
        self._ready: dict[object, list[Connection]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def handle(self, session: str = "", session_timeout_s: float = 60.0) -> Iterator[Connection]:
        """A handle for one request: a fresh one, or the session's own, which keeps settings and temporary tables."""
        if not session:
            with closing(Connection(str(self._path))) as connection:
                yield connection
            return
        with self._lock:
            self._drop_idle_sessions()
            handle = self._sessions.get(session)
            if handle is None:
                handle = self._sessions[session] = Handle(Connection(str(self._path)))
            handle.timeout_s = session_timeout_s
        if not handle.lock.acquire(timeout=10):
            raise EngineError(f"Code: 373. DB::Exception: Session {session} is locked by a concurrent client.", 373)
        try:
            yield handle.connection
        finally:
            handle.last_used = time.monotonic()
            handle.lock.release()

    @contextmanager
    def ready(self, key: object, prepare: Callable[[Connection], None]) -> Iterator[Connection]:
        """A handle that `prepare` was done to, kept afterwards for others of the same `key` unless an error comes.

        Only for statements that leave nothing behind on their handle.
        """
        with self._lock:
            waiting = self._ready.get(key)
            connection = waiting.pop() if waiting else None
        try:
            if connection is None:
                connection = Connection(str(self._path))
                prepare(connection)
            yield connection
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        with self._lock:
            if sum(map(len, self._ready.values())) >= _MOST_READY:
                for one in self._ready.pop(next(iter(self._ready))):
                    one.close()
            self._ready.setdefault(key, []).append(connection)

    def _drop_idle_sessions(self) -> None:
        now = time.monotonic()
        for name, handle in list(self._sessions.items()):
            if now - handle.last_used > handle.timeout_s and not handle.lock.locked():
                del self._sessions[name]
                handle.connection.close()

    def close(self) -> None:
        """Closes the engine; to be called when no request runs any more."""
        for connection in chain((handle.connection for handle in self._sessions.values()), *self._ready.values()):
            connection.close()
        self._sessions.clear()
        self._ready.clear()
        self._keeper.close()


def run(connection: Connection, sql: str, output: str = "TSV", params: dict[str, str] | None = None) -> Any:
    """One query, answered whole. Raises EngineError."""
    try:
        return connection.query(sql, output, params=params or {})
    except (RuntimeError, ValueError) as error:
        raise EngineError(str(error)) from None


def quote(text: str) -> str:
    """The text as an SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
