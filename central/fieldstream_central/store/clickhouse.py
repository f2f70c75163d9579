"""A small client of ClickHouse's HTTP interface, with the two kinds of failure that callers treat differently.

ClickHouseError
├── RefusedError        it answered and refused: `code` says why
└── UnreachableError    it did not answer, or broke off: nothing is known about what it did
"""

import json
import re
import ssl
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from types import TracebackType
from typing import Any

import httpx

_CODE = re.compile(r"Code: (\d+)")


def without_password(url: str) -> str:
    """The address as it may be logged."""
    return re.sub(r"//[^@/]*@", "//", url)


class ClickHouseError(Exception):
    """ClickHouse refused, or did not answer."""


class RefusedError(ClickHouseError):
    """ClickHouse's own refusal; `code` is its error code, see system.errors."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


class UnreachableError(ClickHouseError):
    """No answer; what was asked may have been done."""


def encode_param(value: object) -> str:
    """A value for a `{name:Type}` placeholder, as ClickHouse's HTTP interface reads it."""
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, datetime):
        return f"{value.timestamp():.3f}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(quoted(item) for item in value) + "]"
    text = str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def quoted(value: object) -> str:
    """A value as it stands in a statement."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return encode_param(value)


def query_string(params: Mapping[str, object] | None, settings: Mapping[str, object] | None) -> dict[str, str]:
    """URL parameters for placeholders and settings."""
    query = {f"param_{name}": encode_param(value) for name, value in (params or {}).items()}
    return query | {name: str(value) for name, value in (settings or {}).items()}


def refusal(headers: Mapping[str, str], body: bytes) -> RefusedError:
    """The error that an answer with a failure status carries."""
    text = body.decode(errors="replace").strip()
    code = headers.get("X-ClickHouse-Exception-Code")
    found = _CODE.search(text)
    return RefusedError(int(code or (found.group(1) if found else 0)), text or "no reason given")


@cache
def _trusted() -> ssl.SSLContext:
    """Believes whom this machine believes, or the authorities in the file that SSL_CERT_FILE names."""
    return ssl.create_default_context()


class ClickHouse:
    """One connection pool to one server. Every call raises RefusedError or UnreachableError."""

    def __init__(self, url: str, *, timeout_s: float = 60.0) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url, timeout=httpx.Timeout(timeout_s, connect=5.0), trust_env=False, verify=_trusted()
        )

    def __enter__(self) -> "ClickHouse":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def execute(
        self, sql: str, params: Mapping[str, object] | None = None, settings: Mapping[str, object] | None = None
    ) -> bytes:
        """Runs one statement; the answer as it came."""
        return self._post(query_string(params, settings), sql.encode()).content

    def write(
        self, sql: str, params: Mapping[str, object] | None = None, settings: Mapping[str, object] | None = None
    ) -> int:
        """Runs an INSERT ... SELECT; how many rows it wrote, those of dependent views included."""
        response = self._post(query_string(params, settings), sql.encode())
        return int(json.loads(response.headers.get("X-ClickHouse-Summary", "{}")).get("written_rows", 0))

    def rows(
        self, sql: str, params: Mapping[str, object] | None = None, settings: Mapping[str, object] | None = None
    ) -> list[dict[str, Any]]:
        """Rows of a SELECT."""
        body = self.execute(f"{sql}\nFORMAT JSONEachRow", params, settings)
        # A String may hold any bytes, as the payload of a dead letter does; encode it in SQL where they matter.
        return [json.loads(line.decode(errors="replace")) for line in body.split(b"\n") if line]

    def value(self, sql: str, params: Mapping[str, object] | None = None) -> Any:
        """The one value of a SELECT of one row and column; None without a row."""
        rows = self.rows(sql, params)
        return next(iter(rows[0].values())) if rows else None

    def insert(self, statement: str, body: bytes, settings: Mapping[str, object] | None = None) -> None:
        """`INSERT INTO t (columns) FORMAT name` with its rows."""
        self._post({"query": statement} | query_string(None, settings), body)

    def _post(self, query: Mapping[str, str], body: bytes) -> httpx.Response:
        try:
            response = self._http.post("/", params=query, content=body)
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"ClickHouse at {without_password(self.url)} does not answer: {error or type(error).__name__}"
            ) from error
        if response.status_code != 200:
            raise refusal(response.headers, response.content)
        return response
