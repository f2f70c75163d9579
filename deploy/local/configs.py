"""Writes the configuration file of every program of the local stack, from one layout."""

import base64
import os
import secrets
import tomllib
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fieldstream_central.grafana import provision
from fieldstream_central.notify.config import NotifyConfig
from fieldstream_central.notify.routes import alertmanager_config

from local import secure
from local.layout import ROOT, VENV, Layout


def write_all(layout: Layout) -> None:
    """Writes every configuration file and makes every folder. Safe to repeat; secrets are made once."""
    for folder in ("config", "log", "run", "schemas", "secrets", "flink/conf", "flink/checkpoints", "flink/log",
                   "mosquitto", "kafka", "clickhouse", "prometheus", "alertmanager", "gateway"):  # fmt: skip
        (layout.var / folder).mkdir(parents=True, exist_ok=True)
    for name in ("pseudonym.key", "link.key"):
        key = layout.var / "secrets" / name
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(secrets.token_hex(32))
    make_keys(layout)
    plain = {
        layout.settings_file: settings(layout),
        layout.config / "kafka.properties": kafka(layout),
        layout.config / "log4j2.properties": KAFKA_LOG4J,
        layout.config / "mosquitto.conf": mosquitto(layout),
        layout.config / "gateway.toml": gateway(layout),
        layout.config / "prometheus.yml": prometheus(layout),
        layout.config / "notify.toml": notify(layout),
        layout.config / "alertmanager.yml": alertmanager(layout),
        layout.var / "flink/conf/config.yaml": flink(layout),
    }
    for path, text in plain.items():
        path.write_text(text)
    if layout.secure:
        secure.write(layout, plain)
    provision.write(layout.config / "grafana", grafana_addresses(layout))
    for name in ("log4j-console.properties", "log4j.properties"):
        (layout.var / "flink/conf" / name).write_text(FLINK_LOG4J)


def make_keys(layout: Layout) -> None:
    """Keys that have a form of their own: of dead letters, of receipts, of the gateway's spool."""
    folder = layout.var / "secrets"
    if not (folder / "signing.key").exists():
        _write_secret(folder / "signing.key", _pem(Ed25519PrivateKey.generate()))
        _write_secret(folder / "spool.key", base64.b64encode(secrets.token_bytes(32)))
        letters = X25519PrivateKey.generate()
        _write_secret(folder / "dead-letters.key", _pem(letters))
        public = letters.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "dead-letters.pub").write_bytes(public)


def _pem(key: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def grafana_addresses(layout: Layout) -> provision.Addresses:
    """Where a Grafana on this machine finds the data."""
    return provision.Addresses(
        clickhouse_host="127.0.0.1",
        clickhouse_port=layout.ports["clickhouse"],
        clickhouse_user="default",
        prometheus=layout.url("prometheus"),
        alertmanager=layout.url("alertmanager"),
    )


def settings(layout: Layout) -> str:
    """fieldstream.toml: see fieldstream_central.settings."""
    return f"""\
site = "local"
mqtt = "mqtt://{layout.address("mqtt")}"
kafka = "{layout.address("kafka")}"
registry = ["{layout.url("registry")}/apis/ccompat/v7"]
schema_cache = "{layout.var}/schemas"
flink = "{layout.url("flink")}"
flink_checkpoints = "{layout.var}/flink/checkpoints"
flink_function_jar = "{ROOT}/var/java/fieldstream-functions.jar"
clickhouse = "{layout.url("clickhouse")}"
clickhouse_path = "{layout.var}/clickhouse"
prometheus = "{layout.url("prometheus")}"
alertmanager = "{layout.url("alertmanager")}"
mailbox = "{layout.url("mailbox")}"
api = "{layout.url("api")}"
console = "{layout.url("console")}"
loader_metrics_port = {layout.ports["loader"]}
alerter_metrics_port = {layout.ports["alerter"]}
jobs_metrics_port = {layout.ports["jobs"]}
assets_metrics_port = {layout.ports["assets"]}
tracer_metrics_port = {layout.ports["tracer"]}
grafana = "{layout.url("grafana")}"
pseudonym_key_file = "{layout.var}/secrets/pseudonym.key"
letter_public_key_file = "{layout.var}/secrets/dead-letters.pub"
letter_key_file = "{layout.var}/secrets/dead-letters.key"
signing_key_file = "{layout.var}/secrets/signing.key"
notify_file = "{layout.config}/notify.toml"
notify_ledger = "{layout.var}/alerter/told.sqlite"
link_key_file = "{layout.var}/secrets/link.key"
"""


def kafka(layout: Layout) -> str:
    """server.properties of the one broker, which is its own controller."""
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={layout.address("kafka_controller")}
listeners=PLAINTEXT://{layout.address("kafka")},CONTROLLER://{layout.address("kafka_controller")}
advertised.listeners=PLAINTEXT://{layout.address("kafka")}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={layout.var}/kafka
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


KAFKA_LOG4J = """\
appender.stdout.type=Console
appender.stdout.name=STDOUT
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=WARN
rootLogger.appenderRefs=stdout
rootLogger.appenderRef.stdout.ref=STDOUT
"""

FLINK_LOG4J = """\
appender.console.type=Console
appender.console.name=ConsoleAppender
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1} %m%n%xEx
rootLogger.level=WARN
rootLogger.appenderRefs=console
rootLogger.appenderRef.console.ref=ConsoleAppender
logger.runtime.name=org.apache.flink.runtime.executiongraph
logger.runtime.level=INFO
"""


def mosquitto(layout: Layout) -> str:
    """The MQTT broker: loopback only, sessions kept over a restart, no bound on what waits for the gateway."""
    return f"""\
listener {layout.ports["mqtt"]} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {layout.var}/mosquitto/
autosave_interval 60
max_queued_messages 0
max_inflight_messages 2000
set_tcp_nodelay true
log_dest stdout
log_type error
log_type warning
{"user root" if os.geteuid() == 0 else ""}
"""


def gateway(layout: Layout) -> str:
    """The gateway of this machine."""
    return f"""\
gateway_id = "gateway-local"
state_dir = "{layout.var}/gateway"
letter_public_key_file = "{layout.var}/secrets/dead-letters.pub"

[spool]
key_file = "{layout.var}/secrets/spool.key"

[mqtt]
url = "mqtt://{layout.address("mqtt")}"

[kafka]
bootstrap = "{layout.address("kafka")}"

[registry]
urls = ["{layout.url("registry")}/apis/ccompat/v7"]
cache_dir = "{layout.var}/schemas"

[http]
port = {layout.ports["gateway"]}
"""


def flink(layout: Layout) -> str:
    """Flink's config.yaml: the cluster. What belongs to a job is set in fieldstream_central.stream.cluster."""
    return f"""\
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {layout.ports["flink_rpc"]}
jobmanager.bind-host: 127.0.0.1
jobmanager.memory.process.size: 768m
jobmanager.execution.failover-strategy: region
taskmanager.bind-host: 127.0.0.1
taskmanager.host: 127.0.0.1
taskmanager.memory.process.size: 1536m
taskmanager.memory.managed.size: 320m
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.numberOfTaskSlots: 4
parallelism.default: 1
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {layout.ports["flink"]}
heartbeat.interval: 2000
heartbeat.timeout: 10000
python.executable: {VENV}/bin/python
io.tmp.dirs: {layout.var}/flink/tmp
"""


def prometheus(layout: Layout) -> str:
    """Scrapes every program of the stack each 2 s."""
    targets = "\n".join(
        f"""\
  - job_name: {name}
    static_configs: [{{targets: ["{layout.address(name)}"]}}]"""
        for name in ("gateway", "loader", "alerter", "jobs", "api", "alertmanager")
    )
    return f"""\
global: {{scrape_interval: 2s, evaluation_interval: 5s}}
rule_files: ["{ROOT}/deploy/prometheus/fieldstream-rules.yml"]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{layout.address("alertmanager")}"]}}]}}]}}
scrape_configs:
{targets}
"""


def notify(layout: Layout) -> str:
    """notify.toml: all messages go to the local mailbox, to a second person after a quarter of an hour."""
    return f"""\
first = "on-call"
heartbeat_url = "{layout.url("watchdog")}/"

[smtp]
host = "127.0.0.1"
port = {layout.ports["smtp"]}

[receivers.on-call]
email = ["on-call@localhost"]
webhook = ["{layout.url("mailbox")}/webhook"]

[receivers.shift-leader]
email = ["shift-leader@localhost"]

[[escalation]]
after_minutes = 15
receiver = "shift-leader"
"""


def alertmanager(layout: Layout) -> str:
    """Alertmanager's routes for the same receivers."""
    config = NotifyConfig.model_validate(tomllib.loads(notify(layout)))
    return yaml.safe_dump(alertmanager_config(config, layout.url("alerter")), sort_keys=False)
