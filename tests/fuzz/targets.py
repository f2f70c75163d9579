"""Every place where bytes from outside become values, with inputs that are good there."""

import asyncio
import base64
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import cbor2
import fastavro
import mqtt5
from fastapi import FastAPI
from fieldstream_central.alarms.log import AlarmLog
from fieldstream_central.serve.api.app import create_app
from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.api.params import Place, decode_cursor, encode_cursor, parse_time
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.settings import Settings, SettingsError, load_settings
from fieldstream_central.store.embedded.compression import BodyError, pack, pack_blocks, unpack, unpack_blocks
from fieldstream_edge.config import ConfigError, parse
from fieldstream_edge.event_time import judge
from fieldstream_edge.intake.packets import PacketBuffer, ProtocolError
from fieldstream_edge.payloads import senml
from fieldstream_edge.payloads.decoded import PayloadError
from fieldstream_edge.payloads.json import decode_device, decode_metric
from fieldstream_edge.payloads.mapping import Mapping
from fieldstream_edge.payloads.sparkplug import Sparkplug
from fieldstream_edge.payloads.sparkplug_schema import Payload
from fieldstream_edge.settings import MappingSettings
from fieldstream_schemas.framed import RecordReader
from fieldstream_schemas.registry import RegistryError, SchemaRegistry, frame_header
from fieldstream_schemas.topics import TOPICS, Topic, parsed_schema
from fuzz.engine import Target

NOW = 1_795_517_640_000
UNREADABLE = (ValueError, EOFError, IndexError, KeyError, RegistryError)  # as RecordReader.read says
JSON_SEEDS = (
    b"21.5", b'{"ts": 1795517640000, "value": 21.5, "unit": "Cel", "quality": "good", "operator": "Ada"}',
    b'[{"ts": "2026-11-25T10:00:00Z", "value": 1}, {"ts": 1, "value": -2.5e3}]', b"[]", b'{"value": null}',
    b'{"ts": 1795517640000, "metrics": {"temperature": 21.5, "pressure": 3}, "operator": "Ada"}',
    b'[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},'
    b'{"n":"current","t":-5,"v":1.2}]', b'{"meta":{"id":"d"},"name":"m","data":[{"v":"1"},{"v":2}],"t":17}',
)  # fmt: skip
_PACKS: tuple[Any, ...] = (
    [{-2: "d:", 0: "m", 2: 1.5, 6: -5}],
    [{-3: 1.2e9, 0: "d/m", 4: True}, {0: "x", 2: 1, -5: cbor2.CBORTag(5, [99_999_999, 3])}],
    [
        {0: "x", 2: cbor2.CBORTag(4, [-2, 27315])},
        {0: "y", 2: cbor2.CBORTag(30, [1, 3])},
        {0: cbor2.CBORTag(35, "(a+)+$")},
    ],
    cbor2.CBORTag(28, [cbor2.CBORTag(29, 0), {0: "z", 2: cbor2.CBORTag(258, [1])}]),
    [{0: cbor2.CBORTag(0, "2026-11-25T10:00:00Z"), 2: cbor2.CBORTag(2, b"\xff" * 30), b"k": {b"k": 1}}],
)
CBOR_SEEDS = tuple(map(cbor2.dumps, _PACKS))
TOML_SEEDS = (
    b'gateway_id = "g"\nstate_dir = "/tmp/x"\n[mqtt]\nurl = "mqtts://h:8883"\n[mqtt.tls]\nca_file = "a"\n'
    b'[[mapping]]\ntopic = "plant/{device}/{metric}"\nfields = {a = "b.c"}\n[spool]\nmax_bytes = 1073741824\n',
    b'site = "x"\nregistry = ["http://a"]\n[retention_days]\nreadings = 400\n[oidc]\nissuer = "i"\nclient_id = "c"\n'
    b'roles = {a = "viewer"}\n',
)  # fmt: skip


def targets() -> Iterator[Target]:
    """All of them."""
    yield Target("json-metric", _items(decode_metric), (PayloadError,), JSON_SEEDS)
    yield Target("json-device", _items(decode_device), (PayloadError,), JSON_SEEDS)
    yield Target("senml-json", lambda data: senml.decode_json(data, "", NOW), (PayloadError,), JSON_SEEDS)
    yield Target("senml-cbor", lambda data: senml.decode_cbor(data, "d", NOW), (PayloadError,), CBOR_SEEDS)
    yield Target("sparkplug", _sparkplug(), (PayloadError,), _births())
    paths = MappingSettings(
        topic="#", device_field="meta.id", metric_field="name", value_field="data.0.v", ts_field="t"
    )
    mapping = Mapping(paths)
    yield Target("mapping", lambda data: mapping.decode(data, "", "", NOW), (PayloadError,), JSON_SEEDS)
    yield Target("mqtt", _mqtt, (ProtocolError,), _packets())
    yield from _avro()
    settings = TOML_SEEDS
    yield Target(
        "gateway-settings", lambda data: parse(data.decode(errors="replace")), (ConfigError,), settings, cost=8
    )
    yield Target("centre-settings", _centre_settings, (SettingsError,), settings, cost=8)
    times = (b"2026-05-01T12:00:00Z", b"1795517640000")
    yield Target("time", lambda data: parse_time(data.decode(errors="replace"), "from"), (ApiError,), times)
    yield Target(
        "cursor", lambda data: decode_cursor("q", data.decode(errors="replace")[:2000], 2), (ApiError,), _cursors()
    )
    yield Target("body", _body, (BodyError,), _bodies(), cost=4)
    app = _app()
    yield Target("http", _http(app), (), _questions(app), cost=40)


def _items(decode: Callable[[bytes], Any]) -> Callable[[bytes], object]:
    """A decoder of the gateway, and what follows it: the judgement of each time."""

    def call(data: bytes) -> None:
        decoded = decode(data)
        items = decoded if isinstance(decoded, list) else [*decoded.items, *(named.item for named in decoded.named)]
        for item in items:
            judge(item.ts, NOW + 60_000)

    return call


def _sparkplug() -> Callable[[bytes], object]:
    decoder = Sparkplug()
    kinds = ("NBIRTH/n", "NDATA/n", "DBIRTH/n/d", "DDATA/n/d", "NDEATH/n", "DDEATH/n/d")

    def call(data: bytes) -> None:
        decoder.decode(f"spBv1.0/g/{kinds[len(data) % len(kinds)]}", data)
        decoder.rebirths.clear()

    return call


def _births() -> tuple[bytes, ...]:
    payload = Payload()
    payload.timestamp, payload.seq = NOW, 0
    metric = payload.metrics.add()
    metric.name, metric.alias, metric.datatype, metric.timestamp, metric.double_value = "temperature", 1, 10, NOW, 21.5
    birth = payload.SerializeToString()
    payload.seq = 1
    payload.metrics[0].ClearField("name")
    return birth, payload.SerializeToString(), b""


def _mqtt(data: bytes) -> None:
    buffer = PacketBuffer(1 << 18, 1 << 16)
    for start in range(0, len(data), 1 << 16):
        part = data[start : start + (1 << 16)]
        buffer.space()[: len(part)] = part
        buffer.filled(len(part))
        for _ in buffer.packets():
            pass


def _packets() -> tuple[bytes, ...]:
    packet = mqtt5.PublishPacket("sensors/d/m", payload=b"21.5", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=7).write()
    return packet, packet * 3, b"\x20\x03\x00\x00\x00", b"\xd0\x00"


def _avro() -> Iterator[Target]:
    folder = Path(tempfile.mkdtemp(prefix="fieldstream-fuzz-"))
    for number, topic in enumerate(TOPICS.values(), 1):
        (folder / f"{number}.avsc").write_text(topic.schema_text)
        reader = RecordReader(SchemaRegistry([], folder), topic)
        seed = frame_header(number) + _record(topic)
        yield Target(f"avro-{topic.name}", reader.read, UNREADABLE, (seed, seed[:-3]))


def _record(topic: Topic) -> bytes:
    simple = {"string": "a", "long": 5, "int": 1, "double": 1.5, "boolean": True, "bytes": b"x", "float": 1.0}
    row: dict[str, Any] = {}
    for item in json.loads(topic.schema_text)["fields"]:
        kind = item["type"][-1] if isinstance(item["type"], list) else item["type"]
        kind = kind["type"] if isinstance(kind, dict) and kind["type"] in simple else kind
        if isinstance(kind, str):
            row[item["name"]] = simple[kind]
        elif "default" not in item:
            row[item["name"]] = []
    out = BytesIO()
    fastavro.schemaless_writer(out, parsed_schema(topic), row)
    return out.getvalue()


def _centre_settings(data: bytes) -> None:
    path = Path(tempfile.gettempdir()) / f"fieldstream-fuzz-{os.getpid()}.toml"
    path.write_bytes(data)
    load_settings(path)


def _cursors() -> list[bytes]:
    texts = ('["x", 1e300, null, "a", 1]', '["x", null, null, [], {}]', "[" * 900, '["x", "y", true]', "{}")
    packed = [base64.urlsafe_b64encode(text.encode()).rstrip(b"=") for text in texts]
    return [encode_cursor("q", Place(None, None, ["a", 1])).encode(), *packed]


def _body(data: bytes) -> None:
    encoding = ("zstd", "lz4", "gzip", "deflate", "blocks")[len(data) % 5]
    pieces = unpack_blocks([data]) if encoding == "blocks" else unpack([data], encoding)
    for _ in pieces:
        pass


def _bodies() -> list[bytes]:
    text = b"SELECT 1\n" * 50
    packed = [b"".join(pack([text], encoding)) for encoding in ("zstd", "lz4", "gzip", "deflate")]
    return [*packed, b"".join(pack_blocks([text]))]


def _app() -> FastAPI:
    """The API; its store, Kafka and registry are away, so what fails is the handling of the question."""
    away = "127.0.0.1:9"
    app = create_app(Settings(clickhouse=f"http://{away}", kafka=away, registry=()))
    app.state.store, app.state.alarms = StoreReader(f"http://{away}"), AlarmLog(app.state.settings)
    app.state.audit_lock, app.state.audit_rows, app.state.live_callers = asyncio.Lock(), [], 0
    app.state.audited_at, app.state.comparisons, app.state.trial = float("-inf"), {}, None
    return app


def _questions(app: FastAPI) -> list[bytes]:
    """Every path that is asked with GET, with every parameter it knows."""
    values = {"from": "2026-05-01T00:00:00Z", "to": "1795517640000", "limit": "5", "cursor": "WyJ4Il0"}
    found = []
    for path, methods in app.openapi()["paths"].items():
        if "get" in methods and not path.endswith("/maintenance"):  # which waits seconds for a Kafka that is away
            names = [one["name"] for one in methods["get"].get("parameters", ()) if one["in"] == "query"]
            query = "&".join(f"{name}={values.get(name, 'x')}" for name in names)
            found.append(f"{re.sub('{.*?}', 'x', path)}?{query}".encode())
    return found


def _http(app: FastAPI) -> Callable[[bytes], object]:
    """GET with any path and query."""
    loop = asyncio.new_event_loop()

    async def ask(data: bytes) -> int:
        path, _, query = data.partition(b"?")
        scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "headers": []},
            **{"scheme": "http", "path": path.decode(errors="replace"), "raw_path": quote_from_bytes(path).encode()},
            **{"query_string": query, "root_path": "", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)},
        }
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)

        await app(scope, receive, send)
        return status

    def call(data: bytes) -> None:
        status = loop.run_until_complete(ask(data))
        if status >= 500 and status != 503:
            raise AssertionError(f"HTTP {status}")

    return call
