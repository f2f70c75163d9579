"""What a shift leaves behind: the hand-over report, and how well the alarm system itself has done."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from fieldstream_central.alarms.life import State
from fieldstream_central.maintenance import MaintenanceError
from fieldstream_central.serve.alarm_health import AlarmHealth, alarm_health
from fieldstream_central.serve.api.alarms import AlarmOut, alarms_of, shown
from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.api.maintenance import Planned, planned_work, seen_work
from fieldstream_central.serve.api.measurements import store_of
from fieldstream_central.serve.api.params import SpanParam
from fieldstream_central.serve.handover import Corrected, Counted, Deed, Happened, shift

router = APIRouter()

_OPEN = (State.UNACKNOWLEDGED, State.ACKNOWLEDGED, State.RETURNED_UNACKNOWLEDGED, State.LATCHED)
_ASIDE = (State.SHELVED, State.SUPPRESSED, State.OUT_OF_SERVICE)

_PLANT_WIDE = "Dead letters and gateways are of the whole plant; your token is for its sites alone."

Site = Annotated[str, Query(description="only this site; default: all")]


class Handover(BaseModel):
    """One shift for the next. Times are epoch milliseconds. What could not be had is null, and `away` says why."""

    start: int
    end: int
    site: str
    happened: list[Happened] = Field(description="episodes that were announced or held in the shift, the worst first")
    severities: dict[str, int]
    deeds: list[Deed] = Field(description="what people did to alarms")
    open: list[AlarmOut] | None = Field(description="alarms that still need somebody, now")
    aside: list[AlarmOut] | None = Field(description="shelved, suppressed, out of service, now")
    maintenance: list[Planned] | None = Field(description="planned work that touches the shift or is still to come")
    corrected: list[Corrected] = Field(description="sensors whose numbers were corrected after they had been told")
    dead_letters: dict[str, int]
    gateways: list[Counted]
    away: list[str]


@router.get("/handover", summary="Shift hand-over: what happened, what is open, what is set aside, corrected numbers")
async def handover(request: Request, span: SpanParam, site: Site = "") -> Handover:
    """`open`, `aside` and `maintenance` are of now; all else is of the range."""
    settings = request.app.state.settings
    facts = await shift(store_of(request), settings.clickhouse, span, site=site)
    start, end = (round(moment.timestamp() * 1000) for moment in (span.start, span.end))
    away = [_PLANT_WIDE] if request.state.caller.sites else []
    needing: list[AlarmOut] | None = None
    aside: list[AlarmOut] | None = None
    work: list[Planned] | None = None
    try:
        alarms = [alarm for alarm in (shown(one, end) for one in alarms_of(request)) if site in ("", alarm.site)]
        needing = [alarm for alarm in alarms if alarm.state in _OPEN]
        aside = [alarm for alarm in alarms if alarm.state in _ASIDE]
    except ApiError as error:
        away.append(str(error))
    try:
        planned = await seen_work(request, await asyncio.to_thread(planned_work, request.app.state))
        work = [one for one in planned if one.end > start]
    except MaintenanceError as error:
        away.append(str(error))
    return Handover(
        **facts.__dict__, start=start, end=end, site=site, open=needing, aside=aside, maintenance=work, away=away
    )


@router.get("/alarm-health", summary="The alarm system itself after EEMUA 191: load, floods, chattering, standing")
async def health(
    request: Request,
    span: SpanParam,
    operators: Annotated[int, Query(ge=1, le=100, description="people on shift who share the alarms")] = 1,
    site: Site = "",
) -> AlarmHealth:
    """An alarm counts each time it is announced. Times are epoch milliseconds."""
    return await alarm_health(store_of(request), span, operators=operators, site=site)
