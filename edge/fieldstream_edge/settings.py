"""The gateway's settings as one tree of dataclasses. Every setting documents itself; `config.py` reads them."""

# ruff: noqa: RUF009 - `setting` is a dataclass field with documentation

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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

    ca_file: str = setting("", "Authorities that may sign the broker's certificate (PEM); empty: the system's.")
    cert_file: str = setting("", "The gateway's own certificate chain (PEM), for mutual TLS.")
    key_file: str = setting("", "Private key of `cert_file` (PEM).")
    server_name: str = setting("", "Name expected in the broker's certificate; empty: the host of `url`.")


@dataclass(frozen=True)
class MqttSettings:
    """`[mqtt]`, or several `[[mqtt]]` for several brokers at once."""

    url: str = setting("mqtt://127.0.0.1:1883", "Broker: mqtt://HOST:PORT or mqtts://HOST:PORT.")
    client_id: str = setting(
        "",
        "Names the session in which the broker keeps messages for us. Empty: `fieldstream-` and gateway_id.",
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
        extremes="Low: slow with many small messages. High: more messages come again after a crash.",
    )
    broker_time_property: str = setting(
        "",
        "MQTT 5 user property in which the broker states when it took a message in (ms or ISO 8601), e.g. `timestamp`. "
        "It then stands in for a missing or unusable event time, instead of the receive time. Empty: none.",
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
        "Disk space for the spool, delivered entries kept for recognising redeliveries included.",
        unit="bytes",
        low=1 << 20,
        extremes="Low: short outages fill it. High: must fit the disk.",
    )
    max_age_s: float = setting(
        0.0,
        "Undelivered entries older than this are dropped, counted and logged; 0: never.",
        unit="s",
        low=0,
        extremes="Low: data is lost in an outage of that length, or when a clock is set after the start.",
    )
    when_full: str = setting(
        "refuse-new",
        "refuse-new: no more PUBACKs, the broker keeps messages. drop-oldest: the oldest entries are lost, counted.",
        choices=("refuse-new", "drop-oldest"),
    )
    segment_bytes: int = setting(
        2 * 1024**2,
        "Size of one file of the spool.",
        unit="bytes",
        low=1 << 16,
        high=1 << 30,
        extremes="Low: many files. High: more memory, since what is in the newest file is also known there.",
    )
    key_file: str = setting(
        "",
        "Encrypts the spool on disk: file with keys, base64 of 32 random bytes, one a line. The first encrypts, all "
        "decrypt. Empty: no encryption. Read at the start.",
        extremes="A lost key loses what is not delivered.",
    )
    commit_interval_ms: float = setting(
        8.0,
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
    device_messages_per_s: float = setting(
        0.0,
        "Messages that one device may send each second for long; ten seconds' worth may come at once. What is beyond "
        "is acknowledged, counted and lost, one dead letter a minute says how much. 0: no limit.",
        unit="1/s",
        low=0,
        extremes="Low: a device that sends what it kept through an outage loses most of it.",
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
class MappingSettings:
    """`[[mapping]]`: a foreign topic layout or payload. The first that fits a topic counts."""

    topic: str = setting("", "Topic pattern: `{device}`, `{metric}`, `+` for one level, `#` for the rest.")
    format: str = setting(
        "json",
        "json: fields by the paths below; contract: the payload forms of `sensors/#`.",
        choices=("json", "contract", "senml-json", "senml-cbor"),
    )
    device: str = setting("", "Device, when the topic names none.")
    metric: str = setting("", "Metric, when the topic names none.")
    device_field: str = setting("", "Path of the device in the payload, e.g. `meta.id`.")
    metric_field: str = setting("", "Path of the metric in the payload.")
    value_field: str = setting("value", "Path of the value; empty: the whole payload is the number.")
    fields: dict[str, str] = setting({}, "Metric = path, for payloads with several values.")
    ts_field: str = setting("ts", "Path of the event time; empty: none.")
    ts_unit: str = setting("ms", "Unit of a numeric event time.", choices=("ms", "s", "us", "ns"))
    unit: str = setting("", "Unit of the values, when the payload states none.")
    unit_field: str = setting("", "Path of the unit.")
    quality_field: str = setting("", "Path of the quality.")
    scale: float = setting(1.0, "Values are multiplied by this, then `offset` is added.")
    offset: float = setting(0.0, "Added to each value.")


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
    letter_public_key_file: str = setting(
        "",
        "Encrypts the original bytes of dead letters for the centre: its X25519 public key (PEM). Empty: they are sent "
        "in plain, with whatever personal they hold. Read at the start.",
    )
    mqtt: tuple[MqttSettings, ...] = field(default=(MqttSettings(),), metadata={"doc": "Brokers."})
    kafka: KafkaSettings = field(default_factory=KafkaSettings, metadata={"doc": "Uplink."})
    registry: RegistrySettings = field(default_factory=RegistrySettings, metadata={"doc": "Schema registry."})
    http: HttpSettings = field(default_factory=HttpSettings, metadata={"doc": "Health."})
    spool: SpoolSettings = field(default_factory=SpoolSettings, metadata={"doc": "Spool."})
    mapping: tuple[MappingSettings, ...] = field(default=(), metadata={"doc": "Foreign layouts."})
    intake: IntakeSettings = field(default_factory=IntakeSettings, metadata={"doc": "Intake."})

    @property
    def spool_dir(self) -> Path:
        """Directory of the spool."""
        return Path(self.state_dir) / "spool"

    @property
    def schema_dir(self) -> Path:
        """Directory of the schema cache."""
        return Path(self.registry.cache_dir) if self.registry.cache_dir else Path(self.state_dir) / "schemas"

    @property
    def tls_files(self) -> list[Path]:
        """Authorities, certificates and keys of its connections."""
        tls = [broker.tls for broker in self.mqtt if broker.tls]
        of_mqtt = [file for one in tls for file in (one.ca_file, one.cert_file, one.key_file)]
        of_kafka = [self.kafka.properties.get(f"ssl.{what}.location", "") for what in ("ca", "certificate", "key")]
        return [Path(file) for file in (*of_mqtt, *of_kafka) if file]

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
