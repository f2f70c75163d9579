"""`make bench-gateway`: mosquitto to Kafka, the same messages through our gateway and through Telegraf, in one run.

Telegraf is built from its Go module with only the plugins needed, into var/, and set up as well as we know: persistent
session, QoS 1, acknowledging after delivery, 20,000 undelivered messages, batches of 5,000, flush every 200 ms,
idempotent producer with acks=all. It keeps nothing on disk; ours syncs every batch before PUBACK and writes Avro.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import psutil  # noqa: E402 - the path comes first
from bench.gateway_report import Figure, Report  # noqa: E402
from confluent_kafka import Consumer, TopicPartition  # noqa: E402
from integration.edge.parts import (  # noqa: E402
    GatewayProcess,
    Kafka,
    Mosquitto,
    Process,
    all_parts,
    missing_parts,
    wait_until,
)

TELEGRAF = ROOT / "var" / "bench-tools" / "telegraf"
_TELEGRAF_VERSION = "v1.37.2"
_TAGS = "custom,inputs.mqtt_consumer,outputs.kafka,parsers.json,serializers.json"
_LOAD = Path(__file__).with_name("gateway_load.py")


def build_telegraf() -> bool:
    """Builds Telegraf once; False when that is not possible here."""
    if TELEGRAF.exists():
        return True
    if not shutil.which("go"):
        return False
    TELEGRAF.parent.mkdir(parents=True, exist_ok=True)
    print("building Telegraf from its Go module (once, some minutes) ...", flush=True)
    flags = ["-trimpath", "-ldflags", "-s -w", "-tags", _TAGS]
    result = subprocess.run(
        ["go", "install", *flags, f"github.com/influxdata/telegraf/cmd/telegraf@{_TELEGRAF_VERSION}"],
        env=os.environ | {"GOBIN": str(TELEGRAF.parent)},
        check=False,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        print(result.stderr[-2000:])
    return result.returncode == 0


class Subject(Protocol):
    """A program that carries readings from MQTT to a Kafka topic."""

    name: str
    topic: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def pid(self) -> int: ...


class Ours:
    """Our gateway."""

    def __init__(self, directory: Path, mosquitto: Mosquitto, kafka: Kafka, registry_url: str) -> None:
        self.name, self.topic = "gateway", "readings.raw"
        self.gateway = GatewayProcess(directory, mosquitto.url, kafka.bootstrap, registry_url)

    def start(self) -> None:
        self.gateway.start(ready=False)

    def stop(self) -> None:
        self.gateway.stop()

    def pid(self) -> int:
        assert self.gateway.process is not None
        return self.gateway.process.popen.pid


class Telegraf:
    """Telegraf, tuned."""

    def __init__(self, directory: Path, mosquitto: Mosquitto, kafka: Kafka) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name, self.topic = "telegraf", "readings.clean"
        self._directory = directory
        self._config = directory / "telegraf.conf"
        self._config.write_text(
            f"""[agent]
  interval = "200ms"
  flush_interval = "200ms"
  metric_batch_size = 5000
  metric_buffer_limit = 2000000
  omit_hostname = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{mosquitto.port}"]
  topics = ["sensors/#"]
  qos = 1
  persistent_session = true
  client_id = "telegraf-bench"
  max_undelivered_messages = 20000
  data_format = "json"
  json_time_key = "ts"
  json_time_format = "unix_ms"
[[outputs.kafka]]
  brokers = ["{kafka.bootstrap}"]
  topic = "{self.topic}"
  routing_tag = "topic"
  compression_codec = 3
  required_acks = -1
  idempotent_writes = true
  data_format = "json"
  json_timestamp_units = "1ms"
"""
        )
        self._process: Process | None = None

    def start(self) -> None:
        self._process = Process([str(TELEGRAF), "--config", str(self._config)], self._directory / "telegraf.log")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def pid(self) -> int:
        assert self._process is not None
        return self._process.popen.pid


@dataclass
class Run:
    """What one run measured."""

    readings_per_s: float = 0.0
    cpu_s_per_million: float = 0.0
    cpu_share: float = 0.0
    resident_mb: float = 0.0
    wire_bytes: float = 0.0  # per reading, towards Kafka, as sent
    latencies_ms: list[float] = field(default_factory=list)

    def latency(self, share: float) -> float:
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


class KafkaCount:
    """Counts the records of a topic by its partitions' ends."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": kafka.bootstrap, "group.id": "bench", "enable.auto.commit": False}
        )
        self._parts = [TopicPartition(topic, partition) for partition in range(4)]

    def __call__(self) -> int:
        return sum(self._consumer.get_watermark_offsets(part, timeout=10)[1] for part in self._parts)

    def close(self) -> None:
        self._consumer.close()


def publish(mosquitto: Mosquitto, count: int, per_message: int = 1, rate: float = 0) -> subprocess.Popen[bytes]:
    """Starts the publisher."""
    command = [sys.executable, str(_LOAD), "--port", str(mosquitto.port), "--count", str(count)]
    command += ["--per-message", str(per_message), "--rate", str(rate)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def drain(subject: Subject, mosquitto: Mosquitto, kafka: Kafka, readings: int, per_message: int) -> Run:
    """Fills the subject's queue at the broker while it is away, then lets it catch up."""
    subject.start()
    time.sleep(4)  # it subscribes, so that the broker keeps its messages
    idle = psutil.Process(subject.pid()).cpu_times()  # what a start costs is not what a reading costs
    subject.stop()
    if publish(mosquitto, readings, per_message).wait() != 0:
        raise SystemExit("the publisher failed")
    count = KafkaCount(kafka, subject.topic)
    before, sent = count(), kafka.log_bytes(subject.topic)
    subject.start()
    process, samples, peak = psutil.Process(subject.pid()), [], 0
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        cpu = process.cpu_times()
        samples.append((time.monotonic(), cpu.user + cpu.system, count() - before))
        peak = max(peak, process.memory_info().rss)
        if samples[-1][2] >= readings:
            break
        time.sleep(0.05)
    count.close()
    subject.stop()
    begin = max(sample[0] for sample in samples if sample[2] == 0)
    used = samples[-1][1] - idle.user - idle.system
    run = Run(readings / (samples[-1][0] - begin), used / readings * 1e6, resident_mb=peak / 1e6)
    run.wire_bytes = (kafka.log_bytes(subject.topic) - sent) / readings
    return run


def live(  # noqa: PLR0917
    subject: Subject, mosquitto: Mosquitto, kafka: Kafka, rate: int, seconds: int, ts_of: Callable[[bytes], int]
) -> Run:
    """Readings at a steady rate; latency from publishing to Kafka's append time."""
    subject.start()
    time.sleep(5)
    count = KafkaCount(kafka, subject.topic)
    before = count()
    total = rate * seconds
    publisher = publish(mosquitto, total, rate=rate)
    process = psutil.Process(subject.pid())
    time.sleep(2)
    cpu, at, peak = process.cpu_times(), time.monotonic(), 0
    while publisher.poll() is None:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.1)
    after, end = process.cpu_times(), time.monotonic()
    wait_until(lambda: count() - before >= total, 60, f"{total} readings of {subject.name}")
    count.close()
    subject.stop()
    used = after.user + after.system - cpu.user - cpu.system
    latencies = [
        message.timestamp()[1] - ts_of(message.value()) for message in kafka.read(subject.topic, last=total * 9 // 10)
    ]
    return Run(rate, used / ((end - at) * rate) * 1e6, used / (end - at), peak / 1e6, latencies_ms=latencies)


def ts_in_avro(value: bytes) -> int:
    """Event time of a framed reading."""
    import io

    import fastavro
    from fieldstream_schemas.topics import READINGS_RAW, parsed_schema

    record: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed_schema(READINGS_RAW))
    return int(record["ts"].timestamp() * 1000 + 0.5)


def ts_in_json(value: bytes) -> int:
    """Event time of one of Telegraf's records."""
    return int(json.loads(value)["timestamp"])


def start_with_backlog(directory: Path, mosquitto: Mosquitto, registry_url: str, readings: int) -> float:
    """Seconds from the start of the process until it accepts, with this many readings in its spool."""
    from fieldstream_edge.settings import SpoolSettings
    from fieldstream_edge.spool.batch import Batch, Descriptor
    from fieldstream_edge.spool.ledger import Spool

    gateway = GatewayProcess(directory, mosquitto.url, "127.0.0.1:1", registry_url)
    spool = Spool(directory / "state" / "spool", "test-1", SpoolSettings())
    devices = [Descriptor(f"dev-{number:04d}", "temperature") for number in range(1000)]
    now, size = int(time.time() * 1000), 5000
    for start in range(0, readings, size):
        ts = [now - readings + start + row for row in range(size)]
        spool.store(Batch([devices[row % 1000] for row in range(size)], ts, [20.5] * size, [now] * size))
    spool.close()
    started = time.monotonic()
    gateway.start(ready=False)
    wait_until(lambda: gateway.answers() and gateway.status()["accepting"], 60, "the gateway to accept")
    took = time.monotonic() - started
    gateway.process.stop(signal.SIGKILL) if gateway.process else None
    return took


def main() -> int:
    """Runs it all; the last line is one JSON object. Always 0 when it could measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--readings", type=int, default=400_000, help="readings per drain")
    parser.add_argument("--seconds", type=int, default=15, help="length of each steady run")
    parser.add_argument("--only-ours", action="store_true")
    arguments = parser.parse_args()
    reason = missing_parts()
    if reason:
        print(f"cannot run here: {reason}")
        return 1
    telegraf = not arguments.only_ours and build_telegraf()
    directory = ROOT / "var" / "bench" / "gateway-work"
    shutil.rmtree(directory, ignore_errors=True)
    report = Report("gateway")
    with all_parts(directory, append_time=True) as (mosquitto, kafka, registry):
        runs: dict[str, dict[str, Run]] = {}
        subjects: list[Subject] = [Ours(directory / "ours", mosquitto, kafka, registry.url)]
        if telegraf:
            subjects.append(Telegraf(directory / "telegraf", mosquitto, kafka))
        for subject in subjects:
            ts_of = ts_in_avro if subject.name == "gateway" else ts_in_json
            own: dict[str, Run] = {}
            runs[subject.name] = own

            def step(name: str, run: Callable[[], Run], own: dict[str, Run] = own, who: str = subject.name) -> None:
                own[name] = done = run()
                show(who, name, done)

            big = arguments.readings * 4
            step("drain", lambda: drain(subject, mosquitto, kafka, arguments.readings, 1))  # noqa: B023
            step("drain, 50 per message", lambda: drain(subject, mosquitto, kafka, big, 50))  # noqa: B023
            for rate in (1000, 20_000):
                step(f"live {rate}/s", lambda: live(subject, mosquitto, kafka, rate, arguments.seconds, ts_of))  # noqa: B023
            unsubscribe(mosquitto, subject.name)
        ours = subjects[0]
        assert isinstance(ours, Ours)
        report.runs = {name: {key: as_plain(run) for key, run in each.items()} for name, each in runs.items()}
        ours.start()
        wait_until(ours.gateway.is_ready, 30, "ready")
        publish(mosquitto, 200_000, rate=20_000).wait()
        metrics = ours.gateway.metrics()
        spool_bytes = metrics["spool_written_bytes_total"] / metrics["readings_accepted_total"]
        ours.stop()
        backlog = start_with_backlog(directory / "backlog", mosquitto, registry.url, 10_000_000)
    _figures(report, runs, spool_bytes, backlog)
    report.finish()
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def show(who: str, name: str, run: Run) -> None:
    """One line of progress."""
    speed = f"{run.readings_per_s:9,.0f}/s {run.cpu_s_per_million:6.1f} CPU s/M {run.resident_mb:5.0f} MB"
    more = f"  p50 {run.latency(0.5):5.0f} p99 {run.latency(0.99):5.0f} ms" if run.latencies_ms else ""
    more += f"  {run.wire_bytes:5.1f} bytes to Kafka" if run.wire_bytes else ""
    print(f"{who:9} {name:22} {speed}{more}", flush=True)


def as_plain(run: Run) -> dict[str, float]:
    """What is kept of a run."""
    plain = {name: value for name, value in run.__dict__.items() if name != "latencies_ms"}
    return plain | {"p50_ms": run.latency(0.5), "p99_ms": run.latency(0.99)}


def unsubscribe(mosquitto: Mosquitto, name: str) -> None:
    """Ends the subject's session at the broker, so that it does not queue for the others' runs."""
    client = "telegraf-bench" if name == "telegraf" else "fieldstream-test-1"
    command = ["mosquitto_sub", "-p", str(mosquitto.port), "-i", client, "-t", "nothing", "-E"]
    subprocess.run([*command, "-V", "mqttv5" if name == "gateway" else "mqttv311"], check=True)


def _figures(report: Report, runs: dict[str, dict[str, Run]], spool_bytes: float, backlog: float) -> None:
    ours, theirs = runs["gateway"], runs.get("telegraf")
    if theirs:
        ratio = ours["drain"].cpu_s_per_million / theirs["drain"].cpu_s_per_million
        report.add(Figure("cpu_per_reading_vs_telegraf", ratio, 0.5, 0.2, "times", lower=True))
        speed = ours["drain"].readings_per_s / theirs["drain"].readings_per_s
        report.add(Figure("drain_readings_per_s_vs_telegraf", speed, 1.5, 3.0, "times"))
    fifty = ours["drain, 50 per message"].readings_per_s
    report.add(Figure("readings_per_s_50_per_message", fifty, 120_000, 250_000, "1/s"))
    report.add(Figure("resident_mb_at_20000_per_s", ours["live 20000/s"].resident_mb, 64, 45, "MB", lower=True))
    report.add(
        Figure("publish_to_kafka_p99_ms_at_1000_per_s", ours["live 1000/s"].latency(0.99), 100, 30, "ms", lower=True)
    )
    report.add(Figure("cpu_share_at_1000_per_s", ours["live 1000/s"].cpu_share * 100, 20, 10, "%", lower=True))
    for what in ("kills", "power-cuts"):
        harm = _harm(what)
        if harm is not None:
            report.add(Figure(f"lost_or_doubled_by_100_{what.replace('-', '_')}", harm, 0, 0, "readings", lower=True))
    report.add(Figure("spool_bytes_per_reading", spool_bytes, 60, 25, "bytes", lower=True))
    report.add(Figure("ready_s_with_10_million_in_spool", backlog, 3.0, 1.0, "s", lower=True))


def _harm(what: str) -> int | None:
    """Readings lost or stored twice in the last long loop of kills or power cuts; None when there was none."""
    path = ROOT / "var" / "bench" / f"gateway-{what}.json"
    if not path.exists():
        print(f"no result of 100 {what} here: run FIELDSTREAM_LONG=1 pytest tests/chaos -k gateway")
        return None
    result = json.loads(path.read_text())
    return int(result["lost"] + result["stored_twice"])


if __name__ == "__main__":
    sys.exit(main())
