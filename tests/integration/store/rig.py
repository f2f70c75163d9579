"""Real parts for the store's tests: Kafka, the embedded ClickHouse, the loader, each a process of its own.

Ports 23000 to 23999; nothing here touches the local stack.
"""

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError
from fieldstream_schemas.registry import frame_header
from fieldstream_schemas.topics import TOPICS, Topic, parsed_schema

ROOT = Path(__file__).resolve().parents[3]
KAFKA_JARS = ROOT / "var" / "java" / "kafka"


def free_port() -> int:
    """A port of 23000 to 23999 that nobody listens on."""
    for port in range(23200 + os.getpid() % 300, 24000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in _given:
                _given.add(port)
                return port
    raise RuntimeError("no free port")


_given: set[int] = set()


def eventually(check: Callable[[], Any], *, timeout_s: float = 60.0, what: str = "") -> Any:
    """Calls `check` until it answers something true; fails after `timeout_s` with the last answer."""
    deadline = time.monotonic() + timeout_s
    answer: Any = None
    while time.monotonic() < deadline:
        try:
            answer = check()
        except (ClickHouseError, httpx.HTTPError) as error:
            answer = error
        else:
            if answer:
                return answer
        time.sleep(0.1)
    pytest.fail(f"not within {timeout_s} s: {what or check}; last: {answer!r}")


class Process:
    """A program of ours in a process of its own, its output in a file."""

    def __init__(self, args: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                args, stdout=out, stderr=subprocess.STDOUT, env=os.environ | (env or {}), cwd=log.parent
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout_s: float = 20.0) -> int:
        """Waits until it ends by itself; the exit status."""
        return self._process.wait(timeout_s)

    def stop(self, timeout_s: float = 20.0) -> int:
        """SIGTERM and wait; the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
                pytest.fail(f"did not end within {timeout_s} s of SIGTERM:\n{self.output()[-3000:]}")
        return self._process.returncode


class Store:
    """The embedded ClickHouse on a directory; can be killed and started again."""

    def __init__(self, folder: Path, *, memory_mb: int = 1000) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._memory_mb = memory_mb
        self._folder = folder
        self.start()

    def start(self) -> None:
        self.process = Process(
            [
                *(sys.executable, "-m", "fieldstream_central.store.embedded", "--memory-mb", str(self._memory_mb)),
                *("--path", str(self._folder / "clickhouse"), "--port", str(self.port)),
            ],
            self._folder / "clickhouse.log",
        )
        eventually(lambda: httpx.get(f"{self.url}/ping").text == "Ok.\n", timeout_s=30, what="ClickHouse is up")

    def client(self) -> ClickHouse:
        return ClickHouse(self.url)


@contextmanager
def running_kafka(folder: Path) -> Iterator[str]:
    """A Kafka broker of its own; the address."""
    if not KAFKA_JARS.exists():
        pytest.skip("Kafka's jars are not installed: make up")
    broker, controller = free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "server.properties"
    config.write_text(
        f"""process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=3600000
"""
    )
    java = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{KAFKA_JARS}/*"]
    identity = uuid.uuid4().hex[:22]
    subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", identity, "-c", str(config), "--standalone"],
        check=True,
        capture_output=True,
    )
    process = Process([*java, "kafka.Kafka", str(config)], folder / "kafka.log")
    address = f"127.0.0.1:{broker}"
    try:
        admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        eventually(lambda: _answers(admin), timeout_s=60, what="Kafka is up")
        yield address
    finally:
        process.kill()


def _answers(admin: AdminClient) -> bool:
    try:
        return bool(admin.list_topics(timeout=1).brokers)
    except Exception:
        return False


def create_topics(kafka: str) -> None:
    """The project's topics, with their partitions."""
    admin = AdminClient({"bootstrap.servers": kafka})
    futures = admin.create_topics(
        # Readings of the tests lie in the past: no retention by time.
        [NewTopic(topic.name, topic.partitions, 1, config={"retention.ms": "-1"}) for topic in TOPICS.values()]
    )
    for future in futures.values():
        future.result(30)


def schema_cache(folder: Path) -> dict[str, int]:
    """Fills a registry cache on disk, so that no registry is needed; schema ids by topic."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = {}
    for number, topic in enumerate(TOPICS.values(), 1):
        digest = hashlib.sha256(topic.schema_text.encode()).hexdigest()[:16]
        (folder / f"{topic.subject}.{digest}.id").write_text(str(number))
        (folder / f"{number}.avsc").write_text(topic.schema_text)
        ids[topic.name] = number
    return ids


def encode(topic: Topic, row: dict[str, Any]) -> bytes:
    """Avro binary of a row, without header."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, parsed_schema(topic), row)
    return buffer.getvalue()


class Feed:
    """Writes records to the topics as the pipeline does."""

    def __init__(self, kafka: str, ids: dict[str, int]) -> None:
        # Silent: what fails is seen at the flush, and that Kafka ends before it is no news.
        self.producer = Producer({"bootstrap.servers": kafka, "acks": "all", "linger.ms": 5, "log_level": 0})
        self._ids = ids

    def send(self, topic: Topic, rows: list[dict[str, Any]], *, flush: bool = True) -> None:
        header = frame_header(self._ids[topic.name])
        for row in rows:
            key = "/".join(str(row.get(name, "")) for name in topic.key.split("/"))
            self.producer.produce(topic.name, key=key, value=header + encode(topic, row))
            self.producer.poll(0)
        if flush:
            self.flush()

    def send_raw(self, topic: Topic, key: str, value: bytes | None, partition: int = -1) -> None:
        self.producer.produce(topic.name, key=key, value=value, partition=partition)
        self.flush()

    def flush(self) -> None:
        assert self.producer.flush(30) == 0


class LoaderProcess(Process):
    """The loader with a settings file of its own."""

    def __init__(
        self, folder: Path, kafka: str, clickhouse: str, cache: Path, name: str = "loader", *, more: str = ""
    ) -> None:
        self.metrics_port = free_port()
        config = folder / f"{name}.toml"
        config.write_text(
            f'kafka = "{kafka}"\nclickhouse = "{clickhouse}"\nregistry = ["http://127.0.0.1:1"]\n'
            f'schema_cache = "{cache}"\nloader_metrics_port = {self.metrics_port}\n{more}'
        )
        super().__init__(
            [sys.executable, "-m", "fieldstream_central.store.loader"],
            folder / f"{name}.log",
            {"FIELDSTREAM_CONFIG": str(config)},
        )

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels."""
        lines = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def reading(seq: int, **changes: Any) -> dict[str, Any]:
    """A clean reading; device, metric and time follow from epoch and seq unless given."""
    ts = 1_780_000_000_000 + seq * 500
    row = {
        "device_id": f"pump-{changes.get('epoch', 1000)}-{seq % 10:02d}",
        "metric": "temperature" if seq % 20 < 10 else "pressure",
        "ts": ts,
        "value": 20.0 + seq % 7,
        "unit": "Cel",
        "quality": "good",
        "flags": 0,
        "gateway_id": "gw-1",
        "epoch": 1000,
        "seq": seq,
        "received_at": ts + 15,
        "site": "north",
        "area": "hall-1",
        "asset_id": f"pump-{seq % 10:02d}",
        "asset_type": "pump",
        "operator_pseudonym": None,
        "processed_at": ts + 90,
        "lateness_ms": None,
    }
    return row | changes
