"""Reading from ClickHouse without blocking: what the API and the console share."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from typing import Any

import aiohttp

from fieldstream_central.serve.sites import table_filters
from fieldstream_central.store.clickhouse import RefusedError, UnreachableError, query_string, refusal

_Asking = AbstractAsyncContextManager[aiohttp.ClientResponse]

# Many small questions side by side: a second thread only adds a quarter to the CPU of each. Streams keep theirs.
_SMALL: dict[str, object] = {"max_threads": 1}
# A question of a person must not hold up the plant: it is ended by the engine after this long.
_SETTINGS: dict[str, object] = {
    "readonly": 2,
    "max_execution_time": 10,
    "max_memory_usage": 600_000_000,
    "date_time_output_format": "iso",
    "output_format_json_quote_64bit_integers": 0,
    "do_not_merge_across_partitions_select_final": 1,
    "cancel_http_readonly_queries_on_client_close": 1,
}


class StoreReader:
    """Asks ClickHouse. Every call raises RefusedError or UnreachableError. `sites`: the only ones seen; none: all."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/"
        self._session: aiohttp.ClientSession | None = None
        self._settings = _SETTINGS
        self.sites: Sequence[str] = ()

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    def of_sites(self, sites: Sequence[str]) -> "StoreReader":
        """The same connections, seeing what belongs to these sites."""
        view = copy(self)
        view._session = self._connected()
        view._settings = _SETTINGS | {"additional_table_filters": table_filters(sites)}
        view.sites = sites
        return view

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:  # it belongs to the event loop of its first question
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=3.0, sock_read=15.0)
            connector = aiohttp.TCPConnector(limit=16)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=False)
        return self._session

    def _asking(self, sql: str, params: Mapping[str, object] | None, more: Mapping[str, object]) -> _Asking:
        asked = query_string(params, {**self._settings, **more})
        return self._connected().post(self._url, params=asked, data=sql.encode())

    async def text(self, sql: str, params: Mapping[str, object] | None = None) -> bytes:
        """The answer as ClickHouse wrote it; the statement names its FORMAT."""
        try:
            async with self._asking(sql, params, _SMALL) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(f"ClickHouse does not answer: {error or type(error).__name__}") from error
        if response.status != 200:
            raise refusal(response.headers, body)
        return body

    async def lines(self, sql: str, params: Mapping[str, object] | None = None) -> list[bytes]:
        """Rows of a SELECT, each a JSON object not decoded yet."""
        body = await self.text(f"{sql}\nFORMAT JSONEachRow", params)
        return [line for line in body.split(b"\n") if line]

    async def rows(self, sql: str, params: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Rows of a SELECT."""
        return [json.loads(line.decode(errors="replace")) for line in await self.lines(sql, params)]

    async def stream(self, sql: str, params: Mapping[str, object] | None = None) -> AsyncGenerator[bytes]:
        """The answer in pieces, as it comes. An error in mid-stream ends it without its closing mark."""
        try:
            async with self._asking(sql, params, {"max_execution_time": 120}) as response:
                if response.status != 200:
                    raise refusal(response.headers, await response.read())
                async for piece in response.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(f"ClickHouse broke off: {error or type(error).__name__}") from error


__all__ = ["RefusedError", "StoreReader", "UnreachableError"]
