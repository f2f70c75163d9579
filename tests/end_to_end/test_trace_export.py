"""Readings' ways as an OpenTelemetry collector receives them, over OTLP's own wire format: those that somebody asks
for, and those that chance chooses."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from confluent_kafka import Producer
from fieldstream_schemas.topics import READINGS_RAW
from integration.store.rig import free_port
from local.layout import VENV
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from end_to_end.conftest import Stack
from end_to_end.test_contract import eventually, publish, value
from end_to_end.test_doctor import stopped
from end_to_end.test_jobs_watch import shown


@contextmanager
def collector(port: int = 0) -> Iterator[tuple[str, list[list[Span]]]]:
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

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces", received
    server.shutdown()
    server.server_close()


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


class Sender(threading.Thread):
    """A device that sends a reading every 100 ms until it is stopped; `sent` has their times."""

    def __init__(self, stack: Stack, device: str) -> None:
        super().__init__(daemon=True)
        self._stack, self._device = stack, device
        self.ended, self.sent = threading.Event(), set[int]()

    def run(self) -> None:
        """Until `ended`."""
        while not self.ended.wait(1):
            now = time.time_ns() // 1_000_000
            messages = [json.dumps({"ts": now - back, "value": 20.5}) for back in range(900, -1, -100)]
            self.sent |= {now - back for back in range(900, -1, -100)}
            publish(self._stack, f"sensors/{self._device}/level", messages)


@contextmanager
def tracing(stack: Stack, url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`fieldstream tracer` with a device to choose from; it must end by SIGTERM, and well."""
    sender = Sender(stack, "chosen")
    command = [str(VENV / "bin/fieldstream"), "tracer", "--otlp", url, "--every", "1", "--after", "15"]
    with log.open("wb") as out, subprocess.Popen(command, env=stack.environment, stderr=out) as tracer:
        sender.start()
        try:
            yield tracer
        finally:
            sender.ended.set()
            sender.join()
            tracer.terminate()
            assert tracer.wait(60) == 0


def count(stack: Stack, name: str) -> float:
    """A metric of the tracer, of one result where it has some."""
    name, _, result = name.partition("/")
    labels = [("result", result)] if result else []
    return shown(stack.layout.ports["tracer"]).get((f"fieldstream_tracer_{name}_total", str(labels)), 0)


def roots(received: list[list[Span]]) -> list[Span]:
    """Of each trace the span of the whole way."""
    return [span for spans in received for span in spans if not span.parent_span_id]


def test_readings_that_chance_chooses_are_sent_whole_once_their_window_is_over(stack: Stack, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": stack.layout.address("kafka")})
    with collector() as (url, received), tracing(stack, url, tmp_path / "log"):
        while not count(stack, "readings/unreadable"):  # bytes that are no reading are no reason to stop
            for partition in range(READINGS_RAW.partitions):
                for _ in range(20):
                    producer.produce(READINGS_RAW.name, b"not Avro", partition=partition)
            producer.flush(10)
            time.sleep(0.5)
        eventually(lambda: count(stack, "readings/complete") >= 3, within_s=120)
    for spans in received[:3]:
        [whole] = roots([spans])
        assert whole.name == "reading chosen/level" and whole.status.code == Status.STATUS_CODE_UNSET
        assert {span.name for span in spans} >= {"readings.raw", "readings.clean", "ClickHouse", "its window"}
    assert len({span.start_time_unix_nano for span in roots(received)}) > 1
    assert b"stopped" in (tmp_path / "log").read_bytes()


def test_a_reading_that_is_not_stored_in_time_makes_a_trace_with_an_error(stack: Stack, tmp_path: Path) -> None:
    with stopped(stack, "loader"), collector() as (url, received), tracing(stack, url, tmp_path / "log"):
        eventually(lambda: count(stack, "readings/incomplete") >= 1 and bool(received), within_s=120)
        assert count(stack, "readings/complete") == 0
        with stopped(stack, "clickhouse"):  # what is there now cannot be told
            eventually(lambda: count(stack, "readings/failed") >= 1, within_s=120)
        before = len(received)
        eventually(lambda: len(received) > before, within_s=120)
    assert roots(received)[0].status.code == Status.STATUS_CODE_ERROR
    assert "no such reading is stored" in roots(received)[0].status.message
    assert {"readings.raw", "readings.clean"} <= {span.name for span in received[0]}


def test_a_collector_that_is_away_is_told_and_counted_and_tracing_goes_on(stack: Stack, tmp_path: Path) -> None:
    port = free_port()
    with tracing(stack, f"http://127.0.0.1:{port}/v1/traces", tmp_path / "log") as tracer:
        eventually(lambda: count(stack, "unsent") >= 2, within_s=180)
        assert tracer.poll() is None
        with collector(port) as (_, received):
            eventually(lambda: bool(received), within_s=120)
    log = (tmp_path / "log").read_text()
    assert log.count("readings go on being traced, but") == 1
    assert log.count("readings are traced and sent again") == 1
