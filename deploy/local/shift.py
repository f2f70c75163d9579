"""What a person on shift does in the headless demo: reads the mailbox, acknowledges, hands over."""

import json
import urllib.request
from typing import Any

from local.layout import Layout


class Shift:
    """Follows the link of each message, as the button in it does, and looks whether the rest follows."""

    def __init__(self, layout: Layout, started_ms: int) -> None:
        self._layout, self._started_ms = layout, started_ms
        self._acknowledged: dict[str, dict[str, Any]] = {}  # incident: the message that told of it

    def look(self, messages: list[dict[str, Any]]) -> None:
        """Acknowledges every incident that the mailbox was told of."""
        for one in reversed(messages):
            message = one.get("message", {})
            link = message.get("links", {}).get("acknowledge", "")
            if not link or one["status"] != "firing" or message["incident"] in self._acknowledged:
                continue
            request = urllib.request.Request(link, data=b"name=The+demo", method="POST")  # noqa: S310 - loopback
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                if b"Acknowledged" in answer.read():
                    self._acknowledged[message["incident"]] = message

    def report(self, messages: list[dict[str, Any]]) -> dict[str, bool]:
        """What became of the incident that came furthest: acknowledged, told by mail, resolved, handed over. One that
        began late may still stand when the demo ends."""
        mails = {one["title"] for one in messages if one["channel"] == "email"}
        resolved = {one.get("message", {}).get("incident") for one in messages if one["status"] == "resolved"}
        deeds = {deed["alarm_id"] for deed in self._handover()["deeds"] if deed["action"] == "acknowledge"}
        found = [
            {
                "acknowledged": True,
                "told_by_mail": message["subject"] in mails,
                "resolved": incident in resolved,
                "handed_over": message["alarm_id"] in deeds,
            }
            for incident, message in self._acknowledged.items()
        ]
        nothing = dict.fromkeys(("acknowledged", "told_by_mail", "resolved", "handed_over"), False)
        return max(found, key=lambda one: sum(one.values()), default=nothing)

    def _handover(self) -> dict[str, Any]:
        url = f"{self._layout.url('api')}/api/v1/handover?from={self._started_ms}"
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - loopback
            report: dict[str, Any] = json.load(answer)
        return report
