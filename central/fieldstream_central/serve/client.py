"""A small client of the query API for scripts and notebooks.

from fieldstream_central.serve.client import Fieldstream

plant = Fieldstream("http://127.0.0.1:8000", token="...")
frame = plant.readings("pump-01", "temperature", hours=24)      # a pandas frame, indexed by time
plant.polars("readings", "pump-01", "temperature", hours=24)    # the same as a polars frame
plant.series("pump-01", "temperature", hours=24 * 365, points=500)
plant.trust("pump-01", "temperature", hours=24)["verdict"]
for anomaly in plant.anomalies(state="active"):
    ...
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]
    import polars
    import pyarrow  # type: ignore[import-untyped]


class ApiRefusedError(Exception):
    """The API refused; `field` names the parameter at fault, where there is one."""

    def __init__(self, status: int, title: str, detail: str, field: str | None) -> None:
        self.status, self.title, self.field = status, title, field
        super().__init__(f"{title}: {detail}")


class BrokenOffError(Exception):
    """The answer ended in the middle, as when ClickHouse restarts under it. Ask again."""


class Fieldstream:
    """One API. Times are `start` and `end`, or the last `hours` before `end`; without either, the last hour."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, token: str = "", timeout_s: float = 60.0) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)

    def readings(self, device_id: str, metric: str, **when: Any) -> pandas.DataFrame:
        """All readings of a sensor and range."""
        frame: pandas.DataFrame = self.table("readings", device_id, metric, **when).to_pandas()
        return frame.set_index("ts")

    def windows(self, device_id: str, metric: str, **when: Any) -> pandas.DataFrame:
        """All 10 s windows of a sensor and range."""
        frame: pandas.DataFrame = self.table("windows", device_id, metric, **when).to_pandas()
        return frame.set_index("window_start")

    def series(self, device_id: str, metric: str, *, points: int = 500, **when: Any) -> pandas.DataFrame:
        """At most so many points, with the extremes kept."""
        import pandas

        query = {"device_id": device_id, "metric": metric, "points": points} | _span(**when)
        found = self._get("/api/v1/series", query).json()
        frame = pandas.DataFrame(found["points"], columns=["ts", "mean", "min", "max", "count"])
        frame["ts"] = pandas.to_datetime(frame["ts"], utc=True, format="ISO8601")
        return frame.set_index("ts")

    def trust(self, device_id: str, metric: str, **when: Any) -> dict[str, Any]:
        """How far the figures of a sensor and range can be relied on."""
        query = {"device_id": device_id, "metric": metric} | _span(**when)
        found: dict[str, Any] = self._get("/api/v1/trust", query).json()
        return found

    def anomalies(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Episodes, the newest first; filters as in the API."""
        return self._items("/api/v1/anomalies", filters)

    def sensors(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Sensors of the asset registry."""
        return self._items("/api/v1/assets", filters)

    def completeness(self) -> list[dict[str, Any]]:
        """Per gateway and epoch."""
        found: list[dict[str, Any]] = self._get("/api/v1/completeness", {}).json()
        return found

    def polars(self, what: str, device_id: str, metric: str, **when: Any) -> polars.DataFrame:
        """All `readings` or `windows` of a sensor and range; needs the extra `polars`."""
        import polars

        return polars.DataFrame(self.table(what, device_id, metric, **when))

    def _items(self, path: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        cursor = None
        while True:
            page = self._get(path, query | ({"cursor": cursor} if cursor else {})).json()
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def table(self, what: str, device_id: str, metric: str, **when: Any) -> pyarrow.Table:
        """All `readings` or `windows` of a sensor and range as an Arrow table."""
        import pyarrow.ipc  # type: ignore[import-untyped]

        query = {"device_id": device_id, "metric": metric, "format": "arrow"} | _span(**when)
        return pyarrow.ipc.open_stream(self._get(f"/api/v1/export/{what}", query).content).read_all()

    def _get(self, path: str, query: dict[str, Any]) -> httpx.Response:
        try:
            response = self._http.get(path, params=query)
        except httpx.RemoteProtocolError as error:
            raise BrokenOffError(f"the answer to {path} broke off: {error}") from error
        if response.status_code >= 400:
            problem = response.json()
            detail = str(problem.get("detail", ""))
            raise ApiRefusedError(response.status_code, str(problem.get("title", "")), detail, problem.get("field"))
        return response


def _span(start: datetime | None = None, end: datetime | None = None, hours: float = 1.0) -> dict[str, str]:
    end = end or datetime.now(UTC)
    start = start or end - timedelta(hours=hours)
    return {"from": start.astimezone(UTC).isoformat(), "to": end.astimezone(UTC).isoformat()}
