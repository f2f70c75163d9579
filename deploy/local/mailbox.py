"""Where the local stack's notifications arrive: a webhook and an SMTP server on loopback, kept as JSON lines.

GET /notifications lists them, newest first; GET / shows the newest to people.
"""

import argparse
import asyncio
import email
import email.policy
import json
import time
from collections import deque
from html import escape
from pathlib import Path
from typing import Any

import uvicorn
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

KEPT = 1000
_SHOWN = 50
_PAGE = """<!doctype html><html lang="en"><title>Mailbox</title><meta name="viewport" content="width=device-width">
<style>body{font:16px system-ui;margin:2rem auto;max-width:50rem}iframe{width:100%;height:32rem;border:0}
summary{padding:.5rem 0}</style><h1>Mailbox</h1>"""


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
        subject = str(message["subject"]).strip()  # a long one is folded behind its name
        body = message.get_body(("plain", "html"))
        page = message.get_body(("html",))
        self.add(
            "email",
            "resolved" if subject.startswith("[RESOLVED]") else "firing",
            subject,
            labels={},
            to=envelope.rcpt_tos,
            text=body.get_content() if body else "",
            html=page.get_content() if page else "",
        )
        return "250 kept"


def make_app(mailbox: Mailbox) -> FastAPI:
    """The HTTP side: the alerter's webhook, and the list."""
    app = FastAPI(title="Fieldstream local mailbox")

    @app.post("/webhook")
    async def webhook(request: Request) -> dict[str, str]:
        body = await request.json()
        message = body.get("message", {})
        mailbox.add(
            "webhook",
            body.get("status", ""),
            message.get("title", ""),
            message=message,
            labels=body.get("commonLabels", {}),
            alerts=[
                {key: alert.get(key) for key in ("status", "labels", "annotations", "startsAt", "endsAt")}
                for alert in body.get("alerts", [])
            ],
        )
        return {"kept": "yes"}

    @app.get("/notifications")
    async def notifications(limit: int = 100) -> list[dict[str, Any]]:
        return list(mailbox.newest)[::-1][:limit]

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        shown = [entry for entry in list(mailbox.newest)[::-1] if entry["channel"] == "email"][:_SHOWN]
        return _PAGE + "".join(_letter(entry) for entry in shown)

    return app


def _letter(entry: dict[str, Any]) -> str:
    """One e-mail; its HTML stays in a frame of its own, where no script runs."""
    to, title, body = (escape(str(entry.get(name, ""))) for name in ("to", "title", "html"))
    return f'<details><summary>{title} <small>{to}</small></summary><iframe sandbox srcdoc="{body}"></iframe></details>'


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
