"""`fieldstream tracer`: the way of some readings, chosen by chance, sent to OpenTelemetry.

At moments of chance it takes one of the readings that just came to readings.raw, and asks for it everywhere once its
window must be over. What is chosen before it is known what becomes of it also shows what gets lost.
"""

import logging
import random
import signal
import threading
import time
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition
from fieldstream_schemas.framed import RecordReader
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.topics import READINGS_CLEAN, READINGS_RAW, Topic
from prometheus_client import Counter

from fieldstream_central.certificate import show_metrics
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouseError
from fieldstream_central.trace import Arrival, Name, complete, partitions, placed, searcher, trace
from fieldstream_central.trace_export import ExportError, export

_TURN_S = 1.0
RESULTS = ("complete", "incomplete", "unreadable", "failed")
log = logging.getLogger("fieldstream.tracer")

CHOSEN = Counter("fieldstream_tracer_readings_chosen_total", "Readings chosen by chance, to be traced")
TRACED = Counter(
    "fieldstream_tracer_readings_total",
    "What became of them: complete (stored and in a window), incomplete, unreadable (bytes that are no reading), "
    "failed (Kafka, registry or ClickHouse did not answer)",
    ["result"],
)
UNSENT = Counter("fieldstream_tracer_unsent_total", "Traces that the collector did not take")


@dataclass(frozen=True)
class Chosen:
    """A reading that came, and when to ask for it (monotonic)."""

    arrival: Arrival
    due: float


class Tracer:
    """Chooses and traces. `run` returns after `stop`; what was chosen by then is not traced."""

    def __init__(self, settings: Settings, url: str, every_s: float, after_s: float) -> None:
        self._settings, self._url, self._every_s, self._after_s = settings, url, every_s, after_s
        self._reader = RecordReader(SchemaRegistry(settings.registry, settings.schema_cache), READINGS_RAW)
        self._stopping = threading.Event()
        self._chance, self._choose_at = random.SystemRandom(), 0.0
        self._ends: tuple[list[TopicPartition], list[TopicPartition]] | None = None  # of clean, then of raw
        self._waiting: list[Chosen] = []
        self._problem = ""

    def stop(self) -> None:
        """Ends `run` after the turn in hand."""
        self._stopping.set()

    def run(self) -> None:
        """A turn each second."""
        while not self._stopping.wait(_TURN_S):
            try:
                self._turn(time.monotonic())
            except ExportError as error:
                UNSENT.inc()
                self._tell(f"readings go on being traced, but {error}")
            except (KafkaException, RegistryError, ClickHouseError) as error:
                self._tell(f"readings cannot be traced: {error}")

    def _turn(self, now: float) -> None:
        if now >= self._choose_at:
            with closing(searcher(self._settings)) as consumer:
                self._choose(consumer, now)
        if self._waiting and now >= self._waiting[0].due:
            self._trace(self._waiting.pop(0).arrival)

    def _choose(self, consumer: Consumer, now: float) -> None:
        """First where the topics end, then one of what came since: what is chosen is not in readings.clean before."""
        if self._ends is None:
            self._ends = _ends(consumer, READINGS_CLEAN), _ends(consumer, READINGS_RAW)
            return
        clean, before = self._ends
        came = [(one, end.offset - one.offset) for one, end in zip(before, _ends(consumer, READINGS_RAW), strict=False)]
        if not any(number for _, number in came):
            return
        self._ends = None
        # At times of chance, or a device with the same period would always be the one, or never.
        self._choose_at = now + self._chance.expovariate(1 / self._every_s)
        [(start, number)] = self._chance.choices(came, [number for _, number in came])
        consumer.assign([TopicPartition(start.topic, start.partition, start.offset + self._chance.randrange(number))])
        for message in consumer.consume(1, timeout=10):
            if error := message.error():
                raise KafkaException(error)
            CHOSEN.inc()
            try:
                record = placed(self._reader.read(message.value() or b""), message)
            except (ValueError, EOFError, IndexError, KeyError):  # the pipeline makes a dead letter of it
                TRACED.labels("unreadable").inc()
            else:
                self._waiting.append(Chosen(Arrival(record, clean), now + self._after_s))

    def _trace(self, arrival: Arrival) -> None:
        name = Name(*(arrival.record[field] for field in ("device_id", "metric", "ts")))
        try:
            hops = list(trace(self._settings, name, arrival))
        except (KafkaException, RegistryError, ClickHouseError):
            TRACED.labels("failed").inc()
            raise
        TRACED.labels("complete" if complete(hops) else "incomplete").inc()
        export(self._settings, self._url, name, hops)
        self._tell("")

    def _tell(self, problem: str) -> None:
        """Once that it began, once that it is over."""
        if problem != self._problem:
            log.warning("%s", problem or "readings are traced and sent again")
        self._problem = problem


def _ends(consumer: Consumer, topic: Topic) -> list[TopicPartition]:
    found = partitions(consumer, topic, 0)
    for one in found:
        one.offset = consumer.get_watermark_offsets(one, timeout=10)[1]
    return found


def serve(settings: Settings, url: str, every_s: float, after_s: float) -> None:
    """The tracer and its metrics, until SIGTERM or SIGINT."""
    for result in RESULTS:
        TRACED.labels(result)
    show_metrics(settings, settings.tracer_metrics_port)
    tracer = Tracer(settings, url, every_s, after_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: tracer.stop())
    log.info("traces a reading every %g s on average, sent to %s", every_s, url)
    tracer.run()
    log.info("stopped")
