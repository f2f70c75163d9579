"""HTTP on loopback: /healthz (the process lives), /readyz (it accepts and forwards), /metrics, and a status page."""

import html
import json
import logging
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fieldstream_edge.settings import HttpSettings

log = logging.getLogger(__name__)


class HealthServer:
    """Serves what `status` and `metrics` return, in a thread."""

    def __init__(
        self, settings: HttpSettings, status: Callable[[], dict[str, Any]], metrics: Callable[[], str]
    ) -> None:
        """Binds at once. Raises OSError when the port is taken."""
        handler = type("Handler", (_Handler,), {"status": staticmethod(status), "metrics": staticmethod(metrics)})
        try:
            self._server = ThreadingHTTPServer((settings.host, settings.port), handler)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot listen on http://{settings.host}:{settings.port} ({error.strerror}): "
                "is another gateway running? Otherwise change [http] port",
            ) from error
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Ends answering."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    status: Callable[[], dict[str, Any]]
    metrics: Callable[[], str]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._answer(200, "text/plain", "ok\n")
        elif path == "/readyz":
            status = type(self).status()
            self._answer(200 if status["ready"] else 503, "application/json", _dump(status))
        elif path == "/status.json":
            self._answer(200, "application/json", _dump(type(self).status()))
        elif path == "/metrics":
            self._answer(200, "text/plain; version=0.0.4; charset=utf-8", type(self).metrics())
        elif path == "/":
            self._answer(200, "text/html; charset=utf-8", page(type(self).status()))
        else:
            self._answer(404, "text/plain", "not here: /healthz /readyz /metrics /status.json /\n")

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        log.debug(format, *args)


def _dump(status: dict[str, Any]) -> str:
    return json.dumps(status, indent=2) + "\n"


_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title><style>
body{{font:16px/1.5 system-ui,sans-serif;margin:1rem auto;max-width:40rem;padding:0 1rem;background:#fff;color:#1d2733}}
h1{{font-size:1.3rem}} .state{{padding:.6rem .9rem;border-radius:.5rem;color:#fff;background:{colour};font-weight:600}}
table{{width:100%;border-collapse:collapse;margin-top:1rem}} td{{padding:.35rem 0;border-bottom:1px solid #e3e8ee}}
td:first-child{{white-space:pre-wrap}}
td:last-child{{text-align:right;font-variant-numeric:tabular-nums}}
@media(prefers-color-scheme:dark){{body{{background:#12181f;color:#dfe6ee}}td{{border-color:#2a3440}}}}
</style></head><body><h1>{title}</h1><p class="state">{headline}</p>{problems}<table>{rows}</table></body></html>
"""


def page(status: dict[str, Any]) -> str:
    """The status page: readable on a phone, renewed every 2 s."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in lines(status)
    )
    problems = "".join(f"<p>{html.escape(problem)}</p>" for problem in status["problems"])
    return _PAGE.format(
        title=html.escape(f"Gateway {status['gateway_id']}"),
        colour="#1a7f4b" if status["ready"] else "#b3261e",
        headline=html.escape(headline(status)),
        problems=problems,
        rows=rows,
    )


def headline(status: dict[str, Any]) -> str:
    """How it is, in one sentence."""
    if status["ready"]:
        return "Everything works: readings are accepted and forwarded."
    if status["accepting"]:
        return "Readings are accepted and kept; they cannot be forwarded at the moment."
    return "No readings are accepted at the moment."


def lines(status: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures that an installer looks for, as (name, value)."""
    hours = status["spool_hours_left"]
    waiting = f"{status['spool_readings']:,}"
    if status["spool_readings"]:
        waiting += f", the oldest for {status['spool_oldest_age_s']:.0f} s"
    pairs = [
        ("Messages received", f"{status['messages']:,}"),
        ("Readings accepted", f"{status['readings']:,}"),
        ("Readings forwarded", f"{status['delivered']:,}"),
        ("Waiting in the spool", waiting),
        ("Spool on disk", f"{status['spool_bytes'] / 1e6:,.1f} MB"),
        ("Buffer left at this rate", f"{hours:,.0f} h" if hours is not None else "no intake"),
        ("Seen before, dropped", f"{status['duplicates_total']:,}"),
        ("Dead letters", f"{status['dead_letters_total']:,}"),
    ]
    pairs += [(f"  {reason}", f"{count:,}") for reason, count in sorted(status["reasons"].items())]
    pairs += [(f"Flagged {flag}", f"{count:,}") for flag, count in sorted(status["flags"].items())]
    pairs += [(f"Lost, {gap['reason']}", f"seq {gap['first']:,} to {gap['last']:,}") for gap in status["gaps"][-5:]]
    if status["clock_offset_ms"] is not None:
        pairs.append(("Device clocks against ours", f"{status['clock_offset_ms']:+,.0f} ms"))
    wrong = [(device, offset) for device, offset in status["worst_clocks"].items() if abs(offset) > 5000]
    pairs += [(f"  clock of {device}", f"{offset / 1000:+,.0f} s") for device, offset in wrong]
    if status["certificate_expires_at"] is not None:
        pairs.append(("Certificate expires", time.strftime("%F", time.gmtime(status["certificate_expires_at"] / 1000))))
    running_h = (status["ts"] - status["started_at"]) / 3_600_000
    pairs += [("Running for", f"{running_h:,.1f} h"), ("Memory", f"{status['memory_bytes'] / 1e6:,.0f} MB")]
    pairs.append(("Version", status["version"]))
    return pairs
