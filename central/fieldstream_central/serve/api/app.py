"""The query API as one FastAPI application, versioned under /api/v1."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from fieldstream_central.alarms.log import AlarmLog
from fieldstream_central.audit_log.log import AuditLog
from fieldstream_central.serve.api import (
    alarms,
    detection,
    errors,
    events,
    export,
    incidents,
    letters,
    link,
    maintenance,
    measurements,
    plant,
    shifts,
    trust,
)
from fieldstream_central.serve.api.access import Callers, Guard, by_site
from fieldstream_central.serve.api.examples import add_examples
from fieldstream_central.serve.api.models import Health, Problem
from fieldstream_central.serve.api.recorder import recorded
from fieldstream_central.serve.headers import API_POLICY, SecurityHeaders
from fieldstream_central.serve.oidc import Provider
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouseError

_DESCRIPTION = """
What the Fieldstream centre has stored: readings, windows, anomalies, assets, gateways, dead letters.

- Times are ISO 8601 in UTC; parameters also take milliseconds since 1970.
- Lists are pages: give `next_cursor` as `cursor` until it is null.
- Errors are problem documents (RFC 9457) whose `field` names the parameter at fault.
- Every row appears once, at its latest revision.
"""
# The index on stored_at lets this read only what came in the last hour.
_NEWEST_AGE = """
SELECT (toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(max(stored_at))) / 1000 AS age, count() AS n
FROM fieldstream.readings_data WHERE stored_at > now64(3) - INTERVAL 1 HOUR
"""
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        401: "a token is needed, or it has expired",
        403: "the token's role is too low, or it is for other sites",
        413: "the query would read too much; how to narrow it",
        422: "a parameter is at fault; `field` names it",
        429: "too many requests",
        503: "ClickHouse does not answer; try again",
    }.items()
}


def create_app(settings: Settings) -> FastAPI:
    """The application; it connects on the first request."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.store = StoreReader(settings.clickhouse)
        app.state.audit_lock = asyncio.Lock()
        app.state.audited_at = float("-inf")
        app.state.audit_rows = []
        app.state.live_callers = 0
        app.state.alarms = AlarmLog(settings)
        app.state.alarms.start()
        app.state.work = maintenance.WorkFeed(settings)
        app.state.comparisons = {}
        app.state.trial = None
        yield
        if app.state.trial is not None:
            app.state.trial.cancel()
        await asyncio.to_thread(app.state.alarms.stop)
        await asyncio.to_thread(app.state.work.close)
        await app.state.store.close()

    app = FastAPI(
        title="Fieldstream query API",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.audit_log = AuditLog(settings)
    plain = app.openapi
    app.openapi = lambda: add_examples(plain())  # type: ignore[method-assign]  # FastAPI's way to extend it
    app.add_middleware(SecurityHeaders, policy=API_POLICY)
    errors.install(app)
    provider = Provider(settings.oidc) if settings.oidc else None
    guard = Guard(Callers(settings.api_tokens_file, is_open=provider is None), provider)
    parts = (measurements, "measurements"), (export, "measurements"), (trust, "measurements"), (events, "events")
    shift = (alarms, "alarms"), (incidents, "alarms"), (maintenance, "alarms"), (shifts, "alarms")
    for part, tag in (*parts, (letters, "events"), (detection, "detection"), (plant, "plant"), *shift):
        dependencies = [Depends(guard), Depends(recorded), Depends(by_site)]
        app.include_router(part.router, prefix="/api/v1", tags=[tag], responses=_ERRORS, dependencies=dependencies)

    app.include_router(link.router)

    @app.get("/healthz", summary="Whether the API can answer, and how fresh the data are")
    async def healthz() -> Health:
        store: StoreReader = app.state.store
        try:
            rows = await store.rows(_NEWEST_AGE)
        except ClickHouseError as error:
            return Health(status="degraded", clickhouse=str(error)[:200], newest_reading_age_s=None)
        age = rows[0]["age"] if rows and rows[0]["n"] else None
        return Health(status="ok", clickhouse="ok", newest_reading_age_s=age)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app
