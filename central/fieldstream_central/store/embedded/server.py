"""The ClickHouse HTTP interface over the embedded engine.

Answers curl, clickhouse-connect, its SQLAlchemy dialect and clickhouse-go as a server does, for what they
do with this project. Not here: INSERT ... SELECT FROM input(), external tables, progress headers.
"""

import argparse
import logging
import secrets
import signal
import socket
import ssl
import string
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fieldstream_central.store.embedded import answer as answers
from fieldstream_central.store.embedded import compression, greeting, request
from fieldstream_central.store.embedded.access import AccessError, Users
from fieldstream_central.store.embedded.engine import Engine, EngineError, run

log = logging.getLogger("fieldstream.clickhouse")

_STATUS = {516: 403, 497: 403, 164: 403, 60: 404, 81: 404, 62: 400, 115: 404, 373: 423, 202: 503, 241: 500, 159: 408}
_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
}


class ClickHouseServer(ThreadingHTTPServer):
    """One engine, a thread per client connection, at most `max_queries` statements at a time."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        engine: Engine,
        users: Users,
        *,
        tls: ssl.SSLContext | None = None,
        max_queries: int = 16,
    ) -> None:
        self.engine = engine
        self.users = users
        self.tls = tls
        self.slots = threading.BoundedSemaphore(max_queries)
        self.max_queries = max_queries
        with engine.handle() as connection:
            self.version = bytes(run(connection, "SELECT version()").bytes()).decode().strip()
        super().__init__(address, Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A client's connection. The handshake comes with its first bytes, in its own thread."""
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off, or speaks no TLS where TLS is spoken, is worth a line."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)
        else:
            log.info("client %s: %s", client_address[0], error)

    def drain(self, timeout_s: float) -> bool:
        """Waits until nothing runs and lets nothing start. False: something still ran after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        return all(self.slots.acquire(timeout=max(0.0, deadline - time.monotonic())) for _ in range(self.max_queries))


class Handler(BaseHTTPRequestHandler):
    """One client connection."""

    protocol_version = "HTTP/1.1"
    server: ClickHouseServer
    timeout = 600  # a client that says nothing for so long is gone
    disable_nagle_algorithm = True
    wbufsize = 64 << 10

    def do_GET(self) -> None:
        """Health checks and reading queries."""
        path = urlsplit(self.path).path
        if path in ("/ping", "/replicas_status") or (path == "/" and "?" not in self.path):
            self._send(200, b"Ok.\n", "text/plain")
        else:
            self._handle()

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def do_POST(self) -> None:
        """Any query."""
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Requests are not logged one by one; failures are."""

    def _handle(self) -> None:
        raw_body = request.read_body(self.rfile, self.headers)  # type: ignore[arg-type]
        try:
            self._answer(raw_body)
        except (EngineError, AccessError, request.RequestError, compression.BodyError) as error:
            # What is left of the body cannot be told from a next request: the connection ends with the error.
            self.close_connection = True
            self._send_error(error)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self, raw_body: Iterator[bytes]) -> None:
        url = urlsplit(self.path)
        asked = request.parse(self.command, url.query, self.headers)  # type: ignore[arg-type]
        address = str(self.client_address[0])
        user = self.server.users.authenticate(self.headers, asked.query, address)  # type: ignore[arg-type]
        if url.path not in ("/", ""):
            raise EngineError(f"Code: 60. There is no handle {url.path}. Use / or /ping.", 60)
        work = request.work_of(asked, raw_body)
        if work.sql.strip() == greeting.QUESTION:
            revision = asked.query.get("client_protocol_version", "0")
            self._reply(asked, greeting.answer(self.server.version, int(revision) if revision.isdigit() else 0))
            return
        if not self.server.slots.acquire(timeout=10):
            raise EngineError("Code: 202. DB::Exception: Too many simultaneous queries. (TOO_MANY_...)", 202)
        try:
            answer = answers.execute(self.server.engine, asked, work, user)
            try:
                for _ in raw_body:
                    pass
                self._reply(asked, answer)
            finally:
                answer.close()
        finally:
            self.server.slots.release()

    def _reply(self, asked: request.Request, answer: answers.Answer) -> None:
        tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        self.send_response(200)
        self.send_header("Content-Type", _TYPES.get(answer.format, "application/octet-stream"))
        self.send_header("X-ClickHouse-Query-Id", asked.query_id)
        self.send_header("X-ClickHouse-Timezone", "UTC")
        self.send_header("X-ClickHouse-Server-Display-Name", "fieldstream")
        self.send_header("X-ClickHouse-Summary", answers.summary_header(answer.summary))
        if answer.format:
            self.send_header("X-ClickHouse-Format", answer.format)
        if asked.answer_encoding:
            self.send_header("Content-Encoding", asked.answer_encoding)
        if answer.whole is not None:
            body = b"".join(self._packed(asked, iter([answer.whole])))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-ClickHouse-Exception-Tag", tag)
        self.end_headers()
        self._stream(asked, answer, tag)

    def _stream(self, asked: request.Request, answer: answers.Answer, tag: str) -> None:
        failed = False

        def guarded() -> Iterator[bytes]:
            nonlocal failed
            try:
                yield from answer.pieces
            except EngineError as error:
                # The status has gone out: the message follows the data, the answer stays unended.
                failed = True
                text = error.message.encode()
                mark = tag.encode()
                yield b"\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n" % (mark, text, len(text), mark)

        for piece in self._packed(asked, guarded()):
            if piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if failed:
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    @staticmethod
    def _packed(asked: request.Request, pieces: Iterator[bytes]) -> Iterator[bytes]:
        if asked.answer_blocks:
            pieces = compression.pack_blocks(pieces)
        return compression.pack(pieces, asked.answer_encoding) if asked.answer_encoding else pieces

    def _send_error(self, error: Exception) -> None:
        code = getattr(error, "code", None)
        text = str(error)
        if code is None:
            code = 516 if isinstance(error, AccessError) else 62 if text.startswith("Code: 62") else 1001
        if not text.startswith("Code: "):
            text = f"Code: {code}. DB::Exception: {text}"
        status = _STATUS.get(code, 400 if isinstance(error, ValueError) else 500)
        self._send(
            status, text.encode() + b"\n", "text/plain; charset=UTF-8", {"X-ClickHouse-Exception-Code": str(code)}
        )

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def serve(
    path: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8123,
    memory_mb: int = 1500,
    users: Path | None = None,
    backups: Path | None = None,
    tls: ssl.SSLContext | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT; lets running statements end. The exit status."""
    try:
        engine = Engine(path, memory_mb=memory_mb, backups=backups)
        server = ClickHouseServer((host, port), engine, Users(users), tls=tls)
    except (EngineError, OSError, ValueError) as error:
        log.error("cannot serve %s on %s:%d: %s", path, host, port, error)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    signal.signal(signal.SIGINT, lambda *_: threading.Thread(target=server.shutdown).start())
    log.info("ClickHouse %s on http://%s:%d, data in %s", server.version, host, port, path)
    server.serve_forever(poll_interval=0.1)
    server.socket.close()
    if not server.drain(10.0):
        log.warning("statements still ran after 10 s; their results are lost, stored blocks are whole")
    engine.close()
    log.info("stopped")
    return 0


def main() -> None:
    """Entry of `python -m fieldstream_central.store.embedded`."""
    parser = argparse.ArgumentParser(prog="fieldstream store serve", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="data directory")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--memory-mb", type=int, default=1500, help="bound for all queries, merges and caches together")
    parser.add_argument("--users", type=Path, help="TOML file of users; without it: default, no password")
    parser.add_argument("--backups", type=Path, help="folder of backups; default: beside the data")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    sys.exit(serve(**vars(args)))
