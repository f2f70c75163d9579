"""Running one piece of work and giving its answer in pieces, so that errors before the first byte become a status."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from chdb.state.sqlitelike import Connection

from fieldstream_central.store.embedded import statement
from fieldstream_central.store.embedded.access import User
from fieldstream_central.store.embedded.engine import Engine, EngineError, quote, run
from fieldstream_central.store.embedded.request import Request, Work

# What the engine in the wheel does otherwise than a server.
_LIKE_A_SERVER = {"implicit_select": "0", "serialize_query_plan": "0"}


@dataclass
class Answer:
    """Pieces of the result; `whole` when all are there already. `close` gives the handle back."""

    format: str
    pieces: Iterator[bytes]
    whole: bytes | None = None
    summary: dict[str, str] = field(default_factory=dict)
    cleanup: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Ends the query if it still runs and gives its handle back."""
        self.cleanup.close()


def execute(engine: Engine, request: Request, work: Work, user: User) -> Answer:
    """Runs the work up to its first bytes. Raises EngineError."""
    started = time.monotonic()
    with ExitStack() as stack:
        reading = statement.verb(work.sql.encode()) in statement.STREAMED
        if refused := user.refuses(work.sql):
            raise EngineError(f"Code: 497. DB::Exception: {user.name}: Not enough privileges: {refused}.", 497)
        fills = user.inserts_into(work.sql)
        prepare = _preparations(engine, request, user, readonly=user.readonly and not fills)
        if reading and not request.session:
            # Names of parameters are part of the key: a handle remembers values of earlier questions.
            key = (*prepare, *request.params)
            connection = stack.enter_context(engine.ready(key, lambda handle: _prepare(handle, prepare)))
        else:
            connection = stack.enter_context(engine.handle(request.session, request.session_timeout_s))
            _prepare(connection, prepare)
        if work.insert_format:
            summary = _insert(connection, work)
            answer = Answer("", iter(()), b"", summary)
        else:
            answer = _query(connection, request, work, stack, streamed=reading)
        answer.summary.setdefault("elapsed_ns", str(int((time.monotonic() - started) * 1e9)))
        answer.cleanup = stack.pop_all()
    if answer.whole is not None:
        answer.close()
    return answer


def _prepare(connection: Connection, statements: tuple[str, ...]) -> None:
    for sql in statements:
        run(connection, sql)


def _preparations(engine: Engine, request: Request, user: User, *, readonly: bool) -> tuple[str, ...]:
    settings: Mapping[str, str] = _LIKE_A_SERVER | dict(user.settings) | dict(request.settings)
    if user.readonly:
        # Limits of a read-only user stand: what the request asks comes first, then they, then the lock.
        settings = _LIKE_A_SERVER | dict(request.settings) | dict(user.settings)
    if user.sites:
        settings = {**settings, "additional_table_filters": _only(engine, user.sites)}
    asked = request.settings.get("readonly", "0")
    level = "1" if readonly else asked if asked in ("1", "2") else "2" if request.reading_only else ""
    locked = f", readonly = {level}" if level else ""
    names = [name for name in settings if name != "readonly"]
    bad = next((name for name in names if not name.replace("_", "").isalnum()), None)
    if bad is not None:
        raise EngineError(f"Code: 115. DB::Exception: Setting {bad!r} is unknown. (UNKNOWN_SETTING)", 115)
    setting = "SET " + ", ".join(f"{name} = {quote(settings[name])}" for name in names) + locked
    return (f"USE `{request.database.replace('`', '')}`", setting) if request.database else (setting,)


_TABLES = """SELECT table, countIf(name = 'site') > 0 FROM system.columns
WHERE database = 'fieldstream' GROUP BY table ORDER BY table"""


def _only(engine: Engine, sites: tuple[str, ...]) -> str:
    """The engine's filter for rows of these sites: tables that name a site are filtered, others are empty."""
    listed = ", ".join(quote(site) for site in sites)
    with engine.handle() as connection:
        rows = bytes(run(connection, _TABLES).bytes()).decode().split("\n")
    filters = {
        table: f"site IN ({listed})" if named == "1" else "0"
        for table, _, named in (r.partition("\t") for r in rows if r)
    }
    return "{" + ", ".join(f"{quote('fieldstream.' + table)}: {quote(sql)}" for table, sql in filters.items()) + "}"


def _insert(connection: Connection, work: Work) -> dict[str, str]:
    try:
        inserter: Any = connection.send_insert(work.sql, work.insert_format)
    except RuntimeError as error:
        raise EngineError(str(error)) from None
    try:
        for piece in work.rows:
            if piece:
                inserter.append(piece)
        result = inserter.finish()
    except RuntimeError as error:
        with contextlib.suppress(RuntimeError):
            inserter.cancel()
        raise EngineError(str(error)) from None
    except ValueError:  # the body broke off or is damaged: nothing of it may be stored
        inserter.cancel()
        raise
    return {"written_rows": str(result.rows_written), "written_bytes": str(result.bytes_written)}


def _query(connection: Connection, request: Request, work: Work, stack: ExitStack, *, streamed: bool) -> Answer:
    output = statement.output_format(work.sql) or request.default_format
    params = dict(request.params)
    if not streamed or output not in statement.STREAMABLE:
        result = run(connection, work.sql, output, params)
        return Answer(output, iter(()), bytes(result.bytes()), _summary(result))
    try:
        stream = connection.send_query(work.sql, output, params=params)
    except RuntimeError as error:
        raise EngineError(str(error)) from None
    stack.callback(stream.close)
    pieces = _pieces(stream)
    first = next(pieces, b"")
    second = next(pieces, None)
    if second is None:
        return Answer(output, iter(()), first)
    return Answer(output, _rejoin(first, second, pieces))


def _pieces(stream: Any) -> Iterator[bytes]:
    while True:
        try:
            chunk = stream.fetch()
        except RuntimeError as error:
            raise EngineError(str(error)) from None
        if chunk is None:
            return
        yield bytes(chunk.bytes())


def _rejoin(first: bytes, second: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from rest


def _summary(result: Any) -> dict[str, str]:
    return {
        "read_rows": str(result.storage_rows_read()),
        "read_bytes": str(result.storage_bytes_read()),
        "written_rows": str(result.rows_written()),
        "written_bytes": str(result.bytes_written()),
        "result_rows": str(result.rows_read()),
        "elapsed_ns": str(int(result.elapsed() * 1e9)),
    }


def summary_header(summary: Mapping[str, str]) -> str:
    """The value of X-ClickHouse-Summary."""
    keys = ("read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read", "result_rows")
    return json.dumps(dict.fromkeys(keys, "0") | {"result_bytes": "0"} | dict(summary))
