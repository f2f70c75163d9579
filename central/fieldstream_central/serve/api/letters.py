"""Dead letters over HTTP: replayed and discarded in the caller's name, as `fieldstream dead-letters` does."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from fieldstream_central.privacy.names import Opener
from fieldstream_central.serve.api.access import require
from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.dead_letters import letters, mark, replay_all

router = APIRouter()


class Handle(BaseModel):
    """What to do about letters. Discarded ones stay readable."""

    action: Literal["replay", "discard"]
    letter_ids: list[str] = Field(min_length=1, max_length=200)
    note: str = Field("", max_length=2000, description="why; needed to discard")


class Handled(BaseModel):
    """What became of one letter; `detail` says where it went, or why it could not be."""

    letter_id: str
    done: bool
    detail: str


@router.post("/dead-letters/actions", summary="Replay dead letters through the ordinary path, or discard them")
async def act(request: Request, handle: Handle) -> list[Handled]:
    """One answer for each letter. For operators."""
    require(request, "operator")
    if handle.action == "discard" and not handle.note.strip():
        raise ApiError(422, "No note", "Say in `note` why they are discarded.", "note")
    return await asyncio.to_thread(_handled, request.app.state.settings, handle, request.state.caller.name)


def _handled(settings: Settings, handle: Handle, who: str) -> list[Handled]:
    with ClickHouse(settings.clickhouse, timeout_s=30.0) as clickhouse:
        found = letters(clickhouse, Opener(settings), ids=tuple(handle.letter_ids), limit=len(handle.letter_ids))
        known = {letter.letter_id for letter in found}
        gone = "there is no such letter, or somebody has dealt with it"
        answers = [Handled(letter_id=one, done=False, detail=gone) for one in handle.letter_ids if one not in known]
        if handle.action == "replay":
            for letter, told in replay_all(clickhouse, settings, found, by=who):
                answers.append(Handled(letter_id=letter.letter_id, done=not told.startswith("NOT"), detail=told))
        else:
            for letter in found:
                mark(clickhouse, letter, "discarded", by=who, note=handle.note)
                answers.append(Handled(letter_id=letter.letter_id, done=True, detail="discarded"))
    return answers
