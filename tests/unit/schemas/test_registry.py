"""The registry client keeps what it learned on disk, fails over, and tells an outage from a refusal.

The registry here is a stand-in that answers from memory; the real one is in tests/end_to_end.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from fieldstream_schemas.registry import (
    RegistryUnreachableError,
    SchemaIncompatibleError,
    SchemaRegistry,
    SchemaUnknownError,
    frame_header,
    schema_id_of,
)
from fieldstream_schemas.topics import READINGS_RAW, TOPICS

DEAD = "http://127.0.0.1:9"


class StandInRegistry(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, object]]] = {}

    def do_POST(self) -> None:
        self._answer()

    do_GET = do_POST  # noqa: N815
    do_PUT = do_POST  # noqa: N815

    def _answer(self) -> None:
        status, body = self.answers.get(f"{self.command} {self.path}") or self.answers[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


class LateRegistry(StandInRegistry):
    """Another instance, which has not heard of anything yet."""

    def _answer(self) -> None:
        self.send_response(404)
        self.end_headers()


@contextmanager
def serving(handler: type[StandInRegistry]) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def url() -> Iterator[str]:
    with serving(StandInRegistry) as url:
        yield url


def test_what_was_resolved_once_needs_no_registry_again(url: str, tmp_path: Path) -> None:
    StandInRegistry.answers = {"/subjects/readings.raw-value": (200, {"id": 7})}
    assert SchemaRegistry([DEAD, url], tmp_path).id_of(READINGS_RAW) == 7
    offline = SchemaRegistry([DEAD], tmp_path)
    assert offline.id_of(READINGS_RAW) == 7
    assert offline.schema_text(7) == READINGS_RAW.schema_text
    assert offline.holds([READINGS_RAW])
    assert not offline.holds(TOPICS.values())


def test_a_rule_that_was_made_a_moment_ago_is_accepted_and_another_one_is_not(url: str, tmp_path: Path) -> None:
    StandInRegistry.answers = {
        "PUT /config": (409, {"message": "A rule named 'COMPATIBILITY' already exists."}),
        "GET /config": (200, {"compatibilityLevel": "FULL"}),
    }
    SchemaRegistry([url], tmp_path).require_compatibility("FULL")
    with pytest.raises(SchemaIncompatibleError):
        SchemaRegistry([url], tmp_path).require_compatibility("BACKWARD")


def test_an_outage_is_not_called_an_unknown_schema(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnreachableError, match="no schema registry answered"):
        SchemaRegistry([DEAD], tmp_path).schema_text(1)


def test_an_unknown_schema_is_not_called_an_outage(url: str, tmp_path: Path) -> None:
    StandInRegistry.answers = {"/schemas/ids/99": (404, {"error_code": 40403})}
    with pytest.raises(SchemaUnknownError):
        SchemaRegistry([url], tmp_path).schema_text(99)


def test_a_schema_is_unknown_only_when_no_instance_knows_it(url: str, tmp_path: Path) -> None:
    StandInRegistry.answers = {"/schemas/ids/7": (200, {"schema": '"string"'}), "/schemas/ids/99": (404, {})}
    with serving(LateRegistry) as late:
        registry = SchemaRegistry([late, url, DEAD], tmp_path)
        assert registry.schema_text(7) == '"string"'
        with pytest.raises(SchemaUnknownError):
            registry.schema_text(99)


def test_a_refused_schema_says_why(url: str, tmp_path: Path) -> None:
    StandInRegistry.answers = {"/subjects/readings.raw-value/versions": (409, {"message": "type changed"})}
    with pytest.raises(SchemaIncompatibleError, match="type changed"):
        SchemaRegistry([url], tmp_path).register(READINGS_RAW)


def test_the_frame_carries_the_schema_id() -> None:
    assert schema_id_of(frame_header(0x01020304) + b"x") == 0x01020304
    with pytest.raises(ValueError, match="wire format"):
        schema_id_of(b"\x01\x00\x00\x00\x01x")
