"""Paths that stream: a range of readings or windows as CSV or Arrow, and live readings as server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.api.measurements import must_be_known, store_of
from fieldstream_central.serve.api.params import DeviceId, Metric, SpanParam
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.store.clickhouse import ClickHouseError

router = APIRouter()

_COLUMNS = {
    "readings": ("ts", "value", "unit", "quality", "flags", "received_at", "stored_at"),
    "windows": ("window_start", "count", "mean", "stddev", "min", "max", "first", "last", "revision"),
}
_TIME = {"readings": "ts", "windows": "window_start"}
_TYPES = {"csv": "text/csv; charset=utf-8; header=present", "arrow": "application/vnd.apache.arrow.stream"}
_FORMATS = {"csv": "CSV", "arrow": "ArrowStream"}
# A table program takes a text that begins so for a formula, and a device may state any unit.
_UNIT_AS_TEXT = r"if(match(ifNull(unit, ''), '^[=+@\t\r-]'), concat('\'', unit), unit) AS unit"
_EXPORT = """
SELECT {columns} FROM fieldstream.{what} WHERE device_id = {{device_id:String}} AND metric = {{metric:String}}
    AND {time} >= {{from:DateTime64(3)}} AND {time} < {{to:DateTime64(3)}}
ORDER BY {time} LIMIT {{limit:UInt32}} FORMAT {format}
"""
# The engine hands out CSV in pieces, Arrow as a whole: this bounds what one answer takes of its memory.
_MOST_ROWS = 2_000_000
_BROKEN_OFF = b"\r\n# broken off: ClickHouse ended the answer; this is not all, ask again\r\n"
_LIVE_CALLERS = 32
_LIVE_EVERY_S = 1.0
_SILENCE_S = 15.0


@router.get("/export/{what}", summary="A range of one sensor as CSV or Arrow", response_class=StreamingResponse)
async def export(
    request: Request,
    *,
    what: Literal["readings", "windows"],
    device_id: DeviceId,
    metric: Metric,
    span: SpanParam,
    format_: Annotated[Literal["csv", "arrow"], Query(alias="format")] = "csv",
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS, description="rows at most")] = _MOST_ROWS,
) -> StreamingResponse:
    """In order of time. An answer that breaks off has no last chunk, which clients report as an error; CSV says so in
    its last line too."""
    names = (_UNIT_AS_TEXT if name == "unit" and format_ == "csv" else name for name in _COLUMNS[what])
    columns, time_column = ", ".join(names), _TIME[what]
    sql = _EXPORT.format(columns=columns, what=what, time=time_column, format=_FORMATS[format_])
    params: dict[str, object] = {"device_id": device_id, "metric": metric, "limit": limit} | span.params()
    pieces = store_of(request).stream(sql, params)
    first = await anext(pieces, b"")  # a refusal comes now, as a problem document, and not in the middle
    if not first:
        await must_be_known(store_of(request), device_id, metric)
    if format_ == "csv":
        first = ",".join(_COLUMNS[what]).encode() + b"\n" + first
    name = f"{what}-{device_id}-{metric}".replace("/", "-").encode("ascii", "replace").decode()
    farewell = _BROKEN_OFF if format_ == "csv" else b""
    return StreamingResponse(
        _chain(request, first, pieces, farewell),
        media_type=_TYPES[format_],
        headers={"Content-Disposition": f'attachment; filename="{name}.{format_}"'},
    )


async def _chain(request: Request, first: bytes, rest: AsyncGenerator[bytes], farewell: bytes) -> AsyncIterator[bytes]:
    # A client that has gone away ends the query now, not when garbage is collected.
    async with aclosing(rest):
        yield first
        try:
            async for piece in rest:
                if await request.is_disconnected():
                    return
                yield piece
        except ClickHouseError:
            # The status has gone out: the connection ends without the last chunk, so that nobody takes it for whole.
            yield farewell
            raise


# Blocks can appear a little out of the order of their stored_at, which is kept to a tenth of a second: what was stored
# shortly before is asked for again, and told once.
_NEW = """
SELECT ts, value, unit, quality, flag_names, stored_at FROM fieldstream.readings
WHERE device_id = {device_id:String} AND metric = {metric:String}
    AND stored_at > parseDateTime64BestEffort({after:String}, 3, 'UTC') - INTERVAL 5 SECOND
    AND ts > now64(3) - INTERVAL 1 DAY
ORDER BY stored_at, ts LIMIT 10000
"""
_NOW = "SELECT now64(3, 'UTC') - toIntervalMillisecond(1) AS at"


@router.get(
    "/live/readings", summary="New readings of one sensor as server-sent events", response_class=StreamingResponse
)
async def live(request: Request, device_id: DeviceId, metric: Metric) -> StreamingResponse:
    """Each event `reading` is one reading as it was stored; a comment comes when nothing does."""
    state = request.app.state
    await must_be_known(store_of(request), device_id, metric)
    if state.live_callers >= _LIVE_CALLERS:
        raise ApiError(429, "Too many live readers", f"At most {_LIVE_CALLERS} at a time; try again later.")
    store = store_of(request)
    (now,) = await store.rows(_NOW)

    async def events() -> AsyncIterator[bytes]:
        state.live_callers += 1
        try:
            async for event in _events(store, {"device_id": device_id, "metric": metric}, str(now["at"])):
                yield event
        finally:
            state.live_callers -= 1

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _events(store: StoreReader, sensor: dict[str, object], after: str) -> AsyncIterator[bytes]:
    told = {_ts(line) for line in await store.lines(_NEW, sensor | {"after": after})}
    yield b": from here on\n\n"
    said = time.monotonic()
    while True:
        try:
            lines = await store.lines(_NEW, sensor | {"after": after})
        except ClickHouseError:
            lines = []
        new = [line for line in lines if _ts(line) not in told]
        for line in new:
            yield b"event: reading\ndata: " + line + b"\n\n"
        if lines:
            after, told = str(json.loads(lines[-1])["stored_at"]), {_ts(line) for line in lines}
        if new:
            said = time.monotonic()
        elif time.monotonic() - said > _SILENCE_S:
            yield b": nothing new\n\n"
            said = time.monotonic()
        await asyncio.sleep(_LIVE_EVERY_S)


def _ts(line: bytes) -> str:
    return str(json.loads(line)["ts"])
