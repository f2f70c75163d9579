"""Real parts for the gateway's tests: mosquitto, Kafka, a schema registry of a few lines, and the gateway itself."""

import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from fieldstream_schemas.topics import TOPICS

ROOT = Path(__file__).resolve().parents[3]
KAFKA_JARS = ROOT / "var" / "java" / "kafka"
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


def missing_parts() -> str:
    """Why integration tests cannot run here; empty: they can."""
    if not Path(MOSQUITTO).exists():
        return "mosquitto is not installed"
    if not list(KAFKA_JARS.glob("kafka_*.jar")):
        return f"Kafka's jars are not in {KAFKA_JARS}"
    return "" if shutil.which("java") else "java is not installed"


_given: set[int] = set()


def free_port() -> int:
    """A free port in the range that the gateway's tests may use."""
    for port in range(21000 + int(time.monotonic() * 1000) % 800, 22000):
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise RuntimeError("no free port from 21000 to 21999")


def wait_until(condition: Any, timeout_s: float = 30.0, what: str = "") -> Any:
    """Waits until the condition is true and returns its value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s for {what or condition}")
        time.sleep(0.02)


class Process:
    """A child process with its log in a file."""

    def __init__(
        self, command: list[str], log: Path, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as out:
            self.popen = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env=env, cwd=cwd
            )

    def stop(self, how: int = signal.SIGTERM, timeout_s: float = 30) -> int:
        """Signals and waits; returns the exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait(10)

    def kill(self) -> None:
        """kill -9."""
        self.stop(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: hangs without closing anything."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.popen.send_signal(signal.SIGCONT)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Mosquitto:
    """mosquitto with persistence, so that it can be restarted."""

    def __init__(self, directory: Path, *, extra: str = "", port: int | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.directory = directory
        self.config = directory / "mosquitto.conf"
        listener = "" if "listener" in extra else f"listener {self.port} 127.0.0.1\nallow_anonymous true\n"
        self.config.write_text(
            f"{listener}persistence true\npersistence_location {directory}/\nmax_queued_messages 0\nuser root\n"
            f"max_inflight_messages 0\nset_tcp_nodelay true\n{extra}"
        )
        self.process: Process | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = Process([MOSQUITTO, "-c", str(self.config)], self.directory / "mosquitto.log")
        wait_until(lambda: _accepts(self.port), 10, "mosquitto")

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()


class Kafka:
    """One Kafka node in KRaft mode with all of Fieldstream's topics."""

    def __init__(self, directory: Path, port: int | None = None, *, append_time: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._directory = directory
        self._more = {"message.timestamp.type": "LogAppendTime"} if append_time else {}
        controller = free_port()
        self._config = directory / "server.properties"
        self._config.write_text(
            f"""process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={directory}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""
        )
        self._run(
            "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", str(self._config), "--standalone"
        )
        self.process: Process | None = None
        self.start()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _java(self, *arguments: str) -> list[str]:
        return ["java", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp", f"{KAFKA_JARS}/*", *arguments]

    def _run(self, *arguments: str) -> None:
        subprocess.run(self._java(*arguments), check=True, capture_output=True)

    def start(self) -> None:
        self.process = Process(self._java("kafka.Kafka", str(self._config)), self._directory / "kafka.log")
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

        def ready() -> bool:
            with suppress(Exception):
                return bool(admin.list_topics(timeout=1).brokers)
            return False

        wait_until(ready, 60, "Kafka")
        wanted = [
            NewTopic(topic.name, topic.partitions, 1, config=topic.config | self._more)
            for topic in TOPICS.values()
            if topic.name not in admin.list_topics(timeout=5).topics
        ]
        if wanted:
            for future in admin.create_topics(wanted).values():
                future.result(20)

    def set_topic(self, topic: str, name: str, value: str) -> None:
        """Changes a setting of a topic."""
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.incremental_alter_configs([resource])[resource].result(20)

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop(signal.SIGKILL)

    def log_bytes(self, topic: str) -> int:
        """Bytes of the topic's record batches on disk: as the producer sent them, compressed."""
        return sum(path.stat().st_size for path in self._directory.glob(f"data/{topic}-*/*.log"))

    def read(self, topic: str, *, last: int | None = None) -> list[Any]:
        """Messages of the topic by partition and offset: all, or about so many of the last."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "test", "enable.auto.commit": False})
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            ends, starts = {}, {}
            for partition in partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                if high > low:
                    ends[partition] = high
                    starts[partition] = low if last is None else max(low, high - last // len(partitions))
            consumer.assign([TopicPartition(topic, partition, starts[partition]) for partition in ends])
            found = []
            while ends:
                for message in consumer.consume(5000, 1.0):
                    assert message.error() is None, message.error()
                    found.append(message)
                    partition, offset = message.partition(), message.offset()
                    if partition is not None and offset is not None and offset + 1 >= ends.get(partition, 1 << 60):
                        ends.pop(partition)
            return found
        finally:
            consumer.close()


class Registry:
    """What the gateway needs of a Confluent-compatible registry: ids by schema text."""

    def __init__(self, port: int | None = None) -> None:
        ids: dict[str, int] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"]
                digest = hashlib.sha256(text.encode()).hexdigest()
                body = json.dumps({"id": ids.setdefault(digest, len(ids) + 1)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port or free_port()), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class GatewayProcess:
    """`fieldstream-gateway run` in a process of its own. `more`: top of its configuration, `extra`: end of [mqtt]."""

    def __init__(
        self, directory: Path, mqtt: str, kafka: str, registry: str, *, extra: str = "", more: str = "",
        state_dir: Path | None = None, gateway_id: str = "test-1", more_kafka: str = "",
    ) -> None:  # fmt: skip
        self.gateway_id = gateway_id
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.config = directory / "gateway.toml"
        self.config.write_text(
            f"""gateway_id = "{gateway_id}"
state_dir = "{state_dir or directory / "state"}"
heartbeat_s = 1
{more}
[http]
port = {self.port}
[kafka]
bootstrap = "{kafka}"
{more_kafka}[registry]
urls = ["{registry}"]
[mqtt]
url = "{mqtt}"
{extra}"""
        )
        self.process: Process | None = None

    def start(self, *, ready: bool = True) -> "GatewayProcess":
        command = [sys.executable, "-m", "fieldstream_edge.cli", "run", "--config", str(self.config)]
        self.process = Process(command, self.directory / "gateway.log")
        if ready:
            wait_until(self.is_ready, 30, f"the gateway to be ready: {self.log()[-3000:]}")
        return self

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.popen.poll() is None, self.log()[-3000:]
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    def answers(self) -> bool:
        with suppress(OSError):
            return bool(self.status())
        return False

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status.json", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            rows = [line.rpartition(" ") for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name.removeprefix("fieldstream_gateway_"): float(value) for name, _, value in rows}

    def log(self) -> str:
        path = self.directory / "gateway.log"
        return path.read_text() if path.exists() else ""

    def wait_drained(self, timeout_s: float = 30.0) -> None:
        wait_until(lambda: self.status()["spool_readings"] == 0, timeout_s, "the spool to be empty")

    def stop(self) -> int:
        return self.process.stop() if self.process is not None else 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()


@contextmanager
def all_parts(directory: Path, *, append_time: bool = False) -> Iterator[tuple[Mosquitto, Kafka, Registry]]:
    """Broker, Kafka and registry, stopped at the end. `append_time`: Kafka stamps records itself."""
    mosquitto, kafka, registry = (
        Mosquitto(directory / "mqtt"),
        Kafka(directory / "kafka", append_time=append_time),
        Registry(),
    )
    try:
        yield mosquitto, kafka, registry
    finally:
        for part in (mosquitto, kafka, registry):
            part.stop()
