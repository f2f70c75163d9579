"""Topics into ClickHouse: `python -m fieldstream_central.store.loader` (or `fieldstream loader`).

One turn: take what has arrived (at most 10,000 records or half a second's worth), store it topic by topic,
write dead letters for what cannot be stored, commit the offsets. Whatever happens between those steps, the
next turn reads the same records again, and the tables fold what comes twice.
"""

import logging
import signal
import threading
import time
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.topics import DEAD_LETTERS

from fieldstream_central.certificate import show_metrics
from fieldstream_central.kafka_access import Properties, connection
from fieldstream_central.settings import Settings, load_settings
from fieldstream_central.store import loader_metrics as metrics
from fieldstream_central.store.blocks import TABLES, Record, record_of
from fieldstream_central.store.clickhouse import ClickHouse, without_password
from fieldstream_central.store.eraser import erasure
from fieldstream_central.store.inserting import Inserter, Refusal, StoppedError
from fieldstream_central.store.lag import LagMeter
from fieldstream_central.store.letter_locker import LetterLocker
from fieldstream_central.store.refused import DeadLetterWriter
from fieldstream_central.store.repair import upkeep

log = logging.getLogger("fieldstream.loader")

GROUP = "fieldstream-loader"
BATCH_RECORDS = 10_000
# With little flow a turn waits this long for more: 0.5 s keeps event to ClickHouse well below 2 s, and a part
# per table and half second is what merges keep up with.
BATCH_WAIT_S = 0.5
_LAG_EVERY_S = 2.0


def consumer_config(kafka: Properties, group: str) -> dict[str, object]:
    """Settings of the loader's consumer; `kafka` as kafka_access.connection returns it."""
    return {
        **kafka,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        # A loader killed with -9 is missed after this long, and its successor gets the partitions. Longer than a new
        # coordinator takes when a broker dies: who gives up before comes as a new member and waits for itself (ADR 97).
        "session.timeout.ms": 9000,
        "heartbeat.interval.ms": 1000,
        # Bounds what waits in memory while ClickHouse is away.
        "queued.max.messages.kbytes": 32768,
        "fetch.wait.max.ms": 100,
        "topic.metadata.refresh.interval.ms": 5000,
        "allow.auto.create.topics": False,
    }


class Loader:
    """One consumer, one ClickHouse. `run` returns after `stop`."""

    def __init__(self, settings: Settings, *, group: str = GROUP) -> None:
        self._stopping = threading.Event()
        self._waiting = False
        self._registry = SchemaRegistry(settings.registry, settings.schema_cache)
        self._clickhouse = ClickHouse(settings.clickhouse)
        self._consumer = Consumer(consumer_config(connection(settings), group))
        self._inserter = Inserter(self._clickhouse, self._registry, self._wait, metrics.RETRIES.inc)
        self._dead_letters = DeadLetterWriter(settings, self._registry)
        self._locker = LetterLocker(settings.pseudonym_key_file, self._registry)
        self._lags = {topic: LagMeter() for topic in TABLES}
        self._lag_due = 0.0
        self._last_problem = ""

    def stop(self) -> None:
        """Ends `run` after the block in hand; a block that waits for ClickHouse is left for the next start."""
        self._stopping.set()

    def run(self) -> None:
        """Until `stop`."""
        self._consumer.subscribe(list(TABLES), on_assign=self._assigned, on_revoke=self._revoked)
        try:
            while not self._stopping.is_set():
                self._turn()
        except StoppedError:
            log.info("stopped while waiting; the records in hand will be read again")
        finally:
            self._consumer.close()
            self._clickhouse.close()

    def _turn(self) -> None:
        try:
            messages = self._consumer.consume(BATCH_RECORDS, BATCH_WAIT_S)
        except KafkaException as error:
            self._problem(str(error))
            self._wait(1.0)
            return
        by_topic: dict[str, list[Record]] = {}
        for message in messages:
            failure = message.error()
            if failure is not None:
                self._problem(str(failure))
                continue
            by_topic.setdefault(message.topic() or "", []).append(record_of(message))
        for topic, records in by_topic.items():
            self._store(topic, records)
        if by_topic:
            self._commit(by_topic)
            self._last_problem = ""
        self._measure_lag(cached=True)

    def _store(self, topic: str, records: Sequence[Record]) -> None:
        started = time.monotonic()
        if topic == DEAD_LETTERS.name:
            records = self._locker.locked(records)
        refusals = self._inserter.store(TABLES[topic], records)
        metrics.FLUSH_SECONDS.observe(time.monotonic() - started)
        if refusals:
            self._give_up(refusals)
        metrics.ROWS.labels(topic).inc(len(records) - len(refusals))

    def _give_up(self, refusals: list[Refusal]) -> None:
        log.warning(
            "%d records of %s become dead letters, first %s/%d: %s",
            len(refusals),
            refusals[0].topic,
            refusals[0].record.partition,
            refusals[0].record.offset,
            refusals[0].detail[:300],
        )
        while True:
            try:
                self._dead_letters.write(refusals)
                break
            except (KafkaException, RegistryError) as error:
                self._problem(f"dead letters wait: {error}")
                self._wait(1.0)
        metrics.DEAD_LETTERS.inc(len(refusals))

    def _commit(self, by_topic: dict[str, list[Record]]) -> None:
        done: dict[tuple[str, int], int] = {}
        for topic, records in by_topic.items():
            for record in records:
                done[topic, record.partition] = record.offset + 1
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in done.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # The partition went to another loader, or the broker is away: the records come again and are folded.
            self._problem(f"offsets not committed: {error}")
        for (topic, partition), offset in done.items():
            self._lags[topic].read_to(partition, offset)

    def _wait(self, seconds: float) -> None:
        """Waits, remaining a member of the group; nothing new is fetched meanwhile. Raises StoppedError."""
        held = self._consumer.assignment()
        self._waiting = True
        self._consumer.pause(held)
        try:
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0:
                if self._stopping.is_set():
                    raise StoppedError
                self._consumer.poll(min(left, 0.2))
                self._measure_lag(cached=False)  # nothing is fetched now, so the broker is asked
        finally:
            self._waiting = False
            self._consumer.resume(self._consumer.assignment())

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("reads %d partitions", len(partitions))
        consumer.assign(partitions)
        if self._waiting:
            consumer.pause(partitions)
        for topic in TABLES:
            self._lags[topic] = LagMeter()
        for partition in consumer.committed(partitions, timeout=10):
            if partition.offset > 0:
                self._lags[partition.topic].read_to(partition.partition, partition.offset)

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("gives up %d partitions", len(partitions))

    def _measure_lag(self, *, cached: bool) -> None:
        now = time.monotonic()
        if now < self._lag_due:
            return
        self._lag_due = now + _LAG_EVERY_S
        try:
            for held in self._consumer.assignment():
                ends = self._consumer.get_watermark_offsets(held, timeout=0.5, cached=cached)
                if ends is not None and ends[1] >= 0:
                    self._lags[held.topic].ended_at(held.partition, ends[1], now)
        except KafkaException as error:
            self._problem(f"lag unknown: {error}")
        for topic, lag in self._lags.items():
            metrics.LAG_RECORDS.labels(topic).set(lag.records())
            metrics.LAG_SECONDS.labels(topic).set(lag.seconds(now))

    def _problem(self, text: str) -> None:
        if text != self._last_problem:
            log.warning("%s", text)
        self._last_problem = text


def serve(settings: Settings) -> None:
    """The loader, its metrics and the repair of late windows, until SIGTERM or SIGINT."""
    show_metrics(settings, settings.loader_metrics_port)
    loader = Loader(settings)
    loops = [*upkeep(settings.clickhouse), erasure(settings)]

    def stop(*_: object) -> None:
        loader.stop()
        for loop in loops:
            loop.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for loop in loops:
        loop.start()
    log.info("loads %s from %s into %s", ", ".join(TABLES), settings.kafka, without_password(settings.clickhouse))
    try:
        loader.run()
    finally:
        for loop in loops:
            loop.stop()
            loop.join(10)
    log.info("stopped")


def main() -> None:
    """Entry of `python -m fieldstream_central.store.loader`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    serve(load_settings())


if __name__ == "__main__":
    main()
