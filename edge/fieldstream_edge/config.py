"""The gateway's settings: one TOML file, one tree of dataclasses. The reference page is generated from them."""

import dataclasses
import difflib
import hashlib
import json
import re
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Problem:
    """Something wrong in a configuration: where, what, and what to do."""

    file: str
    line: int
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}. {self.remedy}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` names everything that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def setting(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    extremes: str = "",
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """A documented setting; `extremes` says what goes wrong when it is set too low or too high."""
    metadata = {
        "doc": doc,
        "unit": unit,
        "low": low,
        "high": high,
        "extremes": extremes,
        "choices": choices,
        "secret": secret,
    }
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TlsSettings:
    """`[mqtt.tls]`: without it the connection to the broker is not encrypted."""

    ca_file: str = setting(
        "", "Certificates of the authorities that the broker's certificate must come from (PEM); empty: the system's."
    )
    cert_file: str = setting("", "The gateway's own certificate chain (PEM), for mutual TLS.")
    key_file: str = setting("", "Private key of `cert_file` (PEM).")
    server_name: str = setting("", "Name expected in the broker's certificate; empty: the host of `url`.")


@dataclass(frozen=True)
class MqttSettings:
    """`[mqtt]`, or several `[[mqtt]]` for several brokers at once."""

    url: str = setting("mqtt://127.0.0.1:1883", "Broker: mqtt://HOST:PORT or mqtts://HOST:PORT.")
    client_id: str = setting(
        "",
        "Client identifier: names the session in which the broker keeps messages while the gateway is away. Empty: `fieldstream-` and gateway_id.",
    )
    subscriptions: list[str] = setting(
        ["sensors/#"], "Topic filters. `$share/GROUP/FILTER` shares the load among gateways."
    )
    protocol: str = setting("5", "MQTT version of the broker.", choices=("5", "3.1.1"))
    username: str = setting("", "User name; empty: none.")
    password: str = setting("", "Password; better in `password_file`.", secret=True)
    password_file: str = setting("", "File whose first line is the password.")
    keep_alive_s: int = setting(
        30,
        "Interval in which the connection proves to be alive.",
        unit="s",
        low=5,
        high=3600,
        extremes="Low: needless traffic. High: a dead connection is noticed late.",
    )
    session_expiry_s: int = setting(
        4294967295,
        "How long the broker keeps the session (and messages) of a gateway that is away; the default is for ever.",
        unit="s",
        low=0,
        high=4294967295,
        extremes="Low: messages sent during an outage are lost.",
    )
    receive_maximum: int = setting(
        20000,
        "Messages that the broker may have in flight.",
        low=1,
        high=65535,
        extremes="Low: slow with many small messages. High: more messages come again after a crash (they are recognised).",
    )
    tls: TlsSettings | None = field(default=None, metadata={"doc": "TLS files; implied by mqtts://."})


@dataclass(frozen=True)
class KafkaSettings:
    """`[kafka]`: where readings go."""

    bootstrap: str = setting("127.0.0.1:9092", "Brokers, HOST:PORT, separated by commas.")
    linger_ms: float = setting(
        5.0,
        "How long the producer waits to fill a batch.",
        unit="ms",
        low=0,
        high=1000,
        extremes="Low: more CPU and bandwidth. High: readings arrive later.",
    )
    compression: str = setting("lz4", "Compression on the wire.", choices=("none", "lz4", "zstd", "gzip", "snappy"))
    bytes_per_s: int = setting(
        0,
        "Limit of the uplink's bandwidth, before compression; 0: none.",
        unit="bytes/s",
        low=0,
        extremes="Below the intake's rate the spool fills.",
    )
    properties: dict[str, str] = setting(
        {}, "Further librdkafka properties, e.g. security.protocol, ssl.ca.location, sasl.username."
    )


@dataclass(frozen=True)
class RegistrySettings:
    """`[registry]`: the schema registry; needed once, then schemas come from disk."""

    urls: list[str] = setting(
        ["http://127.0.0.1:8085/apis/ccompat/v7"], "Confluent-compatible registries, tried in order."
    )
    cache_dir: str = setting("", "Where schemas are kept; empty: STATE_DIR/schemas.")


@dataclass(frozen=True)
class HttpSettings:
    """`[http]`: health, metrics and status page. Without authentication: keep it on loopback."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(9108, "Port; 0: any free one.", low=0, high=65535)


@dataclass(frozen=True)
class SpoolSettings:
    """`[spool]`: the buffer on disk."""

    max_bytes: int = setting(
        2 * 1024**3,
        "Disk space for the spool, delivered entries that are kept for recognising redeliveries included.",
        unit="bytes",
        low=1 << 20,
        extremes="Low: short outages fill it. High: must fit the disk.",
    )
    max_age_s: float = setting(
        0.0,
        "Undelivered entries older than this are dropped, counted and logged; 0: never.",
        unit="s",
        low=0,
        extremes="Low: data is lost in an outage of that length, or when a clock without battery is set after the start.",
    )
    when_full: str = setting(
        "refuse-new",
        "refuse-new: no more PUBACKs, the broker keeps messages. drop-oldest: the oldest entries are lost, counted.",
        choices=("refuse-new", "drop-oldest"),
    )
    segment_bytes: int = setting(
        4 * 1024**2,
        "Size of one file of the spool.",
        unit="bytes",
        low=1 << 16,
        high=1 << 30,
        extremes="Low: many files. High: more memory when redeliveries are looked up.",
    )
    commit_interval_ms: float = setting(
        5.0,
        "How long accepted entries may wait for the sync that precedes PUBACK.",
        unit="ms",
        low=0,
        high=1000,
        extremes="Low: a sync per message, worn flash. High: PUBACKs come later.",
    )
    identity_window_s: float = setting(
        3600.0,
        "How long delivered entries are kept so that the same reading sent again is recognised.",
        unit="s",
        low=900,
        extremes="High: more disk. They go earlier when they fill half of max_bytes.",
    )


@dataclass(frozen=True)
class IntakeSettings:
    """`[intake]`: what is accepted."""

    max_payload_bytes: int = setting(
        1 << 20,
        "A larger message becomes a dead letter of its first 64 KiB.",
        unit="bytes",
        low=1024,
        high=64 << 20,
        extremes="High: more memory.",
    )
    future_tolerance_s: float = setting(
        60.0,
        "An event time further ahead of the gateway's clock is replaced by the receive time and flagged.",
        unit="s",
        low=0,
        high=3000,
        extremes="High: a device clock that runs ahead delays alarms of all. Beyond 3600 Kafka refuses the record.",
    )


@dataclass(frozen=True)
class GatewaySettings:
    """The whole file."""

    gateway_id: str = setting("", "Name of this gateway, unique in the plant; letters, digits, `.`, `_`, `-`.")
    state_dir: str = setting("", "Directory for spool and schemas; must survive restarts.")
    heartbeat_s: float = setting(
        10.0,
        "Interval of the heartbeat on topic `gateways`.",
        unit="s",
        low=0.5,
        high=600,
        extremes="High: the centre notices a dead gateway late.",
    )
    mqtt: tuple[MqttSettings, ...] = field(default=(MqttSettings(),), metadata={"doc": "Brokers."})
    kafka: KafkaSettings = field(default_factory=KafkaSettings, metadata={"doc": "Uplink."})
    registry: RegistrySettings = field(default_factory=RegistrySettings, metadata={"doc": "Schema registry."})
    http: HttpSettings = field(default_factory=HttpSettings, metadata={"doc": "Health."})
    spool: SpoolSettings = field(default_factory=SpoolSettings, metadata={"doc": "Spool."})
    intake: IntakeSettings = field(default_factory=IntakeSettings, metadata={"doc": "Intake."})

    @property
    def spool_dir(self) -> Path:
        """Directory of the spool."""
        return Path(self.state_dir) / "spool"

    @property
    def schema_dir(self) -> Path:
        """Directory of the schema cache."""
        return Path(self.registry.cache_dir) if self.registry.cache_dir else Path(self.state_dir) / "schemas"

    def client_id(self, broker: int = 0) -> str:
        """MQTT client identifier for one of the brokers."""
        return self.mqtt[broker].client_id or f"fieldstream-{self.gateway_id}"

    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the effective settings, secrets excluded."""
        text = json.dumps(public(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_SECRET_PROPERTY = re.compile(r"password|secret|token|ssl\.key\.pem|jaas", re.IGNORECASE)


def public(settings: Any) -> dict[str, Any]:
    """The settings as plain values, secrets replaced by `***`."""
    shown: dict[str, Any] = {}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if dataclasses.is_dataclass(value):
            shown[item.name] = public(value)
        elif isinstance(value, tuple):
            shown[item.name] = [public(each) for each in value]
        elif item.metadata.get("secret") and value:
            shown[item.name] = "***"
        elif isinstance(value, dict):
            shown[item.name] = {key: "***" if _SECRET_PROPERTY.search(key) else val for key, val in value.items()}
        elif value is not None:
            shown[item.name] = value
    return shown


def load(path: Path) -> GatewaySettings:
    """Settings from the file. Raises ConfigError naming every problem."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(
            [Problem(str(path), 0, f"cannot be read: {error.strerror}", "Give an existing file")]
        ) from error
    return parse(text, str(path))


def parse(text: str, file: str = "gateway.toml") -> GatewaySettings:
    """Settings from TOML text. Raises ConfigError naming every problem."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else 0
        raise ConfigError([Problem(file, line, f"not valid TOML: {error}", "Correct the line")]) from error
    loader = _Loader(file, text)
    settings: GatewaySettings = loader.table(GatewaySettings, data, ())
    loader.check_whole(settings)
    if loader.problems:
        raise ConfigError(loader.problems)
    return settings


class _Loader:
    def __init__(self, file: str, text: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._lines = text.splitlines()

    def table(self, kind: type, data: dict[str, Any], path: tuple[str, ...]) -> Any:
        """An instance of the dataclass from a TOML table; what is wrong is noted and its default stands in."""
        hints = typing.get_type_hints(kind)
        known = {item.name: item for item in dataclasses.fields(kind)}
        values = {}
        for key, value in data.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, 1, 0.6)
                remedy = f"Did you mean `{near[0]}`?" if near else f"Known here: {', '.join(known)}"
                self.problem((*path, key), "unknown setting", remedy)
                continue
            loaded = self._value(hints[key], known[key].metadata, value, (*path, key))
            if loaded is not _BAD:
                values[key] = loaded
        return kind(**values)

    def problem(self, path: tuple[str, ...], text: str, remedy: str) -> None:
        self.problems.append(Problem(self._file, self._line_of(path), f"`{'.'.join(path)}`: {text}", remedy))

    def _value(self, hint: Any, metadata: Any, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(hint, types.UnionType):
            hint = next(option for option in typing.get_args(hint) if option is not type(None))
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                return self._bad(path, f"is {_kind(value)}", f"Write a table [{'.'.join(path)}]")
            return self.table(typing.cast(type, hint), value, path)
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is tuple:
            tables = value if isinstance(value, list) else [value]
            if not all(isinstance(each, dict) for each in tables):
                return self._bad(path, f"is {_kind(value)}", f"Write a table [{'.'.join(path)}]")
            return tuple(self.table(args[0], each, path) for each in tables)
        if origin is list:
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                return self._bad(path, f"is {_kind(value)}", 'Write a list of texts, ["...", "..."]')
            return value
        if origin is dict:
            if not isinstance(value, dict):
                return self._bad(path, f"is {_kind(value)}", "Write a table")
            return {key: _property(each) for key, each in value.items()}
        return self._scalar(hint, metadata, value, path)

    def _scalar(self, hint: Any, metadata: Any, value: Any, path: tuple[str, ...]) -> Any:
        if hint is float and type(value) is int:
            value = float(value)
        if type(value) is not hint:
            return self._bad(path, f"is {_kind(value)}", f"Write {_KINDS[hint]}")
        low, high = metadata.get("low"), metadata.get("high")
        if (low is not None and value < low) or (high is not None and value > high):
            limits = f"from {low} to {high}" if high is not None else f"at least {low}"
            return self._bad(path, f"{value} is out of range", f"Allowed: {limits} {metadata['unit']}".rstrip())
        choices = metadata.get("choices")
        if choices and value not in choices:
            return self._bad(path, f'"{value}" is not known', f"One of: {', '.join(choices)}")
        return value

    def _bad(self, path: tuple[str, ...], text: str, remedy: str) -> Any:
        self.problem(path, text, remedy)
        return _BAD

    def _line_of(self, path: tuple[str, ...]) -> int:
        """Line of the key: the first `key =` (or header) at or after the header of its table."""
        start = 0
        for depth in range(len(path) - 1, 0, -1):
            header = re.compile(r"^\s*\[+\s*" + r"\s*\.\s*".join(map(re.escape, path[:depth])) + r"\s*\]+")
            start = next((number for number, line in enumerate(self._lines) if header.match(line)), -1)
            if start >= 0:
                break
        key = re.compile(rf'^\s*(\[+[\w\s."]*)?"?{re.escape(path[-1])}"?\s*[]=.]')
        for number in range(max(start, 0), len(self._lines)):
            if key.match(self._lines[number]):
                return number + 1
        return max(start, 0) + 1

    def check_whole(self, settings: GatewaySettings) -> None:
        """What concerns more than one setting, or a text's form."""
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", settings.gateway_id):
            self.problem(("gateway_id",), "missing or not a name", 'Write e.g. gateway_id = "hall-3"')
        if not settings.state_dir:
            self.problem(("state_dir",), "missing", 'Write e.g. state_dir = "/var/lib/fieldstream"')
        if settings.spool.max_bytes < 4 * settings.spool.segment_bytes:
            self.problem(("spool", "max_bytes"), "smaller than four segments", "Raise it, or lower spool.segment_bytes")
        ids = set()
        for number, broker in enumerate(settings.mqtt):
            if not re.fullmatch(r"mqtts?://(\[[0-9a-fA-F:]+\]|[^\s:/@]+)(:\d{1,5})?/?", broker.url):
                self.problem(
                    ("mqtt", "url"),
                    f'"{broker.url}" is no broker address',
                    "Write mqtt://HOST:PORT or mqtts://HOST:PORT",
                )
            if not broker.subscriptions:
                self.problem(("mqtt", "subscriptions"), "empty", 'Write e.g. ["sensors/#"]')
            if broker.tls and bool(broker.tls.cert_file) != bool(broker.tls.key_file):
                self.problem(
                    ("mqtt", "tls", "cert_file"), "certificate and key belong together", "Give both or neither"
                )
            ids.add((broker.url, settings.client_id(number)))
        if len(ids) < len(settings.mqtt):
            self.problem(("mqtt",), "one broker twice with one client_id", "Give each its own client_id")


_BAD = object()
_KINDS = {str: 'a text, "..."', int: "a whole number", float: "a number", bool: "true or false"}


def _kind(value: Any) -> str:
    names = {
        str: "a text",
        bool: "a truth value",
        int: "a whole number",
        float: "a number",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), type(value).__name__)


def _property(value: Any) -> str:
    """librdkafka takes texts; TOML's true and false are spelt its way."""
    return str(value).lower() if isinstance(value, bool) else str(value)
