"""From the spool to Kafka: every entry, in order per device, until its delivery report.

Order and completeness hang on three things. The producer is idempotent, so retries neither duplicate nor reorder. It
gives up on nothing by itself (`message.timeout.ms=0`). And after any failed delivery the whole producer is thrown away
and sending starts again behind the last seq up to which everything is delivered: what had already arrived arrives once
more with the same seq, which every reader of `readings.raw` drops.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from fieldstream_schemas.registry import RegistryError, SchemaRegistry, frame_header
from fieldstream_schemas.topics import DEAD_LETTERS, GATEWAYS, READINGS_RAW

from fieldstream_edge.counters import Counters
from fieldstream_edge.settings import GatewaySettings
from fieldstream_edge.spool.batch import DeadLetter, StoredBatch
from fieldstream_edge.spool.ledger import Spool
from fieldstream_edge.spool.reader import SpoolReader
from fieldstream_edge.uplink.encode import ReadingEncoder, encode_dead_letter

if TYPE_CHECKING:
    from fieldstream_schemas.sealing import Seal

log = logging.getLogger(__name__)
_QUEUE_MESSAGES = 30_000  # in librdkafka; about 200 bytes each
_QUEUE_KBYTES = 16 * 1024
_RETRY_S = 1.0
_CHUNK = 1000
# Errors that another attempt does not cure: the record itself is the trouble.
_FOR_GOOD = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP)


def producer_properties(settings: GatewaySettings) -> dict[str, str | int | float | bool]:
    """librdkafka properties; the operator's own come last, except those that the promises hang on."""
    kafka = settings.kafka
    properties: dict[str, str | int | float | bool] = {
        "bootstrap.servers": kafka.bootstrap,
        "client.id": f"fieldstream-gateway-{settings.gateway_id}",
        "linger.ms": kafka.linger_ms,
        "compression.type": kafka.compression,
        "queue.buffering.max.messages": _QUEUE_MESSAGES,
        "queue.buffering.max.kbytes": _QUEUE_KBYTES,
        "batch.num.messages": 10_000,
        "batch.size": 512 * 1024,
        "reconnect.backoff.max.ms": 10_000,
        "topic.metadata.refresh.interval.ms": 60_000,
        "log.connection.close": False,
        "log_level": 2,  # it logs every attempt to connect; what matters comes as an event, and is logged once
    }
    properties.update(kafka.properties)
    properties.update(
        {"enable.idempotence": True, "acks": "all", "message.timeout.ms": 0, "enable.gapless.guarantee": True}
    )
    return properties


def seal_of(settings: GatewaySettings) -> "Seal | None":
    """What encrypts dead letters' original bytes. Raises OSError for a key file that cannot be used."""
    if not settings.letter_public_key_file:
        return None
    from fieldstream_schemas.sealing import Seal, SealError  # cryptography: only where there is a key

    try:
        return Seal(Path(settings.letter_public_key_file))
    except SealError as error:
        raise OSError(f"letter_public_key_file: {error}") from error


@dataclass(slots=True)
class _Sent:
    """A batch on its way. The producer calls `report` once per entry."""

    last_seq: int
    readings: int
    entries: int
    left: int
    received_base: int
    uplink: "Uplink"

    def report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.uplink.failed(error, message)
        else:
            self.left -= 1


class Uplink(threading.Thread):
    """Sends what the spool holds, in a thread of its own, until `stop`."""

    def __init__(self, settings: GatewaySettings, spool: Spool, registry: SchemaRegistry, counters: Counters) -> None:
        super().__init__(name="uplink", daemon=True)
        self.connected = False
        self.problem = "not connected yet"
        self._settings = settings
        self._spool = spool
        self._registry = registry
        self._counters = counters
        self._stopping = threading.Event()
        self._producer: Producer | None = None
        self._failure: KafkaError | None = None
        self._sent: deque[_Sent] = deque()
        self._extra: deque[tuple[str, bytes, bytes]] = deque(maxlen=16)  # heartbeats: (topic, key, value)
        self._frames: dict[str, bytes] = {}
        self._seal = seal_of(settings)
        self._handed_over = 0  # the last seq given to the producer
        self._careful_until = 0  # up to this seq records are sent one by one, to find those that Kafka refuses
        self._refused: dict[int, str] = {}  # by seq: why Kafka refuses the record for good

    # -- for other threads -------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends the thread; what is not delivered stays in the spool."""
        self._stopping.set()
        self._spool.wake()

    def send_status(self, key: bytes, make_value: Callable[[bytes], bytes]) -> bool:
        """Queues a record for topic `gateways`; False while its schema id is not known yet."""
        frame = self._frames.get(GATEWAYS.name)
        if frame is None:
            return False
        self._extra.append((GATEWAYS.name, key, make_value(frame)))
        self._spool.wake()
        return True

    @property
    def oldest_received_ms(self) -> int | None:
        """Receive time of the oldest entry on its way, or None."""
        return self._sent[0].received_base if self._sent else None

    # -- the thread --------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Sends; after a failure begins again behind the last delivered seq."""
        failed_at: float | None = None
        while not self._stopping.is_set():
            try:
                self._learn_schemas()
                self._send_all()
            except (KafkaException, RegistryError, OSError) as error:
                self.connected, self.problem = False, str(error)
                if failed_at is None:
                    failed_at = time.monotonic()
                    log.warning("uplink: %s; the spool keeps everything, trying again", error)
                self._stopping.wait(_RETRY_S)
            finally:
                self._discard()
        self._spool.delivered(self._spool.delivered_seq, save=True)

    def _learn_schemas(self) -> None:
        for topic in (GATEWAYS, READINGS_RAW, DEAD_LETTERS):
            if topic.name not in self._frames:
                self._frames[topic.name] = frame_header(self._registry.id_of(topic))

    def failed(self, error: KafkaError, message: Message) -> None:
        """A delivery report says no. Called within poll."""
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return  # we threw the producer away
        if error.code() in _FOR_GOOD:
            self._careful_until = max(self._careful_until, self._handed_over)
        if self._failure is None:
            self._failure = error
            log.error("Kafka refused a record of %s: %s", message.topic(), error.str())
        self._counters.delivery_errors += 1

    def _event(self, error: KafkaError) -> None:
        """librdkafka's own events: connection lost, all brokers down, fatal errors."""
        if error.fatal() and self._failure is None:
            self._failure = error
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE):
            if self.connected or self.problem == "not connected yet":
                log.warning("Kafka is not reachable: %s; the spool keeps everything", error.str())
            self.connected = False
        self.problem = error.str()

    def _send_all(self) -> None:
        settings, spool = self._settings, self._spool
        self._failure = None
        self._producer = Producer(producer_properties(settings) | {"error_cb": self._event}, logger=log)
        encoder = ReadingEncoder(self._frames[READINGS_RAW.name], settings.gateway_id, spool.epoch)
        reader = SpoolReader(spool, spool.delivered_seq)
        budget = _Budget(settings.kafka.bytes_per_s)
        try:
            while not self._stopping.is_set():
                self._send_extra()
                batch = reader.next()
                if batch is None:
                    self._idle(reader.seq)
                    continue
                size = self._send_batch(batch, encoder)
                self._settle()
                budget.spend(size, self._wait)
        except _StoppedError:
            pass
        finally:
            reader.close()
        self._last_words()

    def _idle(self, seq: int) -> None:
        """Nothing to send: collects delivery reports, and waits for new entries."""
        if self._sent or len(self._require_producer()):
            self._poll(0.001 if not self._spool.wait_beyond(seq, 0.004) else 0)
        else:
            self._poll(0)
            self._spool.wait_beyond(seq, 0.2)
        self._settle()

    def _send_batch(self, batch: StoredBatch, encoder: ReadingEncoder) -> int:
        delivered = self._spool.delivered_seq
        if batch.last_seq <= delivered:
            return 0  # dropped by policy while it was read
        start = max(0, delivered + 1 - batch.first_seq)
        readings = max(0, len(batch.ts) - start)
        entries = batch.last_seq - batch.first_seq + 1 - start
        sent = _Sent(batch.last_seq, readings, entries, entries, batch.received_base, self)
        self._sent.append(sent)
        self._handed_over = batch.last_seq
        size = 0
        if readings:
            encoded = encoder.encode(batch, start)
            if batch.first_seq <= self._careful_until:
                self._send_carefully(encoded, batch.first_seq + start, sent)
                encoded = []
            for at in range(0, len(encoded), _CHUNK):
                size += self._produce_readings(encoded[at : at + _CHUNK], sent)
        for offset, letter in enumerate(batch.dead):
            seq = batch.first_seq + len(batch.ts) + offset
            if seq > delivered:
                size += self._send_letter(letter, seq, sent)
        return size

    def _send_letter(self, letter: DeadLetter, seq: int, sent: _Sent) -> int:
        gateway_id, frame = self._settings.gateway_id, self._frames[DEAD_LETTERS.name]
        value = encode_dead_letter(
            letter, frame=frame, gateway_id=gateway_id, epoch=self._spool.epoch, seq=seq, seal=self._seal
        )
        self._produce(DEAD_LETTERS.name, gateway_id.encode(), value, sent.report)
        return len(value)

    def _produce_readings(self, encoded: list[tuple[bytes, int, bytes]], sent: _Sent) -> int:
        produce, report, topic = self._require_producer().produce, sent.report, READINGS_RAW.name
        size = 0
        for key, ts, value in encoded:
            while True:
                try:
                    produce(topic, value, key, on_delivery=report, timestamp=ts)
                    break
                except BufferError:
                    self._poll(0.05)
            size += len(value)
        self._poll(0)
        return size

    def _send_carefully(self, encoded: list[tuple[bytes, int, bytes]], seq: int, sent: _Sent) -> None:
        """One record at a time; what Kafka refuses for good becomes a dead letter with the same seq.

        After a refusal the producer is done for: the exception leads to a new one, which then finds the seq noted.
        """
        for number, (key, ts, value) in enumerate(encoded, seq):
            why = self._refused.get(number)
            if why is not None:
                self._send_refused(number, key, ts, value, why, sent)
                continue
            self._require_producer().produce(
                READINGS_RAW.name, value, key, on_delivery=partial(self._careful_report, number, sent), timestamp=ts
            )
            left = sent.left
            while sent.left == left:
                self._poll(0.2)

    def _careful_report(self, seq: int, sent: _Sent, error: KafkaError | None, message: Message) -> None:
        if error is not None and error.code() in _FOR_GOOD:
            self._refused[seq] = error.str()
            self._counters.reasons["refused"] += 1
        sent.report(error, message)

    def _send_refused(self, seq: int, key: bytes, ts: int, value: bytes, why: str, sent: _Sent) -> None:  # noqa: PLR0917
        letter = DeadLetter(
            reason="refused",
            detail=f"Kafka refuses the record: {why}",
            source=READINGS_RAW.name,
            payload=value[:65536],
            payload_size=len(value),
            received_at=ts,
            device_id=key.decode(),
        )
        self._send_letter(letter, seq, sent)

    def _produce(
        self, topic: str, key: bytes, value: bytes, report: Callable[[KafkaError | None, Message], None] | None
    ) -> None:
        while True:
            try:
                self._require_producer().produce(topic, value, key, on_delivery=report)
                return
            except BufferError:
                self._poll(0.05)

    def _send_extra(self) -> None:
        while self._extra:
            topic, key, value = self._extra.popleft()
            self._produce(topic, key, value, self._status_report)

    def _status_report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed(error, message)
        else:
            self._reached()

    def _reached(self) -> None:
        if not self.connected:
            self.connected, self.problem = True, ""
            log.info("Kafka takes records")

    def _poll(self, timeout_s: float) -> None:
        """Serves delivery reports. Raises KafkaException after a failed delivery, or at a stop."""
        producer = self._require_producer()
        producer.poll(timeout_s)
        if self._failure is not None:
            raise KafkaException(self._failure)
        if self._stopping.is_set():
            raise _StoppedError(KafkaError(KafkaError._STATE, "stopping"))

    def _wait(self, seconds: float) -> None:
        """Waits while serving delivery reports: the bandwidth limit."""
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            self._poll(min(rest, 0.1))
            self._settle()

    def _settle(self) -> None:
        """Notes batches that are wholly delivered, oldest first."""
        sent, done = self._sent, 0
        while sent and not sent[0].left:
            batch = sent.popleft()
            done = batch.last_seq
            self._counters.delivered += batch.readings
            self._counters.delivered_entries += batch.entries
        if done:
            self._spool.delivered(done)
            if self._refused and done > self._careful_until:
                self._refused.clear()
            self._reached()

    def _last_words(self) -> None:
        """At a clean stop: what is already with the producer gets a moment to arrive."""
        producer = self._require_producer()
        while self._extra:
            topic, key, value = self._extra.popleft()
            producer.produce(topic, value, key, on_delivery=self._status_report)
        producer.flush(3.0)
        self._settle()

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        self._sent.clear()
        if producer is not None:
            self._counters.producer_restarts += 1
            producer.purge()
            producer.flush(1.0)

    def _require_producer(self) -> Producer:
        assert self._producer is not None  # noqa: S101 - for the type checker: set for as long as the thread sends
        return self._producer


class _StoppedError(KafkaException):
    """The uplink is stopping: a way out of nested waits."""


class _Budget:
    """Keeps the average rate below a limit."""

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    def spend(self, size: int, wait: Callable[[float], None]) -> None:
        """Accounts for `size` bytes, and waits as long as they take at the limit."""
        if self._bytes_per_s:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self._bytes_per_s
            if self._free_at - now > 0.02:
                wait(self._free_at - now)
