"""A reading's way as an OpenTelemetry collector receives it, over OTLP's own wire format."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from end_to_end.conftest import Stack
from end_to_end.test_contract import eventually, publish, value


@contextmanager
def collector() -> Iterator[tuple[str, list[list[Span]]]]:
    """A collector's address, and the spans of each request that it took."""
    received: list[list[Span]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            received.append([s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces", received
    server.shutdown()


def test_a_reading_is_one_trace_with_a_span_for_each_hop(stack: Stack) -> None:
    ts = time.time_ns() // 1_000_000
    publish(stack, "sensors/exported/level", [json.dumps({"ts": ts, "value": 21.5})])
    eventually(lambda: value(stack, "count()", "exported") == 1)
    with collector() as (url, received):
        done = stack.run("fieldstream", "trace", "exported", "level", str(ts), "--otlp", url)
    assert done.returncode == 0, done.stderr
    [spans] = received
    [whole] = [span for span in spans if not span.parent_span_id]
    hops = [span for span in spans if span.parent_span_id == whole.span_id]
    assert {span.name for span in hops} >= {"readings.raw", "readings.clean", "ClickHouse"}
    assert len(hops) == len(spans) - 1 and len({span.trace_id for span in spans}) == 1
    assert whole.name == "reading exported/level" and whole.start_time_unix_nano == ts * 1_000_000
    ends = [ts * 1_000_000, *(span.end_time_unix_nano for span in hops)]
    assert [span.start_time_unix_nano for span in hops] == ends[:-1]


def test_a_collector_that_is_away_is_named(stack: Stack) -> None:
    done = stack.run("fieldstream", "trace", "exported", "level", "1", "--otlp", "http://127.0.0.1:9/v1/traces")
    assert done.returncode == 1 and "http://127.0.0.1:9/v1/traces does not take traces" in done.stderr
