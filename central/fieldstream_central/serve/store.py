"""Reading from ClickHouse without blocking: what the API and the console share."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from fieldstream_central.store.clickhouse import RefusedError, UnreachableError, query_string, refusal_of

# A question of a person must not hold up the plant: it is ended by the engine after this long.
_SETTINGS: dict[str, object] = {
    "readonly": 2,
    "max_execution_time": 10,
    "max_memory_usage": 600_000_000,
    "date_time_output_format": "iso",
    "output_format_json_quote_64bit_integers": 0,
    "cancel_http_readonly_queries_on_client_close": 1,
}


class StoreReader:
    """Asks ClickHouse. Every call raises RefusedError or UnreachableError."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(15.0, connect=3.0),
            limits=httpx.Limits(max_connections=16),
            trust_env=False,
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def text(self, sql: str, params: Mapping[str, object] | None = None) -> bytes:
        """The answer as ClickHouse wrote it; the statement names its FORMAT."""
        try:
            response = await self._http.post("/", params=query_string(params, _SETTINGS), content=sql.encode())
        except httpx.HTTPError as error:
            raise UnreachableError(f"ClickHouse does not answer: {error or type(error).__name__}") from error
        if response.status_code != 200:
            raise refusal_of(response)
        return response.content

    async def lines(self, sql: str, params: Mapping[str, object] | None = None) -> list[bytes]:
        """Rows of a SELECT, each a JSON object not decoded yet."""
        body = await self.text(f"{sql}\nFORMAT JSONEachRow", params)
        return [line for line in body.split(b"\n") if line]

    async def rows(self, sql: str, params: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Rows of a SELECT."""
        return [json.loads(line.decode(errors="replace")) for line in await self.lines(sql, params)]

    async def stream(self, sql: str, params: Mapping[str, object] | None = None) -> AsyncIterator[bytes]:
        """The answer in pieces, as it comes. An error in mid-stream ends it without its closing mark."""
        query = query_string(params, _SETTINGS | {"max_execution_time": 120})
        try:
            async with self._http.stream("POST", "/", params=query, content=sql.encode()) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise refusal_of(response)
                async for piece in response.aiter_bytes():
                    yield piece
        except httpx.HTTPError as error:
            raise UnreachableError(f"ClickHouse broke off: {error or type(error).__name__}") from error


__all__ = ["RefusedError", "StoreReader", "UnreachableError"]
