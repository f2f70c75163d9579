"""Where Alertmanager sends what is due: makes the message, sends it once, and answers when it is sent.

Alertmanager tries again after any other answer than 200, so a message is late rather than lost.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest

from fieldstream_central.alarms.incidents import incident_of
from fieldstream_central.alarms.life import ASIDE, Alarm, rank
from fieldstream_central.alarms.log import AlarmLog, AlarmsAwayError
from fieldstream_central.certificate import uvicorn_tls
from fieldstream_central.notify.channels import ChannelError, channel_names, http, send
from fieldstream_central.notify.config import NotifyConfig, NotifyError
from fieldstream_central.notify.ledger import Ledger
from fieldstream_central.notify.message import Message, Messages
from fieldstream_central.notify.render import Renderer
from fieldstream_central.settings import Settings

HEARTBEAT = "heartbeat"
TEST = "FieldstreamTest"
_LOG_BEHIND_S = 3.0
_AT_ONCE = 32

log = logging.getLogger("fieldstream.notify")

SENT = Counter("fieldstream_notifications_sent_total", "Messages sent", ["receiver", "status"])
FAILED = Counter("fieldstream_notifications_failed_total", "Attempts of a message that a channel did not take")
REPEATED = Counter("fieldstream_notifications_repeated_total", "Messages that had been sent already and were dropped")


@dataclass(frozen=True)
class Said:
    """What is to be said; `make` writes it out, which costs more than to see that it was said already."""

    incident: str
    status: str
    severity: str
    make: Callable[[], Message]


class Receivers:
    """All receivers. `alive`: whether the alerter follows its topics, without which no heartbeat is passed on."""

    def __init__(
        self,
        config: NotifyConfig,
        *,
        alarms: AlarmLog,
        messages: Messages,
        renderer: Renderer,
        ledger: Ledger,
        alive: Callable[[], bool],
    ) -> None:
        self._config, self._alarms, self._messages = config, alarms, messages
        self._renderer, self._ledger, self._alive = renderer, ledger, alive
        self._locks = [threading.Lock() for _ in range(_AT_ONCE)]
        self._outcomes: dict[str, str] = {}

    def take(self, name: str, payload: dict[str, Any]) -> str:
        """One group of alerts. Raises NotifyError, ChannelError or AlarmsAwayError: then it is to be sent again."""
        said = []
        # The ledger is looked at and written as one for each group; in a flood others do not wait for it.
        with self._locks[hash((name, payload["groupKey"])) % _AT_ONCE]:
            for one in self._said(name, payload):
                said.append(self._send(name, one, payload))
        return "; ".join(said) or "nothing to say"

    def heartbeat(self) -> None:
        """The chain has come as far as here: passed on. Raises NotifyError when the alerter itself is stuck."""
        if not self._alive():
            raise NotifyError("the alerter does not follow its topics")
        if self._config.heartbeat_url:
            http.post(self._config.heartbeat_url, timeout=5).raise_for_status()

    def outcome(self, incident: str) -> str:
        """What became of the last message about it."""
        return self._outcomes.get(incident, "")

    def knows(self, name: str) -> bool:
        """Whether there is such a receiver."""
        return name in self._config.receivers

    def _said(self, name: str, payload: dict[str, Any]) -> list[Said]:
        alerts = payload["alerts"]
        firing = [one for one in alerts if one["status"] == "firing"]
        incident = payload.get("commonLabels", {}).get("incident", "")
        if not incident:  # of the system itself: each alert that is new or over
            return [self._of_alert(one, one["status"], one["fingerprint"]) for one in alerts]
        alert = max(firing or alerts, key=lambda one: rank(one["labels"].get("severity", "")))
        status = "firing" if firing else "resolved"
        if alert["labels"]["alertname"] == TEST:
            return [self._of_alert(alert, status, incident)]
        alarm = self._find(alert["annotations"], incident)
        step = alarm.episode
        if step is None or not _is_of(alarm, incident):  # too old for the topic
            return [self._of_alert(alert, status, incident)]
        if status == "resolved" and step["state"] != "close":
            return []  # it goes on, under other labels: it has become worse
        if alarm.state(time.time_ns() // 1_000_000) in ASIDE:
            return []  # set aside while the message was on its way
        escalated = bool(alert["labels"].get("receiver"))
        make = partial(self._messages.of, alarm, status, receiver=name, escalated=escalated)
        return [Said(incident, status, step["severity"], make)]

    def _of_alert(self, alert: dict[str, Any], status: str, incident: str) -> Said:
        severity = alert["labels"].get("severity", "warning")
        return Said(incident, status, severity, partial(self._messages.of_alert, alert, status, incident))

    def _find(self, notes: dict[str, str], incident: str) -> Alarm:
        """The alarm; the alerter may be ahead of the log by a moment.

        An alarm that others joined before its message was made is not silent: its incident is what people are told of.
        """
        deadline = time.monotonic() + _LOG_BEHIND_S
        while True:
            alarm = self._alarms.alarm(notes["alarm_id"])
            if alarm.parent and _is_of(parent := self._alarms.alarm(alarm.parent.alarm_id), incident):
                return parent
            if _is_of(alarm, incident) or time.monotonic() > deadline:
                return alarm
            time.sleep(0.05)

    def _send(self, name: str, said: Said, payload: dict[str, Any]) -> str:
        key, status = said.incident, said.status
        repeat_s = self._config.repeat_minutes * 60

        def due(channel: str) -> bool:
            return self._ledger.is_due(f"{name}/{channel}", key, status, said.severity, repeat_s)

        def sent(channel: str) -> None:
            self._ledger.note(f"{name}/{channel}", key, status, said.severity)
            SENT.labels(name, status).inc()

        receiver, smtp, told = self._config.receivers[name], self._config.smtp, payload | {"status": status}
        if not any(map(due, channel_names(receiver))):
            REPEATED.inc()
            return "it had been sent"
        # The same for each attempt at the same message, another for a repetition.
        identity = f"{name}/{key}/{status}/{said.severity}/{time.time() // repeat_s}"
        message_id = f"<{hashlib.sha256(identity.encode()).hexdigest()[:32]}@fieldstream>"
        try:
            rendered = self._renderer.render(said.make())
            answers = send(receiver, smtp, rendered, message_id, told, due=due, sent=sent)
        except (ChannelError, NotifyError) as error:
            FAILED.inc()
            self._outcomes[key] = f"{name}: FAILED: {error}"
            raise
        self._outcomes[key] = f"{name}: {'; '.join(answers)} ({status})"
        return self._outcomes[key]


def _is_of(alarm: Alarm, incident: str) -> bool:
    return alarm.episode is not None and incident_of(alarm.episode) == incident


def make_app(receivers: Receivers) -> FastAPI:
    """Alertmanager's webhook for each receiver, the heartbeat, metrics."""
    app = FastAPI(title="Fieldstream notification", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.post("/notify/{name}")
    async def notify(name: str, request: Request) -> dict[str, str]:
        if not (receivers.knows(name) or name == HEARTBEAT):
            raise HTTPException(404, f"there is no receiver {name!r}")
        payload = await request.json()
        try:
            if name == HEARTBEAT:
                await run_in_threadpool(receivers.heartbeat)
                return {"said": "passed on"}
            return {"said": await run_in_threadpool(receivers.take, name, payload)}
        except (ChannelError, NotifyError, AlarmsAwayError, httpx.HTTPError) as error:
            log.warning("receiver %s: not sent, Alertmanager will try again: %s", name, error)
            raise HTTPException(503, str(error)) from error

    @app.get("/notify/outcome/{incident}")
    async def outcome(incident: str) -> dict[str, str]:
        return {"outcome": receivers.outcome(incident)}

    return app


def serve_in_thread(app: FastAPI, settings: Settings) -> None:
    """Serves until the process ends; with a certificate in the settings only to those that show one."""
    config = uvicorn.Config(
        app,
        host=settings.listen,
        port=settings.alerter_metrics_port,
        log_level="warning",
        access_log=False,
        **uvicorn_tls(settings, ask_clients=True),
    )
    threading.Thread(target=uvicorn.Server(config).run, name="notify", daemon=True).start()
