"""What a person on shift does in the headless demo: reads the mailbox, acknowledges one incident, hands over."""

import json
import urllib.request
from typing import Any

from local.layout import Layout


class Shift:
    """Follows the link of the first message, as the button in it does, and looks whether the rest follows."""

    def __init__(self, layout: Layout, started_ms: int) -> None:
        self._layout, self._started_ms = layout, started_ms
        self._told: dict[str, Any] = {}
        self._acknowledged = False

    def look(self, messages: list[dict[str, Any]]) -> None:
        """Acknowledges the first incident that the mailbox was told of."""
        first = next((one for one in reversed(messages) if _link(one) and one["status"] == "firing"), None)
        if first and not self._told:
            self._told = first["message"]
            request = urllib.request.Request(_link(first), data=b"name=The+demo", method="POST")  # noqa: S310 - loopback
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                self._acknowledged = b"Acknowledged" in answer.read()

    def report(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """What became of the incident: told by mail, acknowledged, resolved, handed over."""
        incident, alarm_id = self._told.get("incident"), self._told.get("alarm_id")
        return {
            "told_by_mail": any(self._told.get("subject") == one["title"] for one in messages if _is_mail(one)),
            "acknowledged": self._acknowledged,
            "resolved": any(
                one["status"] == "resolved" and one.get("message", {}).get("incident") == incident for one in messages
            ),
            "handed_over": any(
                deed["alarm_id"] == alarm_id and deed["action"] == "acknowledge" for deed in self._handover()["deeds"]
            ),
        }

    def _handover(self) -> dict[str, Any]:
        url = f"{self._layout.url('api')}/api/v1/handover?from={self._started_ms}"
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - loopback
            report: dict[str, Any] = json.load(answer)
        return report


def _is_mail(entry: dict[str, Any]) -> bool:
    return bool(entry["channel"] == "email")


def _link(entry: dict[str, Any]) -> str:
    return str(entry.get("message", {}).get("links", {}).get("acknowledge", ""))
