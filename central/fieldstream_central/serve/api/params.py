"""Parameters that many paths share: ranges of time, pages, cursors."""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, Query

from fieldstream_central.serve.api.errors import ApiError

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LONGEST = timedelta(days=3660)
_DEFAULT_SPAN = timedelta(hours=1)

DeviceId = Annotated[str, Query(min_length=1, max_length=200, examples=["pump-01"], description="Device")]
Metric = Annotated[str, Query(min_length=1, max_length=200, examples=["temperature"], description="Metric")]


def parse_time(text: str, field: str) -> datetime:
    """ISO 8601, or milliseconds since 1970. Raises ApiError."""
    try:
        if re.fullmatch(r"-?\d+", text):
            when = datetime.fromtimestamp(int(text) / 1000, UTC)
        else:
            when = datetime.fromisoformat(text)
            when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        detail = f"{field}: {text[:60]!r} is neither ISO 8601 (2026-05-01T12:00:00Z) nor milliseconds since 1970."
        raise ApiError(422, "Not a time", detail, field) from error
    return when


@dataclass(frozen=True)
class Span:
    """[start, end) in UTC."""

    start: datetime
    end: datetime

    def params(self) -> dict[str, object]:
        """For `{from:DateTime64(3)}` and `{to:DateTime64(3)}`."""
        return {"from": self.start, "to": self.end}

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds()


_From = Query(
    alias="from", description="Start, inclusive; default: an hour before `to`", examples=["2026-05-01T00:00:00Z"]
)
_To = Query(description="End, exclusive; default: now", examples=["2026-05-02T00:00:00Z"])


def span(from_: Annotated[str | None, _From] = None, to: Annotated[str | None, _To] = None) -> Span:
    """The range of event time asked for. Raises ApiError."""
    end = parse_time(to, "to") if to else datetime.now(UTC)
    start = parse_time(from_, "from") if from_ else end - _DEFAULT_SPAN
    if start >= end:
        detail = f"from ({start.isoformat()}) must lie before to ({end.isoformat()})."
        raise ApiError(422, "Range backwards", detail, "from")
    if end - start > _LONGEST or start < _EARLIEST:
        detail = "The range may be ten years at most and must begin after 1 January 2000. Choose a later `from`."
        raise ApiError(422, "Range too long", detail, "from")
    return Span(start, end)


SpanParam = Annotated[Span, Depends(span)]
Limit = Annotated[int, Query(ge=1, le=10_000, description="Rows per page")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before")]


@dataclass(frozen=True)
class Place:
    """Where a page begins: behind the row with this key. The range of time is the first page's."""

    start: datetime | None
    end: datetime | None
    key: list[Any]


def encode_cursor(asked: object, place: Place) -> str:
    """A cursor that is good only for the same question."""
    times = [when.timestamp() if when else None for when in (place.start, place.end)]
    text = json.dumps([_digest(asked), *times, *place.key])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(asked: object, cursor: str, size: int) -> Place:
    """The place that the cursor names. Raises ApiError if it is damaged or of another question."""
    try:
        digest, start, end, *key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        times = [datetime.fromtimestamp(when, UTC) if when is not None else None for when in (start, end)]
    except (binascii.Error, ValueError, TypeError, OverflowError, OSError, RecursionError) as error:
        raise ApiError(422, "Cursor damaged", "cursor: not one that this API gave.", "cursor") from error
    if digest != _digest(asked) or len(key) != size:
        detail = "cursor: it belongs to another question; start again without it."
        raise ApiError(422, "Cursor of another question", detail, "cursor")
    return Place(times[0], times[1], key)


def _digest(asked: object) -> str:
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:12]
