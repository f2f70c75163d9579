"""Where the local stack's notifications arrive: a webhook and an SMTP server on loopback, kept as JSON lines.

GET /notifications lists them, newest first.
"""

import argparse
import asyncio
import email
import email.policy
import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import uvicorn
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, Request

KEPT = 1000


class Mailbox:
    """The notifications received, in memory the newest KEPT and all of them in the file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.newest: deque[dict[str, Any]] = deque((json.loads(line) for line in lines[-KEPT:]), maxlen=KEPT)

    def add(self, channel: str, status: str, title: str, **more: Any) -> None:
        """Keeps one notification."""
        entry = {"received_at_ms": time.time_ns() // 1_000_000, "channel": channel, "status": status, "title": title}
        self.newest.append(entry | more)
        with self._file.open("a") as file:
            file.write(json.dumps(entry | more) + "\n")

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd
        """Takes one e-mail."""
        message = email.message_from_bytes(envelope.original_content or b"", policy=email.policy.default)
        subject = str(message["subject"])
        body = message.get_body(("plain", "html"))
        status = "resolved" if "RESOLVED" in subject else "firing"
        self.add("email", status, subject, labels={}, text=body.get_content() if body else "")
        return "250 kept"


def make_app(mailbox: Mailbox) -> FastAPI:
    """The HTTP side: Alertmanager's webhook, and the list."""
    app = FastAPI(title="Fieldstream local mailbox")

    @app.post("/webhook")
    async def webhook(request: Request) -> dict[str, str]:
        body = await request.json()
        titles = [alert.get("annotations", {}).get("summary", "") for alert in body.get("alerts", [])]
        mailbox.add(
            "webhook",
            body.get("status", ""),
            "; ".join(titles[:3]) + (f" and {len(titles) - 3} more" if len(titles) > 3 else ""),
            labels=body.get("groupLabels", {}),
            alerts=[
                {key: alert.get(key) for key in ("status", "labels", "annotations", "startsAt", "endsAt")}
                for alert in body.get("alerts", [])
            ],
        )
        return {"kept": "yes"}

    @app.get("/notifications")
    async def notifications(limit: int = 100) -> list[dict[str, Any]]:
        return list(mailbox.newest)[::-1][:limit]

    return app


async def serve(http_port: int, smtp_port: int, file: Path) -> None:
    """Runs both servers until stopped."""
    mailbox = Mailbox(file)
    smtp = Controller(mailbox, hostname="127.0.0.1", port=smtp_port)
    smtp.start()
    config = uvicorn.Config(make_app(mailbox), host="127.0.0.1", port=http_port, log_level="warning")
    try:
        await uvicorn.Server(config).serve()
    finally:
        smtp.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.http_port, arguments.smtp_port, arguments.file))
