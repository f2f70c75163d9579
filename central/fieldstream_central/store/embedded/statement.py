"""Just enough SQL reading to know what a request asks: its verb, its output format, where its data begin.

The engine parses the statement itself; this only splits what ClickHouse's own HTTP handler splits.
"""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"(?P<space>\s+|--[^\n]*|/\*.*?\*/)"
    rb"|(?P<quoted>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`)"
    rb"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    rb"|(?P<mark>.)",
    re.DOTALL,
)

# A FORMAT clause at the very end, the usual case, told without reading the whole statement.
_CLOSING_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*$", re.IGNORECASE)

# The engine streams the answers of these only.
STREAMED = frozenset({"SELECT", "WITH"})

# Formats whose output may be cut into chunks without repeating a header or footer per chunk.
STREAMABLE = frozenset(
    {"Native", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "RowBinary", "JSONEachRow", "JSONCompactEachRow"}
    | {"CSV"}
)


class SeveralStatementsError(ValueError):
    """The text has more than one statement; ClickHouse's HTTP interface takes one."""


@dataclass(frozen=True)
class Insert:
    """An INSERT whose rows follow in the body: the statement without its FORMAT clause, and where the rows begin."""

    sql: str
    format: str
    data_start: int


def verb(sql: bytes) -> str:
    """First word of the statement in upper case; comments and opening parentheses are passed over."""
    for token in _TOKEN.finditer(sql):
        if token.lastgroup == "word":
            return token.group().decode().upper()
        if token.lastgroup != "space" and token.group() != b"(":
            break
    return ""


def find_insert(head: bytes) -> Insert | None:
    """The INSERT ... FORMAT name at the start of `head`, or None when the rows are not given that way."""
    if verb(head) != "INSERT":
        return None
    expect_format = False
    format_start = 0
    for token in _TOKEN.finditer(head):
        if token.lastgroup == "space":
            continue
        word = token.group().upper() if token.lastgroup == "word" else b""
        if expect_format:
            if token.lastgroup != "word" or token.end() == len(head):
                # A name that ends with the head may go on in what has not been read yet.
                return _insert(head, format_start, token.group(), token.end()) if word else None
            return _insert(head, format_start, token.group(), token.end())
        if word in (b"VALUES", b"SELECT", b"WITH"):
            return None
        if word == b"FORMAT":
            expect_format, format_start = True, token.start()
    return None


def _insert(head: bytes, format_start: int, name: bytes, end: int) -> Insert:
    # As ClickHouse: after the format's name, blanks, then at most one line end, then the rows.
    blanks = re.compile(rb"[ \t\f]*(?:\r?\n)?").match(head, end)
    return Insert(head[:format_start].decode(), name.decode(), blanks.end() if blanks else end)


def single(sql: str) -> str:
    """The statement without a closing semicolon. Raises SeveralStatementsError if another one follows."""
    if ";" not in sql:
        return sql
    text = sql.encode()
    end = len(text)
    semicolon = None
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "space":
            continue
        if semicolon is not None:
            raise SeveralStatementsError("Multi-statements are not allowed")
        if token.group() == b";":
            semicolon = token.start()
    return text[: end if semicolon is None else semicolon].decode()


def output_format(sql: str) -> str | None:
    """Name in the statement's closing FORMAT clause, which wins over the request's default."""
    closing = _CLOSING_FORMAT.search(sql[-100:])
    if closing and not {"--", "#"} & set(re.findall("--|#", sql[-100:])):
        return closing.group(1)
    if "format" not in sql.lower():
        return None
    last: list[str] = []
    after: list[str] | None = None
    for token in _TOKEN.finditer(sql.encode()):
        if token.lastgroup == "space":
            continue
        text = token.group().decode(errors="replace")
        if after is not None:
            after.append(text)
        if token.lastgroup == "word" and text.upper() == "FORMAT":
            after = []
            last = after
    # `format` may also be a column or a function: only a name at the very end, or before SETTINGS, is a clause.
    if last and re.fullmatch(r"\w+", last[0]) and (len(last) == 1 or last[1].upper() in ("SETTINGS", ";")):
        return last[0]
    return None
