"""One page of rows, keyset-paged: rows go from ClickHouse to the client without being decoded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import Response

from fieldstream_central.serve.api.params import Place, decode_cursor, encode_cursor
from fieldstream_central.serve.store import StoreReader

EMPTY = b'{"items":[]'
TIME, TEXT, WHOLE = "time", "text", "whole"
_MARKS = {
    TIME: "parseDateTime64BestEffort({{after_{}:String}}, 3, 'UTC')",
    TEXT: "{{after_{}:String}}",
    WHOLE: "{{after_{}:Int64}}",
}


@dataclass(frozen=True)
class Listing:
    """A list that can be paged: columns of `key` order it, each with its kind (TIME, TEXT, WHOLE)."""

    table: str
    columns: str
    key: Mapping[str, str]
    descending: bool = False

    def sql(self, where: Sequence[str], *, after: bool) -> str:
        """The SELECT of a page."""
        conditions = list(where)
        if after:
            marks = ", ".join(_MARKS[kind].format(number) for number, kind in enumerate(self.key.values()))
            conditions.append(f"({', '.join(self.key)}) {'<' if self.descending else '>'} ({marks})")
        order = ", ".join(f"{column}{' DESC' if self.descending else ''}" for column in self.key)
        # All of this text is the program's own; what a caller gave goes in as parameters.
        select = f"SELECT {self.columns} FROM {self.table} WHERE {' AND '.join(conditions) or '1'}"  # noqa: S608
        return f"{select} ORDER BY {order} LIMIT {{limit:UInt32}}"


async def page(
    store: StoreReader,
    listing: Listing,
    where: Sequence[str],
    params: Mapping[str, object],
    *,
    limit: int,
    cursor: str | None,
) -> Response:
    """`{"items": [...], "next_cursor": ...}`; the cursor is null on the last page."""
    values = dict(params)
    asked = (listing, list(where), sorted((key, value) for key, value in params.items() if key not in ("from", "to")))
    if cursor:
        place = decode_cursor(asked, cursor, len(listing.key))
        values |= {f"after_{number}": value for number, value in enumerate(place.key)}
        values |= {name: when for name, when in (("from", place.start), ("to", place.end)) if when}
    lines = await store.lines(listing.sql(where, after=bool(cursor)), values | {"limit": limit + 1})
    following = None
    if len(lines) > limit:
        last = json.loads(lines[limit - 1].decode(errors="replace"))
        place = Place(_time(values.get("from")), _time(values.get("to")), [last[column] for column in listing.key])
        following = encode_cursor(asked, place)
    body = b'{"items":[%s],"next_cursor":%s}' % (b",".join(lines[:limit]), json.dumps(following).encode())
    return Response(body, media_type="application/json")


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None
