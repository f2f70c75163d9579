"""Which time counts as a reading's event time. No clock in here: the receive time is handed in."""

import math
from datetime import UTC, datetime

from fieldstream_schemas.quality import Flag

from fieldstream_edge.payloads.decoded import PayloadError

OLDEST_MS = 946_684_800_000  # 2000-01-01: a device that claims an earlier time has lost its clock


def judge(ts: float | str | None, horizon: int) -> tuple[int, Flag]:
    """The event time in ms and no flag; or 0 and the flag that says why the receive time must stand in.

    `horizon` is the receive time plus the tolerance. Raises PayloadError for a text that is no date.
    """
    if ts is None:
        return 0, Flag.TS_ABSENT
    if isinstance(ts, str):
        ts = _from_text(ts)
    if not ts >= OLDEST_MS or ts == math.inf:  # NaN compares false
        return 0, Flag.TS_ABSURD
    if ts > horizon:
        return 0, Flag.TS_FUTURE
    return int(ts), Flag(0)


def broker_time(text: str, horizon: int) -> int | None:
    """When the broker took a message in, ms, from what it says of it; None when that cannot be used."""
    try:
        ts, unusable = judge(int(text[:20]) if text.isdecimal() else text, horizon)
    except PayloadError:
        return None
    return None if unusable else ts


def _from_text(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise PayloadError("bad-timestamp", "`ts` is a text, but no ISO 8601 date") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return round(moment.timestamp() * 1000)
    except (OverflowError, ValueError):
        return 0 if moment.year < 2000 else 1e15
