"""Acts over HTTP go to the audit log before they are done; what cannot be noted is not done."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request

from fieldstream_central.audit_log.log import AuditLog, AuditLogError
from fieldstream_central.serve.api.access import Caller
from fieldstream_central.serve.api.errors import ApiError

CONSOLE_AGENT = "fieldstream-console"
_LOOKS = ("GET", "HEAD")


async def recorded(request: Request) -> AsyncIterator[None]:
    """A FastAPI dependency, behind the one that says who asks. Raises ApiError 503 when the log cannot be written."""
    if request.method in _LOOKS:
        yield
        return
    await _note(request, "")
    try:
        yield
    except ApiError as error:
        await _note(request, f"{error.status} {error.title}")
        raise


async def _note(request: Request, outcome: str) -> None:
    caller: Caller = request.state.caller
    log: AuditLog = request.app.state.audit_log
    via = "console" if request.headers.get("User-Agent") == CONSOLE_AGENT else "api"
    about = (await request.body()).decode(errors="replace") or request.url.query
    act = f"{request.method} {request.url.path}"
    try:
        await asyncio.to_thread(
            log.note, who=caller.name, role=caller.role, via=via, act=act, about=about, outcome=outcome
        )
    except AuditLogError as error:
        raise ApiError(503, "Not recorded", f"Nothing was done: {error}. Try again in a few seconds.") from error
