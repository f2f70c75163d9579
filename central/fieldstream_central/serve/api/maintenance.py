"""Planned work over HTTP: what `fieldstream maintenance` does, in the caller's name."""

import asyncio
import re
import time
from collections.abc import Callable
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from fastapi import APIRouter, Request
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from pydantic import BaseModel, Field

from fieldstream_central.detect.config import Maintenance
from fieldstream_central.kafka_access import connection
from fieldstream_central.maintenance import MaintenanceError, MaintenanceFeed, announce
from fieldstream_central.serve.api.access import require
from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.settings import Settings

router = APIRouter()

Given = ParamSpec("Given")
Answer = TypeVar("Answer")
_LONGEST_MS = 90 * 86_400_000


class Plan(BaseModel):
    """Work to plan; of asset, device and metric at least one says what it is about. Times are epoch milliseconds."""

    asset_id: str = ""
    device_id: str = ""
    metric: str = ""
    start: int
    end: int = Field(description="leave room for the machine to settle; at most 90 days after `start`")
    note: str = Field(max_length=2000, description="what is done, for people")


class Planned(Plan):
    """Planned work as it stands."""

    maintenance_id: str
    who: str


class WorkFeed:
    """The topic `maintenance` for all requests; connects with the first one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._feed: MaintenanceFeed | None = None

    def records(self) -> list[dict[str, Any]]:
        """All entries. Raises MaintenanceError."""
        with self._lock:
            if self._feed is None:
                registry = SchemaRegistry(self._settings.registry, self._settings.schema_cache)
                self._feed = MaintenanceFeed(connection(self._settings), registry)
            return self._feed.records(timeout_s=3.0)

    def close(self) -> None:
        """Leaves Kafka."""
        with self._lock:
            if self._feed is not None:
                self._feed.close()


def planned_work(state: Any) -> list[Planned]:
    """All planned work, the latest first. Raises MaintenanceError."""
    found = [Planned(**record) for record in state.work.records()]
    return sorted(found, key=lambda one: -one.start)


async def seen_work(request: Request, planned: list[Planned]) -> list[Planned]:
    """What of it touches a sensor that the caller may see. Raises ClickHouseError."""
    sites = request.state.caller.sites
    if not sites:
        return planned
    sensors = await _sensors(request)
    return [one for one in planned if _sites_of(one, sensors) & set(sites)]


async def _must_be_of_its_sites(request: Request, *works: Plan) -> None:
    """Raises ApiError when work would silence, or give back, anything that the caller may not see."""
    sites = request.state.caller.sites
    if not sites:
        return
    sensors = await _sensors(request)
    for one in works:
        found = _sites_of(one, sensors)
        if (one.asset_id or one.device_id) and found and found <= set(sites):
            continue
        detail = f"It is not about an asset or a device of the sites that you see: {', '.join(sites)}."
        raise ApiError(403, "Not in your sites", detail, "asset_id")


async def _sensors(request: Request) -> list[dict[str, Any]]:
    store: StoreReader = request.app.state.store
    return await store.rows("SELECT site, asset_id, device_id, metric FROM fieldstream.assets")


def _sites_of(work: Plan, sensors: list[dict[str, Any]]) -> set[str]:
    about = {name: value for name in ("asset_id", "device_id", "metric") if (value := getattr(work, name))}
    return {one["site"] for one in sensors if all(one[name] == value for name, value in about.items())}


@router.get("/maintenance", summary="Planned work, in which detection is silent; the latest first")
async def planned(request: Request) -> list[Planned]:
    """Past work too."""
    return await seen_work(request, await _answered(planned_work, request.app.state))


@router.put("/maintenance/{maintenance_id}", summary="Plan work, or change it")
async def plan(request: Request, maintenance_id: str, work: Plan) -> Planned:
    """The same name again replaces what it stood for."""
    require(request, "operator")
    if not re.fullmatch(r"[\w.-]{1,100}", maintenance_id):
        raise ApiError(422, "No name", "A name has letters, digits, '.', '-' and '_'.", "maintenance_id")
    if not (work.asset_id or work.device_id or work.metric):
        raise ApiError(
            422, "About what?", "Name an asset, a device or a metric; all at once is not offered.", "asset_id"
        )
    if not work.start < work.end <= work.start + _LONGEST_MS:
        raise ApiError(422, "Times do not fit", "`end` lies after `start`, at most 90 days.", "end")
    if not work.note.strip():
        raise ApiError(422, "No note", "Say in `note` what is done: who finds an asset silent must know why.", "note")
    if request.state.caller.sites:
        before = await _answered(planned_work, request.app.state)
        await _must_be_of_its_sites(request, work, *(one for one in before if one.maintenance_id == maintenance_id))
    who = request.state.caller.name
    times = Maintenance(work.start, work.end, work.asset_id, work.device_id, work.metric)
    await _answered(announce, request.app.state.settings, maintenance_id, times, work.note, who=who)
    return Planned(**work.model_dump(), maintenance_id=maintenance_id, who=who)


@router.post("/maintenance/{maintenance_id}/end", summary="End work now; what has not begun is withdrawn")
async def end(request: Request, maintenance_id: str) -> list[Planned]:
    """All work as it stands then. 404 when there is none of this name, 409 when it is over."""
    require(request, "operator")
    state = request.app.state
    known = {one.maintenance_id: one for one in await seen_work(request, await _answered(planned_work, state))}
    work = known.get(maintenance_id)
    if work is None:
        raise ApiError(404, "Unknown work", f"There is no planned work {maintenance_id!r}.", "maintenance_id")
    await _must_be_of_its_sites(request, work)
    now = time.time_ns() // 1_000_000
    if work.end <= now:
        raise ApiError(409, "Over already", f"{maintenance_id} has ended already.", "maintenance_id")
    left = Maintenance(work.start, now, work.asset_id, work.device_id, work.metric) if work.start < now else None
    await _answered(announce, state.settings, maintenance_id, left, work.note, who=work.who)
    return await seen_work(request, await _answered(planned_work, state))


async def _answered(function: Callable[Given, Answer], *args: Given.args, **more: Given.kwargs) -> Answer:
    """Runs it beside the event loop; what Kafka or the registry refuses is said to the caller."""
    try:
        return await asyncio.to_thread(function, *args, **more)
    except (MaintenanceError, RegistryError) as error:
        raise ApiError(503, "Planned work away", str(error)) from error
