"""What people set aside is silent in Alertmanager: acknowledged, shelved, suppressed and out-of-service incidents.

A comparison, not a conversation: what should be silent follows from the alarms, what is silent from Alertmanager, and
the difference is made good every few seconds. So a restart of either needs nothing.
"""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import httpx

from fieldstream_central.alarms.life import Alarm, Hold, State
from fieldstream_central.notify.notices import rfc3339

AUTHOR = "fieldstream"
# A silence without an end of its own is renewed, so that it ends soon after the alerter is gone.
_RENEWED_MS = 15 * 60_000
_DUE_MS = 10 * 60_000

Silence = dict[str, Any]


def wanted(incidents: Mapping[str, Alarm], now_ms: int) -> dict[str, Silence]:
    """The silences that there should be, by incident."""
    found = {}
    for incident, alarm in incidents.items():
        state = alarm.state(now_ms)
        hold = _hold(alarm, state)
        if hold is None:
            continue
        found[incident] = {
            "matchers": [{"name": "incident", "value": incident, "isRegex": False, "isEqual": True}],
            "startsAt": rfc3339(now_ms),
            "endsAt": rfc3339(hold.until if state is State.SHELVED and hold.until else now_ms + _RENEWED_MS),
            "createdBy": AUTHOR,
            "comment": f"{state} by {hold.who}" + (f": {hold.comment}" if hold.comment else ""),
        }
    return found


def _hold(alarm: Alarm, state: State) -> Hold | None:
    return {
        State.ACKNOWLEDGED: alarm.acknowledged,
        State.SHELVED: alarm.shelf,
        State.SUPPRESSED: alarm.suppression,
        State.OUT_OF_SERVICE: alarm.service,
    }.get(state)


class Silences:
    """Keeps Alertmanager's silences equal to `wanted`; those of other authors are left alone."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def keep(self, incidents: Mapping[str, Alarm]) -> None:
        """Makes good what differs. Raises httpx.HTTPError; the next call does it again."""
        now_ms = time.time_ns() // 1_000_000
        missing = wanted(incidents, now_ms)
        for silence in self._active():
            incident = _incident(silence)
            target = missing.get(incident)
            if target is None:
                self._end(silence)
            elif _lasts(silence, target, now_ms):
                del missing[incident]
            else:
                target["id"] = silence["id"]
        for silence in missing.values():
            self._http.post("/api/v2/silences", json=silence).raise_for_status()

    def release(self, incidents: Iterable[str]) -> None:
        """Ends these incidents' silences, so that their ends are told. Raises httpx.HTTPError."""
        ended = set(incidents)
        for silence in self._active():
            if _incident(silence) in ended:
                self._end(silence)

    def _active(self) -> list[Silence]:
        answer = self._http.get("/api/v2/silences").raise_for_status().json()
        return [s for s in answer if s["createdBy"] == AUTHOR and s["status"]["state"] != "expired"]

    def _end(self, silence: Silence) -> None:
        self._http.delete(f"/api/v2/silence/{silence['id']}").raise_for_status()


def _incident(silence: Silence) -> str:
    return next((one["value"] for one in silence["matchers"] if one["name"] == "incident"), "")


def _lasts(silence: Silence, target: Silence, now_ms: int) -> bool:
    """Whether an existing silence will do: it ends when it should, or need not be renewed yet."""
    ends = datetime.fromisoformat(silence["endsAt"]).timestamp() * 1000
    should = datetime.fromisoformat(target["endsAt"]).timestamp() * 1000
    renewed = abs(should - now_ms - _RENEWED_MS) < 1000
    return abs(ends - should) < 1000 or (renewed and _DUE_MS < ends - now_ms <= _RENEWED_MS)
