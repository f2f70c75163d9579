"""Paths of measured values: readings, series at a chosen resolution, windows."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.api.models import Page, Reading, Series, Window
from fieldstream_central.serve.api.paging import EMPTY, TIME, Listing, page
from fieldstream_central.serve.api.params import Cursor, DeviceId, Limit, Metric, SpanParam
from fieldstream_central.serve.series import load_course
from fieldstream_central.serve.store import StoreReader

router = APIRouter()

# The columns of the view `readings`, without seeing through it (ADR 0037).
_READING = """device_id, metric, ts, value, unit, quality, flags,
    arrayMap(bit -> ['ts-absent', 'ts-absurd', 'ts-future', 'unknown-sensor', 'device-dead', 'historical'][bit + 1],
        bitPositionsToArray(flags)) AS flag_names,
    gateway_id, epoch, seq, ts + toIntervalMillisecond(4398046511103 - version) AS received_at, site, area, asset_id,
    asset_type, operator_pseudonym, received_at + toIntervalMillisecond(100 * processed_after_ds) AS processed_at,
    lateness_s * 1000 AS lateness_ms, received_at + toIntervalMillisecond(100 * stored_after_ds) AS stored_at"""
_SENSOR = ("device_id = {device_id:String}", "metric = {metric:String}")


def store_of(request: Request) -> StoreReader:
    """The app's ClickHouse reader, seeing what the caller may."""
    store: StoreReader = request.app.state.store
    sites = request.state.caller.sites
    return store.of_sites(sites) if sites else store


# By the registry, or because it once measured: few granules of the primary index.
_KNOWN = """
SELECT (SELECT count() FROM fieldstream.assets_data FINAL
        WHERE device_id = {device_id:String} AND metric = {metric:String})
    + (SELECT count() FROM (SELECT 1 FROM fieldstream.readings_data
        WHERE device_id = {device_id:String} AND metric = {metric:String} LIMIT 1)) AS known,
    (SELECT groupUniqArray(10)(metric) FROM fieldstream.assets_data FINAL
        WHERE device_id = {device_id:String}) AS metrics
"""


async def must_be_known(store: StoreReader, device_id: str, metric: str) -> None:
    """For an empty answer: raises ApiError if there is no such sensor, rather than say that it measured nothing.

    404, or 403 to who sees some sites only: whether it is another site's is not told.
    """
    (found,) = await store.rows(_KNOWN, {"device_id": device_id, "metric": metric})
    if found["known"]:
        return
    if found["metrics"]:
        detail = f"{device_id!r} has no metric {metric!r}; it has {', '.join(sorted(found['metrics']))}."
        raise ApiError(404, "Unknown metric", detail, "metric")
    if store.sites:
        detail = f"There is no device {device_id!r} in the sites that you see: {', '.join(store.sites)}."
        raise ApiError(403, "Not in your sites", detail, "device_id")
    detail = (
        f"No device {device_id!r} is registered and none has sent readings. `/api/v1/assets` lists those there are."
    )
    raise ApiError(404, "Unknown device", detail, "device_id")


@router.get("/readings", response_model=Page[Reading], summary="Readings of one sensor, as measured")
async def readings(
    request: Request,
    *,
    device_id: DeviceId,
    metric: Metric,
    span: SpanParam,
    limit: Limit = 1000,
    newest_first: bool = False,
    cursor: Cursor = None,
) -> Response:
    """In order of event time. For a picture of a long range ask `/series`."""
    listing = Listing("fieldstream.readings_data FINAL", _READING, {"ts": TIME}, newest_first)
    where = (*_SENSOR, "ts >= {from:DateTime64(3)}", "ts < {to:DateTime64(3)}")
    params = {"device_id": device_id, "metric": metric} | span.params()
    answer = await page(store_of(request), listing, where, params, limit=limit, cursor=cursor)
    if bytes(answer.body).startswith(EMPTY):
        await must_be_known(store_of(request), device_id, metric)
    return answer


@router.get("/windows", response_model=Page[Window], summary="10 s windows of one sensor, at their latest revision")
async def windows(
    request: Request,
    *,
    device_id: DeviceId,
    metric: Metric,
    span: SpanParam,
    limit: Limit = 1000,
    newest_first: bool = False,
    cursor: Cursor = None,
) -> Response:
    """In order of time."""
    listing = Listing("fieldstream.windows_data FINAL", "* EXCEPT (version)", {"window_start": TIME}, newest_first)
    where = (*_SENSOR, "window_start >= {from:DateTime64(3)}", "window_start < {to:DateTime64(3)}")
    params = {"device_id": device_id, "metric": metric} | span.params()
    answer = await page(store_of(request), listing, where, params, limit=limit, cursor=cursor)
    if bytes(answer.body).startswith(EMPTY):
        await must_be_known(store_of(request), device_id, metric)
    return answer


@router.get("/series", response_model=Series, summary="One sensor in at most N points, extremes kept")
async def series(
    request: Request,
    *,
    device_id: DeviceId,
    metric: Metric,
    span: SpanParam,
    points: Annotated[int, Query(ge=2, le=5000, description="at most so many points")] = 500,
) -> Response:
    """The width of a bucket and the table are chosen so that few rows are read; min and max of a bucket are those
    of its readings, so a spike of one reading stays visible in a year."""
    course = await load_course(store_of(request), device_id, metric, span, points)
    if not course.lines:
        await must_be_known(store_of(request), device_id, metric)
    return Response(course.answer(device_id, metric), media_type="application/json")
