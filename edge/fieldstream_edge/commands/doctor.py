# ruff: noqa: T201 - commands print
"""`doctor`: tries everything that the gateway depends on; one line each, with a remedy."""

import argparse
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from fieldstream_schemas.registry import RegistryError, SchemaRegistry, SchemaUnknownError
from fieldstream_schemas.topics import DEAD_LETTERS, GATEWAYS, READINGS_RAW

from fieldstream_edge.commands.settings_page import config_option
from fieldstream_edge.commands.status import fetch
from fieldstream_edge.config import ConfigError, load
from fieldstream_edge.intake.probe import probe
from fieldstream_edge.intake.transport import TlsFileError
from fieldstream_edge.settings import GatewaySettings, MqttSettings
from fieldstream_edge.spool.errors import SpoolKeyError
from fieldstream_edge.spool.ledger import load_keys

_SLOW_SYNC_MS = 50.0
_CLOCK_TOLERANCE_S = 2.0
_SOON_S = 14 * 86_400


@dataclass(frozen=True)
class Finding:
    """What one examination found."""

    name: str
    ok: bool
    text: str
    remedy: str = ""


def add(commands: Any) -> None:
    """Declares `doctor`."""
    parser = commands.add_parser("doctor", help="try MQTT, DNS, TLS, Kafka, registry, disk and clock")
    config_option(parser)
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(function=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    findings = list(examine(arguments.config))
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'} {finding.name:14} {finding.text}")
            if finding.remedy:
                print(f"     {'':14} -> {finding.remedy}")
    return 0 if all(finding.ok for finding in findings) else 1


def examine(config: Path) -> Iterator[Finding]:
    """All examinations, in the order in which a reading travels."""
    try:
        settings = load(config)
    except ConfigError as error:
        for problem in error.problems:
            yield Finding("configuration", False, f"{problem.file}:{problem.line}: {problem.text}", problem.remedy)
        return
    yield Finding("configuration", True, f"{config}, settings {settings.digest()}")
    for broker in settings.mqtt:
        yield from _mqtt(broker, settings)
    disk = _disk(settings)
    yield disk
    try:
        load_keys(settings.spool)
    except SpoolKeyError as error:
        yield Finding("spool key", False, str(error), "the gateway does not start without it")
    yield from _kafka(settings)
    if disk.ok:  # without it there is no room to speak of, and no place for schemas
        yield _space(settings)
        yield _registry(settings)
    yield from _gateway(settings)


def _mqtt(broker: MqttSettings, settings: GatewaySettings) -> Iterator[Finding]:
    address = urlsplit(broker.url)
    host = address.hostname or ""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        yield Finding("mqtt dns", False, f"{host}: {error}", "correct mqtt.url, or the name server of this machine")
        return
    yield from _certificate(broker)
    started = time.perf_counter()
    try:
        problem = probe(broker, f"{settings.client_id()}-doctor")
    except ssl.SSLCertVerificationError as error:
        remedy = "give the right authority in mqtt.tls.ca_file; the name in mqtt.url must be in the certificate"
        yield Finding("mqtt tls", False, f"{broker.url}: {error.verify_message}", remedy)
        return
    except TlsFileError as error:
        yield Finding("mqtt tls", False, str(error), "give PEM files that belong together and that this user may read")
        return
    except ssl.SSLError as error:
        remedy = "broker and mqtt.url must agree on TLS; the broker may demand a client certificate (mqtt.tls)"
        yield Finding("mqtt tls", False, f"{broker.url}: {error.reason or error}", remedy)
        return
    except ConnectionRefusedError:
        yield Finding("mqtt", False, f"{broker.url}: nothing listens there", "start the broker, or correct mqtt.url")
        return
    except OSError as error:
        yield Finding("mqtt", False, f"{broker.url}: {error}", "check cable, firewall and mqtt.url")
        return
    took = (time.perf_counter() - started) * 1000
    if problem:
        yield Finding("mqtt", False, f"{broker.url} {problem[0]}", problem[1])
    else:
        yield Finding("mqtt", True, f"{broker.url} answers and grants the subscriptions ({took:.0f} ms)")


def _certificate(broker: MqttSettings) -> Iterator[Finding]:
    if not broker.tls or not broker.tls.cert_file:
        return
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(Path(broker.tls.cert_file).read_bytes())
    except (OSError, ValueError) as error:
        yield Finding(
            "certificate", False, f"{broker.tls.cert_file}: {error}", "give a PEM file that this user may read"
        )
        return
    left = certificate.not_valid_after_utc.timestamp() - time.time()
    expires = f"{broker.tls.cert_file} expires {certificate.not_valid_after_utc:%Y-%m-%d}"
    yield Finding("certificate", left > 0, expires, "renew it" if left < _SOON_S else "")


def _disk(settings: GatewaySettings) -> Finding:
    directory = Path(settings.state_dir)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        trial = directory / f".doctor-{os.getpid()}"
        times = []
        with trial.open("wb") as file:
            for _ in range(20):
                file.write(b"x" * 4096)
                file.flush()
                started = time.perf_counter()
                os.fdatasync(file.fileno())
                times.append((time.perf_counter() - started) * 1000)
        trial.unlink()
    except OSError as error:
        return Finding("disk", False, f"{directory}: {error}", "state_dir must exist, be writable, and have space")
    median = sorted(times)[len(times) // 2]
    slow = median > _SLOW_SYNC_MS
    remedy = "a slow card: raise spool.commit_interval_ms, or use a better one" if slow else ""
    return Finding("disk", not slow, f"{directory}: sync {median:.1f} ms, slowest {max(times):.1f} ms", remedy)


def _space(settings: GatewaySettings) -> Finding:
    status = os.statvfs(settings.state_dir)
    free = status.f_bavail * status.f_frsize
    used = sum(path.stat().st_size for path in settings.spool_dir.glob("*.seg"))
    wanted = settings.spool.max_bytes - used
    text = f"{free / 1e9:.1f} GB free, the spool may take {wanted / 1e9:.1f} GB more"
    return Finding("disk space", free >= wanted, text, "" if free >= wanted else "free space, or lower spool.max_bytes")


def _kafka(settings: GatewaySettings) -> Iterator[Finding]:
    heard: list[str] = []
    kafka = settings.kafka
    try:
        admin = AdminClient(
            {
                "bootstrap.servers": kafka.bootstrap,
                "log_level": 0,
                "socket.connection.setup.timeout.ms": 3000,
                **kafka.properties,
                "error_cb": lambda error: heard.append(error.str()),  # type: ignore[dict-item]
            }
        )
        topics = admin.list_topics(timeout=5).topics
    except KafkaException as error:
        detail = heard[0] if heard else error.args[0].str()
        yield Finding("kafka", False, f"{kafka.bootstrap}: {detail}", _kafka_remedy(detail))
        return
    missing = [topic.name for topic in (READINGS_RAW, DEAD_LETTERS, GATEWAYS) if topic.name not in topics]
    if missing:
        yield Finding(
            "kafka topics",
            False,
            f"not there: {', '.join(missing)}",
            "create them: fieldstream topics, at the centre",
        )
    else:
        yield Finding("kafka", True, f"{kafka.bootstrap} answers, the topics are there")


def _kafka_remedy(detail: str) -> str:
    lowered = detail.lower()
    if "ssl" in lowered or "certificate" in lowered:
        return "check kafka.properties ssl.ca.location, ssl.certificate.location and security.protocol"
    if "resolve" in lowered:
        return "correct kafka.bootstrap, or the name server of this machine"
    if "auth" in lowered or "sasl" in lowered:
        return "check sasl.username and sasl.password in kafka.properties"
    return "start Kafka, or correct kafka.bootstrap; check the firewall"


def _registry(settings: GatewaySettings) -> Finding:
    registry = SchemaRegistry(settings.registry.urls, settings.schema_dir)
    try:
        for topic in (READINGS_RAW, DEAD_LETTERS, GATEWAYS):
            registry.id_of(topic)
    except SchemaUnknownError as error:
        return Finding(
            "registry", False, str(error)[:200], "register the schemas at the centre: fieldstream schemas register"
        )
    except (RegistryError, OSError) as error:
        return Finding("registry", False, str(error)[:200], "start the registry, or correct registry.urls")
    return Finding("registry", True, "schema ids are known (kept on disk, so an outage does no harm)")


def _gateway(settings: GatewaySettings) -> Iterator[Finding]:
    status = fetch(settings)
    if status is None:
        yield Finding("gateway", True, "does not run", "if it should: systemctl start fieldstream-gateway; see its log")
    elif not status["ready"]:
        yield Finding("gateway", False, "; ".join(status["problems"]), "see the lines above")
    yield _clock(status["clock_offset_ms"] if status else None)


def _clock(offset_ms: float | None) -> Finding:
    if time.time() < 1_700_000_000:
        return Finding(
            "clock", False, time.strftime("%F %T UTC", time.gmtime()), "set the clock: timedatectl set-ntp true"
        )
    if offset_ms is not None and offset_ms / 1000 > _CLOCK_TOLERANCE_S:
        text = f"device times are {offset_ms / 1000:.1f} s ahead of this machine's clock"
        return Finding("clock", False, text, "set the clock here (timedatectl set-ntp true) or on the devices")
    return Finding("clock", True, time.strftime("%F %T UTC", time.gmtime()))
