"""Detection's settings, and trials of other ones on what is stored. A trial changes nothing."""

import asyncio
import json
import sys
import time
import uuid
from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from fieldstream_central.detect.config import DetectionConfig, DetectionConfigError, SensorSettings
from fieldstream_central.detect.trial import Trial, Verdict, candidate, settings_in_force
from fieldstream_central.serve.api.access import require
from fieldstream_central.serve.api.errors import ApiError

router = APIRouter()

_LONGEST_S = 1800
_KEPT = 20
_MOST_HOURS = 24 * 31

Layer = Literal["all", "asset_type", "metric", "sensor"]


class SettingsInForce(BaseModel):
    """What detection runs with: the values that hold for all, and what the layers change."""

    file: str = Field(description="setting `detection_file`; empty: the defaults")
    all: dict[str, Any]
    defaults: dict[str, Any]
    layers: dict[str, dict[str, dict[str, Any]]]
    shadow: bool = Field(description="whether a second set runs in the shadow")


class Try(BaseModel):
    """Settings to try: those of one layer, over the last hours."""

    layer: Layer
    name: str = Field("", description="asset type, metric, or `device/metric`; empty for `all`", max_length=400)
    settings: dict[str, Any] = Field(min_length=1, examples=[{"false_alarms_per_sensor_day": 0.005}])
    asset_id: str = Field("", description="only this asset's windows; its like are then no help to it")
    hours: float = Field(168.0, gt=0, le=_MOST_HOURS)


class Comparison(BaseModel):
    """A trial, under way or done. `toml` is what to put into the settings file to run it in the shadow."""

    comparison_id: str
    who: str
    at: int
    asked: Try
    state: Literal["running", "done", "failed"] = "running"
    detail: str = ""
    verdict: Verdict | None = None
    toml: str = ""


@router.get("/detection/settings", summary="What detection runs with, layer by layer")
async def settings(request: Request) -> SettingsInForce:
    """As the file has it now; the job reads it when it starts."""
    path = request.app.state.settings.detection_file
    live = _in_force(request)
    return SettingsInForce(
        file=str(path or ""),
        all=asdict(live.all),
        defaults=asdict(SensorSettings()),
        layers=live.layers,
        shadow=live.shadow is not None,
    )


@router.post("/detection/comparisons", summary="Try other settings on stored windows", status_code=202)
async def compare(request: Request, asked: Try) -> Comparison:
    """It runs beside everything else, one at a time; ask for it by its identity. For operators."""
    require(request, "operator")
    try:
        candidate(_in_force(request), asked.layer, asked.name, asked.settings)
    except DetectionConfigError as error:
        raise ApiError(422, "Settings not usable", str(error), "settings") from error
    if asked.layer != "all" and not asked.name:
        raise ApiError(422, "About what?", f"`name` says which {asked.layer} the settings are for.", "name")
    known: dict[str, Comparison] = request.app.state.comparisons
    running = next((one for one in known.values() if one.state == "running"), None)
    if running:
        raise ApiError(409, "One at a time", f"{running.who} is trying settings; wait until that is done.")
    now = time.time_ns() // 1_000_000
    made = Comparison(
        comparison_id=str(uuid.uuid4()), who=request.state.caller.name, at=now, asked=asked, toml=_toml(asked)
    )
    known[made.comparison_id] = made
    while len(known) > _KEPT:
        known.pop(next(iter(known)))
    path = request.app.state.settings.detection_file
    trial = Trial(
        **asked.model_dump(exclude={"hours"}),
        clickhouse=request.app.state.settings.clickhouse,
        detection_file=str(path or ""),
        start=now - round(asked.hours * 3_600_000),
        end=now,
    )
    request.app.state.trial = asyncio.create_task(_run(trial, made))
    return made


@router.get("/detection/comparisons", summary="Trials of settings, the newest first")
async def comparisons(request: Request) -> list[Comparison]:
    """The last twenty since the API was started."""
    known: dict[str, Comparison] = request.app.state.comparisons
    return list(reversed(known.values()))


async def _run(trial: Trial, comparison: Comparison) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fieldstream_central.detect.trial"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        given = json.dumps(asdict(trial)).encode()
        out, problem = await asyncio.wait_for(process.communicate(given), _LONGEST_S)
    except (TimeoutError, asyncio.CancelledError) as error:
        process.kill()
        comparison.state, comparison.detail = "failed", f"not done within {_LONGEST_S // 60} minutes"
        if isinstance(error, asyncio.CancelledError):
            raise
        return
    if process.returncode:
        last = problem.decode(errors="replace").strip().rpartition("\n")[2]
        comparison.state, comparison.detail = "failed", last.partition(": ")[2] or last
        return
    comparison.verdict = Verdict(**json.loads(out))
    comparison.state = "done"


def _in_force(request: Request) -> DetectionConfig:
    try:
        return settings_in_force(request.app.state.settings.detection_file)
    except DetectionConfigError as error:
        raise ApiError(500, "Settings not readable", str(error)) from error


def _toml(asked: Try) -> str:
    head = "shadow.all" if asked.layer == "all" else f"shadow.{asked.layer}.{json.dumps(asked.name)}"
    return "\n".join([f"[{head}]", *(f"{key} = {json.dumps(value)}" for key, value in asked.settings.items())])
