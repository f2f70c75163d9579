"""Wires the hops of the gateway together, and runs them until it is told to stop."""

import logging
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldstream_schemas.registry import SchemaRegistry

from fieldstream_edge import metrics
from fieldstream_edge.config import ConfigError, load
from fieldstream_edge.counters import Counters
from fieldstream_edge.health import HealthServer
from fieldstream_edge.intake.acceptor import Acceptor
from fieldstream_edge.intake.connection import Mqtt5Intake
from fieldstream_edge.intake.transport import tls_context
from fieldstream_edge.settings import GatewaySettings
from fieldstream_edge.spool.ledger import Spool
from fieldstream_edge.uplink.heartbeat import Heartbeat, encode
from fieldstream_edge.uplink.producer import Uplink

if TYPE_CHECKING:
    from fieldstream_edge.intake.mqtt311 import Mqtt311Intake

    Intake = Mqtt5Intake | Mqtt311Intake

log = logging.getLogger(__name__)
_CLOCK_STEP_S = 5.0


class Gateway:
    """One gateway process. Construction takes ownership of the spool; `run` blocks until `stop`."""

    def __init__(self, settings: GatewaySettings, *, config: Path | None = None) -> None:
        """`config` is read again on SIGHUP. Raises SpoolError, OSError with a message for the operator."""
        self.settings = settings
        self._config = config
        Path(settings.state_dir).mkdir(parents=True, exist_ok=True)
        self.counters = Counters()
        self.spool = Spool(settings.spool_dir, settings.gateway_id, settings.spool)
        try:
            self._heartbeat = _prepare(settings, self.spool, self.counters)
            self._health = HealthServer(settings.http, self.status, self.metrics)
        except OSError:
            self.spool.close()
            raise
        self._acceptor = Acceptor(self.spool, self.counters, settings.intake, mappings=settings.mapping)
        self._uplink = self._make_uplink()
        self._intakes = self._make_intakes()
        self._stopping = threading.Event()
        self._reload = threading.Event()
        self._tls_written = _written_at(settings.tls_files)

    def _make_uplink(self) -> Uplink:
        registry = SchemaRegistry(self.settings.registry.urls, self.settings.schema_dir)
        return Uplink(self.settings, self.spool, registry, self.counters)

    def _make_intakes(self) -> "list[Intake]":
        made: list[Intake] = []
        for number, broker in enumerate(self.settings.mqtt):
            if broker.protocol == "3.1.1":
                from fieldstream_edge.intake.mqtt311 import Mqtt311Intake  # paho: only where it is needed

                made.append(Mqtt311Intake(self.settings, number, self._acceptor, self.counters))
            else:
                made.append(Mqtt5Intake(self.settings, number, self._acceptor, self.counters))
        return made

    def run(self) -> None:
        """Runs until SIGTERM, SIGINT or `stop`. Everything accepted by then is in the spool or delivered."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        signal.signal(signal.SIGHUP, lambda *_: self._reload.set())
        self._health.start()
        self._uplink.start()
        for intake in self._intakes:
            intake.start()
        log.info(
            "gateway %s, settings %s, status on port %d",
            self.settings.gateway_id,
            self._heartbeat.config_hash,
            self._health.port,
        )
        log.info("spool: epoch %d, %d entries waiting", self.spool.epoch, self.spool.undelivered)
        _notify("READY=1")
        try:
            self._watch()
        finally:
            self._shut_down()

    def stop(self) -> None:
        """Asks `run` to end."""
        self._stopping.set()

    def _watch(self) -> None:
        """Heartbeats, and a look at the clock and the threads, every second."""
        due, state = time.monotonic(), "starting"
        wall = time.time() - time.monotonic()
        while not self._stopping.wait(0.2 if state == "starting" else 1.0):
            offset = time.time() - time.monotonic()
            if abs(offset - wall) > _CLOCK_STEP_S:
                self.counters.clock_steps += 1
                log.warning("the gateway's clock jumped by %+.1f s", offset - wall)
            wall = offset
            renewed = _written_at(self.settings.tls_files) != self._tls_written
            if self._reload.is_set() or renewed:
                self._reload.clear()
                self.reload(renewed=renewed)
                self._tls_written = _written_at(self.settings.tls_files)
            if time.monotonic() >= due and self._beat(state):
                state = "running"
                due = time.monotonic() + self.settings.heartbeat_s
            for thread in (*self._intakes, self._uplink):
                if not thread.is_alive():
                    raise RuntimeError(f"thread {thread.name} has ended unexpectedly; see the log above")
            self.spool.trim()  # also while nothing is delivered: max_age_s counts in an outage
            _notify("WATCHDOG=1")

    def reload(self, *, renewed: bool = False) -> str:
        """Reads the configuration again and goes over to it without loss; says what came of it.

        `renewed`: a certificate has changed, so that every connection is to be made anew.
        """
        if self._config is None:
            return "there is no file to read again"
        try:
            new = load(self._config)
        except ConfigError as error:
            log.error("the new configuration is refused, the old one goes on:\n%s", error)
            return "refused"
        if new == self.settings and not renewed:
            log.info("the configuration is the same: nothing changes")
            return "same"
        fixed = [
            name for name in ("gateway_id", "state_dir", "http") if getattr(new, name) != getattr(self.settings, name)
        ]
        if new.spool.key_file != self.settings.spool.key_file:
            fixed.append("spool.key_file")
        if fixed:
            log.error("%s cannot change while running: restart the gateway; the old one goes on", ", ".join(fixed))
            return "refused"
        try:
            heartbeat = _prepare(new, self.spool, self.counters, self._heartbeat.started_at)
        except OSError as error:
            log.error("the new configuration is refused, the old one goes on: %s", error)
            return "refused"
        old, self.settings = self.settings, new
        self.spool.settings = new.spool
        with self._acceptor.lock:
            self._acceptor.reconfigure(new.intake, new.mapping)
        if renewed or (new.mqtt, new.intake, new.spool) != (old.mqtt, old.intake, old.spool):
            self._stop_intakes()
            self._intakes = self._make_intakes()
            for intake in self._intakes:
                intake.start()
        if renewed or (new.kafka, new.registry) != (old.kafka, old.registry):
            self._uplink.stop()
            self._uplink.join(15)
            self._uplink = self._make_uplink()
            self._uplink.start()
        self._heartbeat = heartbeat
        what = "configuration %s with its renewed certificates" if renewed else "new configuration %s"
        log.info(f"the {what} is in force", self._heartbeat.config_hash)
        return "changed"

    def _stop_intakes(self) -> None:
        for intake in self._intakes:
            intake.stop()
        for intake in self._intakes:
            intake.join(10)

    def _beat(self, state: str) -> bool:
        status = self.status()
        if state == "running" and not status["ready"]:
            state = "degraded"
        record = self._heartbeat.record(
            state, oldest_received_ms=self._uplink.oldest_received_ms, offsets=self._acceptor.offset_samples
        )
        self.counters.heartbeats += 1
        return self._uplink.send_status(self.settings.gateway_id.encode(), lambda frame: encode(record, frame))

    def _shut_down(self) -> None:
        _notify("STOPPING=1")
        self._stop_intakes()
        self._beat("stopping")
        self._uplink.stop()
        self._uplink.join(15)
        self._health.stop()
        waiting = self.spool.undelivered
        with self._acceptor.lock:
            self.spool.close()
        log.info("stopped; %d entries wait in the spool", waiting)

    def status(self) -> dict[str, Any]:
        """How the gateway is, as served on /status.json: the heartbeat's fields and more."""
        record = self._heartbeat.record(
            "running", oldest_received_ms=self._uplink.oldest_received_ms, offsets=self._acceptor.offset_samples
        )
        wrong = [(intake.broker.url, intake.problem or intake.suspicion) for intake in self._intakes]
        problems = [f"MQTT {url}: {text}" for url, text in wrong if text]
        accepting = all(intake.connected for intake in self._intakes) and not problems
        if not self._uplink.connected:
            problems.append(f"Kafka {self.settings.kafka.bootstrap}: {self._uplink.problem}")
        return record | {
            "ready": accepting and self._uplink.connected,
            "accepting": accepting,
            "mqtt_connected": all(intake.connected for intake in self._intakes),
            "kafka_connected": self._uplink.connected,
            "problems": problems,
            "messages": self.counters.messages,
            "readings": self.counters.readings,
            "delivered": self.counters.delivered,
            "reasons": dict(self.counters.reasons),
            "flags": dict(self.counters.flags),
            "worst_clocks": self._worst_clocks(),
        }

    def _worst_clocks(self) -> dict[str, int]:
        """Devices whose event times are furthest ahead of the receive time, or behind it, in ms."""
        offsets = self._acceptor.clock_offsets.copy()
        return {device: offsets[device] for device in sorted(offsets, key=lambda each: -abs(offsets[each]))[:5]}

    def metrics(self) -> str:
        """Metrics in Prometheus text format."""
        return metrics.render(self.counters, self.spool, self.status())


def _prepare(settings: GatewaySettings, spool: Spool, counters: Counters, started_at: int | None = None) -> Heartbeat:
    """The heartbeat of these settings. Raises OSError when certificates they name cannot be used."""
    for broker in settings.mqtt:
        if broker.tls:
            tls_context(broker)
    return Heartbeat(settings, spool, counters, started_at=started_at)


def _written_at(files: list[Path]) -> dict[Path, int]:
    """When each was last written, in ns; one that is being exchanged may lack."""
    found = {}
    for file in files:
        with suppress(FileNotFoundError):
            found[file] = file.stat().st_mtime_ns
    return found


def _notify(state: str) -> None:
    """Tells systemd, when it started us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        if address.startswith("@"):
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(state.encode(), address)
