"""Errors as RFC 9457 problem documents that name the field at fault and how to go on."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import Counter

from fieldstream_central.store.clickhouse import RefusedError, UnreachableError

PROBLEMS = Counter("fieldstream_api_problems_total", "Answers that were a problem document", ["status"])
_TOO_MUCH = {159: "time", 160: "time", 241: "memory", 307: "bytes", 158: "rows", 396: "rows"}


class ApiError(Exception):
    """A request that cannot be answered; `field` names the parameter at fault."""

    def __init__(self, status: int, title: str, detail: str, field: str | None = None) -> None:
        self.status, self.title, self.detail, self.field = status, title, detail, field
        super().__init__(detail)


def problem(status: int, title: str, detail: str, **more: Any) -> JSONResponse:
    """A problem document."""
    PROBLEMS.labels(str(status)).inc()
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail} | more
    return JSONResponse(body, status, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Every error of the app leaves it in this form."""

    @app.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> JSONResponse:
        more = {"field": error.field} if error.field else {}
        return problem(error.status, error.title, error.detail, **more)

    @app.exception_handler(RequestValidationError)
    async def validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = str(first["loc"][-1])
        return problem(422, "Parameter not understood", f"{field}: {first['msg']}", field=field)

    @app.exception_handler(UnreachableError)
    async def unreachable(_request: Request, _error: UnreachableError) -> JSONResponse:
        answer = problem(503, "Store away", "ClickHouse does not answer. Nothing is lost; try again in a few seconds.")
        answer.headers["Retry-After"] = "5"
        return answer

    @app.exception_handler(RefusedError)
    async def refused(_request: Request, error: RefusedError) -> JSONResponse:
        if error.code in _TOO_MUCH:
            return problem(
                413,
                "Too much to read",
                f"The query would take too much {_TOO_MUCH[error.code]}. Narrow `from` and `to`, or name one sensor.",
                field="from",
            )
        if error.code in (60, 81):
            return problem(503, "Store not ready", "The store's tables are not there yet: fieldstream store migrate.")
        return problem(500, "Store refused", str(error)[:500])
