"""The dead man's switch: tells people when the chain that tells them has fallen silent.

Prometheus always fires the watchdog alert; it goes through Alertmanager and the alerter, which calls here. Whatever of
the three stops, the calls stop. Run it on another machine: it needs a mail server and nothing of the chain.
"""

import logging
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fieldstream_central.notify.channels import ChannelError, send
from fieldstream_central.notify.config import NotifyConfig
from fieldstream_central.notify.message import Links, Message, moment
from fieldstream_central.notify.render import Renderer

AFTER_S = 120.0
_LOOK_S = 1.0
_AGAIN_S = 30.0
log = logging.getLogger("fieldstream.watchdog")


class Watchdog:
    """Counts the time since the last call. `tell` is given status and message, and raises ChannelError."""

    def __init__(self, tell: Callable[[str, str], None], after_s: float) -> None:
        self._tell, self._after_s = tell, after_s
        self._heard_at, self._heard = time.monotonic(), time.time()
        self._silent = False

    def call(self) -> None:
        """The chain has been heard."""
        self._heard_at, self._heard = time.monotonic(), time.time()

    @property
    def alive(self) -> bool:
        """Whether it was heard lately."""
        return time.monotonic() - self._heard_at <= self._after_s

    def look(self) -> None:
        """Tells once when it falls silent and once when it is heard again. Raises ChannelError; look again then."""
        if self.alive is not self._silent:
            return
        since = moment(self._heard * 1000)
        if self._silent:
            self._tell("resolved", "The chain is heard again.")
        else:
            self._tell(
                "firing", f"Last heard {since}. Until it is heard again nobody is told of any alarm: look there."
            )
        self._silent = not self._silent


def teller(config: NotifyConfig, renderer: Renderer) -> Callable[[str, str], None]:
    """Tells whoever is told first, without Alertmanager."""

    def tell(status: str, reason: str) -> None:
        title = "Fieldstream's own alarms are silent"
        links = Links(runbook=f"{config.runbooks}/FieldstreamWatchdog")
        message = Message(status=status, title=title, severity="critical", reason=reason, links=links)
        identity = f"<watchdog-{time.time_ns()}@fieldstream>"
        payload = {"status": status, "alerts": [], "commonLabels": {"alertname": "FieldstreamSilent"}}
        send(config.receivers[config.first], config.smtp, renderer.render(message), identity, payload)

    return tell


def run(watchdog: Watchdog, host: str, port: int) -> None:
    """Listens and looks until the process is stopped."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            watchdog.call()
            self._answer(200, b"heard\n")

        def do_GET(self) -> None:
            self._answer(200, b"alive\n") if watchdog.alive else self._answer(503, b"silent\n")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="calls", daemon=True).start()
    while True:
        try:
            watchdog.look()
            time.sleep(_LOOK_S)
        except ChannelError as error:
            log.error("the chain's silence could not be told, trying again in %.0f s: %s", _AGAIN_S, error)
            time.sleep(_AGAIN_S)
