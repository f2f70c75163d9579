"""Alarms: their states, and what people do to them. The only way by which an alarm's state changes."""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from fieldstream_central.alarms.life import (
    ADMIN_ACTIONS,
    ASIDE,
    Action,
    Alarm,
    Hold,
    Mark,
    RefusedError,
    State,
    members_of,
)
from fieldstream_central.alarms.log import AlarmLog, AlarmsAwayError, ConflictError, Outcome
from fieldstream_central.serve.api.access import Caller, require
from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.api.measurements import store_of
from fieldstream_central.serve.api.params import parse_time

router = APIRouter()

MOST_AT_ONCE = 500
# A shelf that has lasted so long, or an alarm out of service so long, is listed as forgotten.
_FORGOTTEN_MS = 8 * 3600 * 1000
_SEVERITIES = ("critical", "warning", "info")
_WAITING = (State.UNACKNOWLEDGED, State.RETURNED_UNACKNOWLEDGED)
_FEEDBACK_DAYS = 30
# Of each person's marks on an episode the newest; then how often each was given, beside how often the alarm came.
_FEEDBACK = """
SELECT alarm_id, splitByChar('/', alarm_id) AS parts, parts[1] AS device_id, parts[2] AS metric, parts[3] AS detector,
    countIf(mark = 'useful') AS useful, countIf(mark = 'false') AS `false`, countIf(mark = 'expected') AS expected,
    any(episodes) AS episodes
FROM (SELECT alarm_id, anomaly_id, who, argMax(mark, revision) AS mark FROM fieldstream.alarm_events
      WHERE action = 'mark' AND holds AND at >= {from:DateTime64(3)} AND at < {to:DateTime64(3)}
      GROUP BY alarm_id, anomaly_id, who) AS marks
LEFT JOIN (SELECT concat(device_id, '/', metric, '/', detector) AS alarm_id, count() AS episodes
      FROM fieldstream.anomalies
      WHERE NOT shadow AND started_at >= {from:DateTime64(3)} AND started_at < {to:DateTime64(3)}
      GROUP BY alarm_id) AS came USING (alarm_id)
GROUP BY alarm_id ORDER BY `false` DESC, useful DESC, alarm_id
"""


class Held(BaseModel):
    """Who did it, when (epoch milliseconds), why, and until when."""

    who: str
    at: int
    comment: str
    until: int | None = None


class CallerOut(BaseModel):
    """Whose token it is, and what it may do."""

    name: str
    role: Literal["viewer", "operator", "admin"]
    sites: list[str] = Field(description="the only ones that it sees; none: all")


class AlarmOut(BaseModel):
    """An alarm as it is now. `revision` goes back with an action, so that nobody acts on what has changed."""

    alarm_id: str = Field(examples=["pump-01/temperature/limit"])
    state: State
    revision: int
    anomaly_id: str | None
    device_id: str
    metric: str
    asset_id: str
    site: str
    area: str
    severity: str
    kind: str
    reason: str
    started_at: int | None
    ended_at: int | None
    acknowledged: Held | None
    shelf: Held | None
    suppression: Held | None
    out_of_service: Held | None
    parent: str | None = Field(description="alarm_id of the incident that it belongs to")
    members: list[str] = Field(description="of an incident: the alarms that belong to it")
    marks: dict[str, Mark] = Field(description="by who set them, on this episode")
    forgotten: bool = Field(description="on a shelf or out of service for more than eight hours")


class Target(BaseModel):
    """An alarm to act on. `revision`: as it was seen; without it the action holds whatever happened meanwhile."""

    alarm_id: str
    revision: int | None = None


class Do(BaseModel):
    """One action on one or many alarms."""

    action: Action
    alarms: list[Target] = Field(min_length=1, max_length=MOST_AT_ONCE)
    comment: str = Field("", max_length=2000)
    until: int | None = Field(None, description="epoch milliseconds; when a shelf ends, at most 24 hours from now")
    mark: Mark | None = Field(None, description="with `mark`: what you think of the episode; your newest holds")


class Done(BaseModel):
    """What became of the action on one alarm. On `conflict` somebody else was first; `detail` says who."""

    alarm_id: str
    result: Literal["done", "refused", "conflict", "away"]
    detail: str = ""
    alarm: AlarmOut | None = None


class Feedback(BaseModel):
    """What people thought of one detector's alarms on one sensor. Counted only: it changes no threshold."""

    alarm_id: str
    device_id: str
    metric: str
    detector: str
    useful: int
    false: int
    expected: int
    episodes: int = Field(description="how often the alarm came in this time, marked or not")


@router.get("/alarms", summary="Alarms that need somebody, the worst first")
async def alarms(
    request: Request,
    *,
    state: Annotated[list[State] | None, Query(description="only these states; default: all but cleared")] = None,
    site: str | None = None,
    area: str | None = None,
    asset_id: str | None = None,
    forgotten: Annotated[bool, Query(description="only shelves and outages of more than eight hours")] = False,
    newest_first: Annotated[bool, Query(description="by time instead of severity")] = False,
    limit: Annotated[int | None, Query(ge=1, description="at most so many; default: all")] = None,
    offset: Annotated[int, Query(ge=0, description="after so many")] = 0,
    response: Response,
) -> list[AlarmOut]:
    """By severity, what nobody has acknowledged first, then the longest first; what is set aside comes last.
    `X-Total-Count` says how many there are, `X-Waiting-Count` how many of them nobody has acknowledged."""
    now = time.time_ns() // 1_000_000
    wanted = frozenset(state or set(State) - {State.CLEARED})
    places = {
        name: value for name, value in (("site", site), ("area", area), ("asset_id", asset_id)) if value is not None
    }
    states = [(alarm, alarm.state(now)) for alarm in alarms_of(request)]
    kept = [
        (alarm, is_now)
        for alarm, is_now in states
        if is_now in wanted
        and all((alarm.episode or {}).get(name, "") == value for name, value in places.items())
        and (not forgotten or _forgotten(alarm, now))
    ]
    kept.sort(key=lambda one: _order(*one, newest_first=newest_first))
    response.headers["X-Total-Count"] = str(len(kept))
    response.headers["X-Waiting-Count"] = str(sum(is_now in _WAITING for _, is_now in kept))
    return [shown(alarm, now) for alarm, _ in kept[offset : offset + limit if limit else None]]


@router.get("/alarms/feedback", summary="Marks of alarms, by detector and sensor, most false ones first")
async def feedback(
    request: Request,
    from_: Annotated[str | None, Query(alias="from", description="default: 30 days before `to`")] = None,
    to: Annotated[str | None, Query(description="default: now")] = None,
) -> list[Feedback]:
    """Marks set in this time; of several by one person on one episode the newest."""
    end = parse_time(to, "to") if to else datetime.now(UTC)
    start = parse_time(from_, "from") if from_ else end - timedelta(days=_FEEDBACK_DAYS)
    rows = await store_of(request).rows(_FEEDBACK, {"from": start, "to": end})
    return [Feedback(**row) for row in rows]


@router.get("/caller", summary="Whose token this is")
async def caller(request: Request) -> CallerOut:
    """Without tokens everybody is the admin."""
    who: Caller = request.state.caller
    return CallerOut.model_validate({"name": who.name, "role": who.role, "sites": list(who.sites)})


@router.post("/alarms/actions", summary="Acknowledge, shelve, comment ... one alarm or many")
async def act(request: Request, do: Do) -> list[Done]:
    """One answer per alarm, in order: what can be done is done, whatever becomes of the others."""
    require(request, "admin" if do.action in ADMIN_ACTIONS else "operator")
    seen = {target.alarm_id: target.revision for target in do.alarms}
    _must_be_seen(request, seen)
    who = request.state.caller.name
    log = _log(request)
    perform = partial(log.perform_all, comment=do.comment, until=do.until, mark=do.mark or "")
    outcomes = await asyncio.to_thread(perform, seen, do.action, who)
    return [_done(alarm_id, outcomes[alarm_id]) for alarm_id in seen]


def alarms_of(request: Request) -> list[Alarm]:
    """The alarms that the caller may see. An incident is of one site, as its members are.

    Raises ApiError 503 while they are not known.
    """
    try:
        every, sites = _log(request).alarms(), request.state.caller.sites
    except AlarmsAwayError as error:
        raise ApiError(503, "Alarms away", str(error)) from error
    return [alarm for alarm in every if not sites or (alarm.episode or {}).get("site") in sites]


def _must_be_seen(request: Request, alarm_ids: Iterable[str]) -> None:
    if not request.state.caller.sites:
        return
    seen = {alarm.alarm_id for alarm in alarms_of(request)}
    if other := next((one for one in alarm_ids if one not in seen), None):
        detail = f"There is no alarm {other!r} in your sites; GET /api/v1/alarms lists those there are."
        raise ApiError(403, "Not in your sites", detail, "alarms")


def _done(alarm_id: str, outcome: Outcome) -> Done:
    if isinstance(outcome, Alarm):
        return Done(alarm_id=alarm_id, result="done", alarm=shown(outcome, time.time_ns() // 1_000_000))
    result: Literal["refused", "conflict", "away"] = "away"
    if isinstance(outcome, RefusedError):
        result = "refused"
    elif isinstance(outcome, ConflictError):
        result = "conflict"
    return Done(alarm_id=alarm_id, result=result, detail=str(outcome))


def shown(alarm: Alarm, now_ms: int) -> AlarmOut:
    """An alarm for the outside."""
    episode: dict[str, Any] = alarm.episode or {}
    device, _, rest = alarm.alarm_id.partition("/")
    shelf = alarm.shelf if alarm.shelved(now_ms) else None
    return AlarmOut(
        alarm_id=alarm.alarm_id,
        state=alarm.state(now_ms),
        revision=alarm.revision,
        anomaly_id=episode.get("anomaly_id"),
        device_id=episode.get("device_id", device),
        metric=episode.get("metric", rest.partition("/")[0]),
        **{name: episode.get(name, "") for name in ("asset_id", "site", "area", "severity", "kind", "reason")},
        started_at=episode.get("started_at"),
        ended_at=episode.get("ended_at"),
        acknowledged=_held(alarm.acknowledged if alarm.told else None),
        shelf=_held(shelf),
        suppression=_held(alarm.suppression),
        out_of_service=_held(alarm.service),
        parent=alarm.parent.alarm_id if alarm.parent else None,
        members=members_of(episode) if episode else [],
        marks=dict(alarm.marks) if alarm.marked_episode == episode.get("anomaly_id") else {},
        forgotten=_forgotten(alarm, now_ms),
    )


def _held(hold: Hold | None) -> Held | None:
    return Held(who=hold.who, at=hold.at, comment=hold.comment, until=hold.until) if hold else None


def _forgotten(alarm: Alarm, now_ms: int) -> bool:
    aside = (alarm.shelf if alarm.shelved(now_ms) else None, alarm.service)
    return any(now_ms - hold.at > _FORGOTTEN_MS for hold in aside if hold)


def _order(alarm: Alarm, state: State, *, newest_first: bool) -> tuple[int, int, int, int, str]:
    episode = alarm.episode or {}
    severity, started_at = episode.get("severity", ""), episode.get("started_at", 0)
    if newest_first:
        return 0, 0, 0, -started_at, alarm.alarm_id
    rank = _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)
    return state in ASIDE, rank, state != State.UNACKNOWLEDGED, started_at, alarm.alarm_id


def _log(request: Request) -> AlarmLog:
    log: AlarmLog = request.app.state.alarms
    return log
