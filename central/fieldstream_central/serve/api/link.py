"""What the links of a message lead to. The signature is the permission, so no token is asked for.

Mail scanners follow links: a GET only shows what would be done, the POST of its form does it.
"""

import asyncio
import time
from datetime import UTC, datetime
from functools import partial
from html import escape
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from fieldstream_central.alarms.life import Action, RefusedError
from fieldstream_central.alarms.log import AlarmLog, AlarmsAwayError, ConflictError
from fieldstream_central.audit_log.log import AuditLogError
from fieldstream_central.notify.links import LinkError, checked, link_key
from fieldstream_central.notify.notices import incident_page
from fieldstream_central.serve.store import StoreReader

router = APIRouter()

_LONGEST_NAME = 60
_AROUND_S = 1800
_POINTS = 300
_EPISODE = """
SELECT device_id, metric, toUnixTimestamp64Milli(started_at) AS started_at, expected_low, expected_high,
    toUnixTimestamp64Milli(ifNull(ended_at, now64(3))) AS ended_at
FROM fieldstream.anomalies WHERE anomaly_id = {episode:String}
"""
_COURSE = """
SELECT intDiv(toUnixTimestamp64Milli(window_start), {bucket_ms:Int64}) * {bucket_ms:Int64} AS at,
    sum(w.mean * w.count) / sum(w.count) AS mean, min(w.min) AS bottom, max(w.max) AS top, any(w.unit) AS unit,
    any(w.low) AS limit_low, any(w.high) AS limit_high
FROM fieldstream.windows_data AS w FINAL WHERE device_id = {device:String} AND metric = {metric:String}
    AND window_start >= fromUnixTimestamp64Milli({from:Int64}) AND window_start < fromUnixTimestamp64Milli({to:Int64})
GROUP BY at ORDER BY at
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Acknowledge</title><style>
body {{ font: 18px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 34rem; padding: 2rem 1rem }}
:root {{ color-scheme: light dark }}
input, button {{ font: inherit; padding: .6rem .8rem; width: 100%; box-sizing: border-box; margin: .3rem 0 1rem }}
</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"""


@router.get("/link/acknowledge", response_class=HTMLResponse, include_in_schema=False)
async def confirm(request: Request) -> HTMLResponse:
    """What would be acknowledged, and a button."""
    try:
        said = _said(request, "acknowledge")
        alarm = _log(request).alarm(said["alarm"])
    except (LinkError, AlarmsAwayError) as error:
        return _page("It cannot be done by this link", escape(str(error)), 403 if isinstance(error, LinkError) else 503)
    step: dict[str, Any] = alarm.episode or {}
    reason = escape(step.get("reason", "") if step.get("anomaly_id") == said["episode"] else "This episode is over.")
    form = (
        f"<p><b>{escape(said['alarm'])}</b></p><p>{reason}</p><form method='post'>"
        f"<label>Your name <input name='name' maxlength='{_LONGEST_NAME}' autocomplete='name'></label>"
        "<button>Acknowledge</button></form><p>It will be silent until it ends; its end is told.</p>"
    )
    return _page("Acknowledge this alarm?", form)


@router.post("/link/acknowledge", response_class=HTMLResponse, include_in_schema=False)
async def acknowledge(request: Request) -> HTMLResponse:
    """Does it. What cannot be done is said with who was first."""
    form = parse_qs((await request.body())[:2000].decode(errors="replace"))
    name = "".join(one for one in form.get("name", [""])[0] if one.isprintable()).strip()[:_LONGEST_NAME]
    try:
        said = _said(request, "acknowledge")
        log = _log(request)
        who = f"{name or 'somebody'} (link to {said['by']})"
        current = (log.alarm(said["alarm"]).episode or {}).get("anomaly_id")
        if current != said["episode"]:
            raise RefusedError("This episode is over; the alarm has another one now. Use the console.")
        act, note = f"acknowledge {said['alarm']}", request.app.state.audit_log.note
        await asyncio.to_thread(partial(note, who=who, via="link", act=act))
        await asyncio.to_thread(partial(log.perform, said["alarm"], Action.ACKNOWLEDGE, who))
    except LinkError as error:
        return _page("It cannot be done by this link", escape(str(error)), 403)
    except (RefusedError, ConflictError) as error:
        return _page("Not done", escape(str(error)), 409)
    except (AlarmsAwayError, AuditLogError) as error:
        return _page("Not done", escape(str(error)), 503)
    where = incident_page(request.app.state.settings.console, said["alarm"])
    return _page("Acknowledged", f"<p>Thank you. <a href='{escape(where)}'>The incident in the console</a></p>")


@router.get("/link/plot.png", include_in_schema=False)
async def plot(request: Request) -> Response:
    """The sensor's course around the episode, with what was expected."""
    try:
        said = _said(request, "plot.png")
    except LinkError as error:
        return Response(str(error), 403, media_type="text/plain")
    store: StoreReader = request.app.state.store
    found = await store.rows(_EPISODE, {"episode": said["episode"]})
    if not found:
        return Response("The store does not know this episode yet.", 404, media_type="text/plain")
    episode = found[0] | {name: int(found[0][name]) for name in ("started_at", "ended_at")}
    start, end = episode["started_at"] - _AROUND_S * 1000, episode["ended_at"] + _AROUND_S * 1000
    bucket = max(10_000, (end - start) // _POINTS // 10_000 * 10_000)
    about = {"device": episode["device_id"], "metric": episode["metric"], "from": start, "to": end, "bucket_ms": bucket}
    points = await store.rows(_COURSE, about)
    picture = await asyncio.to_thread(_picture, episode, points)
    return Response(picture, media_type="image/png", headers={"Cache-Control": "max-age=60"})


def _picture(episode: dict[str, Any], points: list[dict[str, Any]]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    times = [datetime.fromtimestamp(int(one["at"]) / 1000, UTC) for one in points]
    started, ended = (datetime.fromtimestamp(episode[name] / 1000, UTC) for name in ("started_at", "ended_at"))
    axis.axvspan(started, ended, color="#b3261e", alpha=0.12, linewidth=0)  # type: ignore[arg-type] # takes dates
    low, high = episode["expected_low"], episode["expected_high"]
    if points:
        low, high = (
            (low, high) if low is not None or high is not None else (points[-1]["limit_low"], points[-1]["limit_high"])
        )
        axis.fill_between(times, [one["bottom"] for one in points], [one["top"] for one in points],  # type: ignore[arg-type]
                          color="#0b57b0", alpha=0.2, linewidth=0)  # fmt: skip
        axis.plot(times, [one["mean"] for one in points], color="#0b57b0", linewidth=1.2)  # type: ignore[arg-type]
    for edge in (low, high):
        if edge is not None:
            axis.axhline(edge, color="#1a6b35", linewidth=1, linestyle="--")
    unit = f" [{points[-1]['unit']}]" if points and points[-1]["unit"] else ""
    axis.set_title(f"{episode['device_id']} {episode['metric']}{unit}", fontsize=9, loc="left", parse_math=False)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(axis.xaxis.get_major_locator()))  # type: ignore[no-untyped-call]
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    out = BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _said(request: Request, purpose: str) -> dict[str, str]:
    key = link_key(request.app.state.settings.link_key_file)
    return checked(key, purpose, dict(request.query_params), time.time_ns() // 1_000_000)


def _log(request: Request) -> AlarmLog:
    log: AlarmLog = request.app.state.alarms
    return log


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=escape(title), body=body), status, headers=_HEADERS)
