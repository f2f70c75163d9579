"""Paths of what happened: anomalies and their history, dead letters."""

import json
from base64 import b64decode, b64encode
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fieldstream_schemas.sealing import SealError

from fieldstream_central.privacy.keyring import KeyringError
from fieldstream_central.privacy.names import Opener
from fieldstream_central.serve.api.access import require
from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.api.measurements import store_of
from fieldstream_central.serve.api.models import Anomaly, DeadLetter, Page
from fieldstream_central.serve.api.paging import TEXT, TIME, WHOLE, Listing, page
from fieldstream_central.serve.api.params import Cursor, Limit, parse_time
from fieldstream_central.settings import Settings

router = APIRouter()

_LETTER_COLUMNS = (
    "letter_id, reason, detail, origin, source, payload_size, "
    "base64Encode(payload) AS payload_base64, sealed_by, "
    "device_id, metric, gateway_id, epoch, seq, received_at, stored_at"
)
_From = Query(alias="from", description="only those that began from then on")
_AnomalyId = Path(max_length=200, description="identity of the episode")


@router.get("/anomalies", response_model=Page[Anomaly], summary="Anomaly episodes, the newest first")
async def anomalies(
    request: Request,
    *,
    state: Annotated[Literal["active", "closed", "all"], Query(description="active: not closed yet")] = "all",
    severity: Literal["info", "warning", "critical"] | None = None,
    asset_id: str | None = None,
    device_id: str | None = None,
    metric: str | None = None,
    detector: str | None = None,
    from_: Annotated[str | None, _From] = None,
    to: str | None = None,
    shadow: Annotated[bool, Query(description="also those of detectors on trial")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Each episode at its latest step."""
    where = {"active": ["state != 'close'"], "closed": ["state = 'close'"], "all": []}[state]
    params: dict[str, object] = {}
    given = {"severity": severity, "asset_id": asset_id, "device_id": device_id, "metric": metric, "detector": detector}
    for name, value in given.items():
        if value is not None:
            where.append(f"{name} = {{{name}:String}}")
            params[name] = value
    if from_:
        where.append("started_at >= {from:DateTime64(3)}")
        params["from"] = parse_time(from_, "from")
    if to:
        where.append("started_at < {to:DateTime64(3)}")
        params["to"] = parse_time(to, "to")
    if not shadow:
        where.append("NOT shadow")
    listing = Listing(
        "fieldstream.anomalies_data FINAL",
        "* EXCEPT (version)",
        {"started_at": TIME, "anomaly_id": TEXT},
        descending=True,
    )
    return await page(store_of(request), listing, where, params, limit=limit, cursor=cursor)


@router.get("/anomalies/{anomaly_id}", response_model=Anomaly, summary="One episode at its latest step")
async def anomaly(request: Request, anomaly_id: Annotated[str, _AnomalyId]) -> Response:
    """404 when there is none."""
    lines = await store_of(request).lines(
        "SELECT * FROM fieldstream.anomalies WHERE anomaly_id = {id:String}", {"id": anomaly_id}
    )
    if not lines:
        raise ApiError(404, "Unknown anomaly", f"There is no anomaly {anomaly_id!r}.", "anomaly_id")
    return Response(lines[0], media_type="application/json")


@router.get("/anomalies/{anomaly_id}/history", response_model=Page[Anomaly], summary="All steps of one episode")
async def history(
    request: Request, anomaly_id: Annotated[str, _AnomalyId], limit: Limit = 1000, cursor: Cursor = None
) -> Response:
    """In the order in which they happened."""
    listing = Listing("fieldstream.anomaly_steps_data FINAL", "* EXCEPT (version)", {"revision": WHOLE})
    where, params = ["anomaly_id = {id:String}"], {"id": anomaly_id}
    return await page(store_of(request), listing, where, params, limit=limit, cursor=cursor)


@router.get("/dead-letters", response_model=Page[DeadLetter], summary="What could not be accepted, the newest first")
async def dead_letters(
    request: Request,
    *,
    reason: Annotated[str | None, Query(examples=["not-json"])] = None,
    gateway_id: str | None = None,
    device_id: str | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """With the original bytes, decrypted, which may hold anything: for operators."""
    require(request, "operator")
    where: list[str] = []
    params: dict[str, object] = {}
    for name, value in {"reason": reason, "gateway_id": gateway_id, "device_id": device_id}.items():
        if value is not None:
            where.append(f"{name} = {{{name}:String}}")
            params[name] = value
    key = {"received_at": TIME, "letter_id": TEXT}
    listing = Listing("fieldstream.dead_letters", _LETTER_COLUMNS, key, descending=True)
    answer = await page(store_of(request), listing, where, params, limit=limit, cursor=cursor)
    return Response(_opened(request.app.state.settings, answer.body), media_type="application/json")


def _opened(settings: Settings, body: bytes | memoryview) -> bytes:
    """The page with the letters' original bytes; without them where they cannot be decrypted."""
    found = json.loads(bytes(body).decode(errors="replace"))
    opener = Opener(settings)
    for item in found["items"]:
        try:
            payload = opener.open(item["letter_id"], item.pop("sealed_by"), b64decode(item["payload_base64"]))
        except (SealError, KeyringError):
            payload = b""
        item |= {"payload_text": payload.decode(errors="replace")[:200], "payload_base64": b64encode(payload).decode()}
    return json.dumps(found, ensure_ascii=False).encode()
