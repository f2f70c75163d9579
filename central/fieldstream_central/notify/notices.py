"""What Alertmanager is told of an incident, and when.

An incident that begins and ends while a job or the alerter was away arrives as one: posted and resolved within
Alertmanager's group_wait, nobody would be told of it. So it is resolved only when there was time to tell.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fieldstream_central.alarms.incidents import GATEWAY, Step, asset_of, cause_of, incident_of
from fieldstream_central.alarms.life import alarm_id_of, rank

TELLING_S = 10.0  # Alertmanager's group_wait and group_interval lie below; it has notified of what it took so long ago
REMEMBERED_S = 120.0  # an end posted so recently may have been lost with a killed Alertmanager
INCIDENT, GATEWAY_OFFLINE = "FieldstreamIncident", "FieldstreamGatewayOffline"

Labels = dict[str, str]


def labels(step: Step) -> Labels:
    """The same from the incident's beginning to its end, but for the severity, which may rise."""
    found = {
        "alertname": GATEWAY_OFFLINE if step["detector"] == GATEWAY else INCIDENT,
        "incident": incident_of(step),
        "site": step["site"],
        "area": step["area"],
        "asset": asset_of(step),
        "cause": cause_of(step),
        "severity": step["severity"],
    }
    return {name: value for name, value in found.items() if value}  # Alertmanager refuses empty labels


def incident_page(console: str, alarm_id: str) -> str:
    """Where the console shows an alarm or incident."""
    return f"{console}/incident/{quote(alarm_id)}"


def alert(step: Step, console: str, *, ends_at_ms: int | None = None, **more: str) -> dict[str, Any]:
    """One entry of POST /api/v2/alerts. Alertmanager takes `ends_at_ms` in the past as resolved; `more`: labels."""
    entry: dict[str, Any] = {
        "labels": labels(step) | more,
        "annotations": {
            "summary": f"{asset_of(step)}: {step['metric'] or ''} {step['kind']}".replace(":  ", ": "),
            "description": step["reason"],
            "alarm_id": alarm_id_of(step),
            "anomaly_id": step["anomaly_id"],
        },
        "startsAt": rfc3339(step["started_at"]),
        "generatorURL": incident_page(console, alarm_id_of(step)),
    }
    if ends_at_ms is not None:
        entry["endsAt"] = rfc3339(ends_at_ms)
    return entry


def rfc3339(epoch_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat()


class Notices:
    """Which incidents Alertmanager is to be told of. The caller posts what it is given, then says so."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, Step]] = {}  # by incident: since when Alertmanager knows of it, and how
        self._closing: dict[str, Step] = {}
        self._closed: dict[str, tuple[float, Step]] = {}

    def openings(self, steps: Iterable[Step]) -> list[Step]:
        """Those that Alertmanager does not know of, or not to be so severe."""
        return [
            step
            for step in steps
            if (known := self.known(step)) is None or rank(step["severity"]) > rank(known["severity"])
        ]

    def known(self, step: Step) -> Step | None:
        """The incident as Alertmanager knows it."""
        told = self._told.get(incident_of(step))
        return told[1] if told else None

    def told(self, steps: Iterable[Step], now_s: float) -> None:
        """Alertmanager has taken these."""
        for step in steps:
            self._told[incident_of(step)] = (now_s, step)

    def over(self, steps: Iterable[Step]) -> None:
        """These have ended; their ends are due when there was time to tell of their beginnings."""
        for step in steps:
            if incident_of(step) in self._told:
                self._closing[incident_of(step)] = step

    def closings(self, now_s: float) -> list[Step]:
        """Those whose end is to be posted now, as Alertmanager knows them. Each is given once."""
        due = [key for key in self._closing if now_s - self._told[key][0] >= TELLING_S]
        steps = [self._closing.pop(key) | {"severity": self._told.pop(key)[1]["severity"]} for key in due]
        self._closed |= {incident_of(step): (now_s, step) for step in steps}
        self._closed = {key: one for key, one in self._closed.items() if now_s - one[0] < REMEMBERED_S}
        return steps

    def forgotten(self) -> list[Step]:
        """Alertmanager was started anew and knows nothing: all is to be told again. Gives what ended just before."""
        self._told = {key: one for key, one in self._told.items() if key in self._closing}
        closed, self._closed = self._closed, {}
        return [step for _, step in closed.values()]
