"""Paths of the plant: its sensors, its gateways, and how complete their data are."""

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request, Response

from fieldstream_central.serve.api.measurements import store_of
from fieldstream_central.serve.api.models import Gateway, GatewayCompleteness, Page, Sensor
from fieldstream_central.serve.api.paging import TEXT, Listing, page
from fieldstream_central.serve.api.params import Cursor, Limit
from fieldstream_central.store.audit import audit
from fieldstream_central.store.clickhouse import ClickHouse

router = APIRouter()

_AUDIT_KEPT_S = 2.0  # many consoles may ask; the answer is not fresher than the heartbeats anyway
_GATEWAY_COLUMNS = "*, (toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(ts)) / 1000 AS age_s"
_NEWEST = """(SELECT * FROM fieldstream.gateways_data
    WHERE (gateway_id, ts) IN (SELECT gateway_id, max(ts) FROM fieldstream.gateways_data GROUP BY gateway_id)
    LIMIT 1 BY gateway_id)"""


@router.get("/assets", response_model=Page[Sensor], summary="Sensors as the asset registry knows them")
async def assets(
    request: Request,
    *,
    site: str | None = None,
    area: str | None = None,
    asset_id: str | None = None,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> Response:
    """In order of device and metric."""
    where: list[str] = []
    params: dict[str, object] = {}
    for name, value in {"site": site, "area": area, "asset_id": asset_id}.items():
        if value is not None:
            where.append(f"{name} = {{{name}:String}}")
            params[name] = value
    listing = Listing(
        "fieldstream.assets_data FINAL", "* EXCEPT (kafka_ts, removed)", {"device_id": TEXT, "metric": TEXT}
    )
    return await page(store_of(request), listing, where, params, limit=limit, cursor=cursor)


@router.get("/gateways", response_model=Page[Gateway], summary="Every gateway's newest heartbeat")
async def gateways(request: Request, limit: Limit = 1000, cursor: Cursor = None) -> Response:
    """In order of name."""
    listing = Listing(_NEWEST, _GATEWAY_COLUMNS, {"gateway_id": TEXT})
    return await page(store_of(request), listing, (), {}, limit=limit, cursor=cursor)


@router.get("/completeness", summary="Per gateway and epoch: accepted, stored, missing, duplicates")
async def completeness(request: Request, gateway_id: str | None = None) -> list[GatewayCompleteness]:
    """Missing numbers are listed as ranges, both ends inclusive."""
    rows = await _audit(request.app.state)
    return [GatewayCompleteness(**row) for row in rows if gateway_id in (None, row["gateway_id"])]


async def _audit(state: Any) -> list[dict[str, Any]]:
    async with state.audit_lock:
        if time.monotonic() - state.audited_at > _AUDIT_KEPT_S:
            state.audit_rows = await asyncio.to_thread(_audit_now, state.settings.clickhouse)
            state.audited_at = time.monotonic()
        rows: list[dict[str, Any]] = state.audit_rows
        return rows


def _audit_now(url: str) -> list[dict[str, Any]]:
    with ClickHouse(url, timeout_s=15.0) as clickhouse:
        return [item.as_row() for item in audit(clickhouse)]
