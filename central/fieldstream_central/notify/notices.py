"""What Alertmanager is told of an episode, and when.

An incident that opens and closes while a job or the alerter was away arrives as one: posted and resolved within
Alertmanager's group_wait, nobody would be told of it. So it is resolved only when there was time to tell.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

TELLING_S = 10.0  # Alertmanager's group_wait and group_interval lie below; it has notified of what it took so long ago
Episode = dict[str, Any]


def labels(episode: Episode) -> dict[str, str]:
    """The incident's identity: the same from opening to close, whatever the episode learns in between."""
    return {
        "alertname": episode["detector"],  # not the kind: a limit alarm may rise from H to HH
        "site": episode["site"],
        "area": episode["area"],
        "asset": episode["asset_id"] or episode["device_id"],
        "device": episode["device_id"],
        "metric": episode["metric"],
        "anomaly_id": episode["anomaly_id"],
    }


def alert(episode: Episode, console: str, *, ends_at_ms: int | None = None) -> dict[str, Any]:
    """One entry of POST /api/v2/alerts. Alertmanager takes `ends_at_ms` in the past as resolved."""
    what = f"{episode['asset_id'] or episode['device_id']}: {episode['metric'] or 'device'} {episode['kind']}"
    entry: dict[str, Any] = {
        "labels": {name: value for name, value in labels(episode).items() if value},
        "annotations": {
            "summary": what,
            "description": episode["reason"],
            "kind": episode["kind"],
            "severity": episode["severity"],
            "detected_at_ms": str(episode["detected_at"]),
            "started_at_ms": str(episode["started_at"]),
        },
        "startsAt": rfc3339(episode["started_at"]),
        "generatorURL": f"{console}/?device={episode['device_id']}&metric={episode['metric']}",
    }
    if ends_at_ms is not None:
        entry["endsAt"] = rfc3339(ends_at_ms)
    return entry


def rfc3339(epoch_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat()


class Notices:
    """Turns steps of episodes into alerts. The caller posts what it is given, then says so."""

    def __init__(self, console: str) -> None:
        self._console = console
        self._told: dict[str, float] = {}  # by anomaly id: since when Alertmanager knows of the opening
        self._closing: dict[str, Episode] = {}

    def openings(self, episodes: Sequence[Episode]) -> list[dict[str, Any]]:
        """Alerts that fire, also for episodes that are over and of which nobody was told yet."""
        return [
            alert(episode, self._console)
            for episode in episodes
            if episode["state"] != "close" or episode["anomaly_id"] not in self._told
        ]

    def told(self, episodes: Sequence[Episode], now_s: float) -> None:
        """Alertmanager has taken the openings of these steps."""
        for episode in episodes:
            self._told.setdefault(episode["anomaly_id"], now_s)
            if episode["state"] == "close":
                self._closing[episode["anomaly_id"]] = episode

    def closings(self, now_s: float, now_ms: int) -> list[dict[str, Any]]:
        """Alerts that resolve what is over, once there was time to tell of its opening. Each is given once."""
        due = [key for key in self._closing if now_s - self._told[key] >= TELLING_S]
        alerts = [alert(self._closing.pop(key), self._console, ends_at_ms=now_ms) for key in due]
        for key in due:
            del self._told[key]
        return alerts
