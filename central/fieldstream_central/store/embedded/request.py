"""One HTTP request as ClickHouse reads it: statement, settings, parameters, format, body."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO
from urllib.parse import parse_qsl

from fieldstream_central.store.embedded import compression, statement

# URL parameters that are not settings. What is here and not read below has no meaning in one process.
_RESERVED = frozenset(
    {"query", "database", "default_format", "user", "password"}
    | {"session_id", "session_timeout", "session_check", "query_id", "quota_key"}
    | {"compress", "decompress", "enable_http_compression", "stacktrace", "role"}
    | {
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
        "http_headers_progress_interval_ms",
        "send_progress_in_http_headers",
    }
    | {"close_session", "send_http_exception_tag", "http_zlib_compression_level"}
)
_HEAD_BYTES = 256 << 10
_MAX_STATEMENT_BYTES = 256 << 20
_READ_BYTES = 1 << 20


class RequestError(ValueError):
    """The request cannot be read; the text is for the client."""


@dataclass(frozen=True)
class Request:
    """What the URL and headers say; the body comes apart, as it may be long."""

    query: Mapping[str, str]
    settings: Mapping[str, str]
    params: Mapping[str, str]
    database: str
    default_format: str
    session: str
    session_timeout_s: float
    query_id: str
    reading_only: bool
    answer_blocks: bool
    answer_encoding: str
    body_blocks: bool
    body_encoding: str


def parse(method: str, query_string: str, headers: Mapping[str, str]) -> Request:
    """The request's line and headers. Raises RequestError."""
    query = dict(parse_qsl(query_string, keep_blank_values=True))
    settings = {key: value for key, value in query.items() if key not in _RESERVED and not key.startswith("param_")}
    http_compression = query.get("enable_http_compression", "0") in ("1", "true")
    try:
        timeout_s = float(query.get("session_timeout", "60"))
    except ValueError as error:
        raise RequestError("session_timeout is not a number") from error
    return Request(
        query=query,
        settings=settings,
        params={key.removeprefix("param_"): value for key, value in query.items() if key.startswith("param_")},
        database=query.get("database") or headers.get("X-ClickHouse-Database", ""),
        default_format=query.get("default_format") or headers.get("X-ClickHouse-Format", "") or "TabSeparated",
        session=query.get("session_id", ""),
        session_timeout_s=timeout_s,
        query_id=query.get("query_id") or str(uuid.uuid4()),
        reading_only=method in ("GET", "HEAD"),
        answer_blocks=query.get("compress", "0") in ("1", "true"),
        answer_encoding=compression.choose(headers.get("Accept-Encoding", "")) if http_compression else "",
        body_blocks=query.get("decompress", "0") in ("1", "true"),
        body_encoding=headers.get("Content-Encoding", "").lower(),
    )


def read_body(file: BinaryIO, headers: Mapping[str, str]) -> Iterator[bytes]:
    """The raw body in pieces, by its length or chunked. Raises RequestError when the client breaks off."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        while size := _chunk_size(file.readline(1024)):
            yield from _read_exactly(file, size)
            file.readline(1024)
        while file.readline(8192).strip():
            pass
        return
    yield from _read_exactly(file, int(headers.get("Content-Length") or 0))


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.split(b";")[0], 16)
    except ValueError as error:
        raise RequestError("The chunked body is damaged or was broken off") from error


def _read_exactly(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        data = file.read(min(size, _READ_BYTES))
        if not data:
            raise RequestError("The body was broken off")
        size -= len(data)
        yield data


@dataclass(frozen=True)
class Work:
    """What is to be run: a statement, or an INSERT whose rows come in pieces."""

    sql: str
    insert_format: str = ""
    rows: Iterable[bytes] = ()


def work_of(request: Request, raw_body: Iterator[bytes]) -> Work:
    """The statement: parameter `query`, then the body, as ClickHouse joins them. Raises RequestError, BodyError."""
    body = (
        compression.unpack_blocks(raw_body)
        if request.body_blocks
        else compression.unpack(raw_body, request.body_encoding)
    )
    given = request.query.get("query", "").encode()
    head = bytearray(given + b"\n" if given.strip() else b"")
    # An INSERT whose statement stands in the URL: the whole body is rows.
    while (insert := statement.find_insert(bytes(head))) is None and len(head) < _HEAD_BYTES:
        piece = next(body, None)
        if piece is None:
            break
        head += piece
    if insert is not None:
        return Work(insert.sql, insert.format, chain([bytes(head[insert.data_start :])], body))
    for piece in body:
        head += piece
        if len(head) > _MAX_STATEMENT_BYTES:
            raise RequestError("Code: 62. DB::Exception: The statement is longer than 256 MiB. (SYNTAX_ERROR)")
    try:
        sql = head.decode().strip()
    except UnicodeDecodeError as error:
        raise RequestError("Code: 62. DB::Exception: The statement is not UTF-8. (SYNTAX_ERROR)") from error
    if not sql:
        raise RequestError("Code: 62. DB::Exception: Empty query. (SYNTAX_ERROR)")
    if statement.verb(sql.encode()) == "INSERT":
        return Work(sql)
    try:
        return Work(statement.single(sql))
    except statement.SeveralStatementsError as error:
        raise RequestError(f"Code: 62. DB::Exception: {error}. (SYNTAX_ERROR)") from error
