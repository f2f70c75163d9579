"""`fieldstream trace DEVICE METRIC TS`: where one reading is or was, hop by hop, with what each hop took.

Nothing is added to a reading for this: its own name (device, metric, ts) and the gateway's (gateway, epoch, seq) are
in every record, so that each store that it passes is asked for it.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from fieldstream_schemas.framed import RecordReader
from fieldstream_schemas.registry import SchemaRegistry
from fieldstream_schemas.topics import READINGS_CLEAN, READINGS_RAW, Topic

from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouse

SEARCHED_MOST = 500_000  # records of a partition, from the first one that is as new as the reading
_IDLE_S = 5.0
WINDOW_MS = 10_000

_STORED = """
SELECT value, quality, flag_names, gateway_id, epoch, seq, toUnixTimestamp64Milli(received_at) AS received_at,
    toUnixTimestamp64Milli(processed_at) AS processed_at, toUnixTimestamp64Milli(stored_at) AS stored_at
FROM fieldstream.readings WHERE device_id = {device:String} AND metric = {metric:String}
    AND ts = fromUnixTimestamp64Milli({ts:Int64})"""
_WINDOW = """
SELECT count, revision, toUnixTimestamp64Milli(stored_at) AS stored_at FROM fieldstream.windows
WHERE device_id = {device:String} AND metric = {metric:String}
    AND window_start = fromUnixTimestamp64Milli({ts:Int64})"""
_LETTERS = """
SELECT reason, detail, origin, toUnixTimestamp64Milli(received_at) AS received_at FROM fieldstream.dead_letters
WHERE device_id = {device:String} AND metric = {metric:String}
    AND received_at BETWEEN fromUnixTimestamp64Milli({ts:Int64} - 3600000)
        AND fromUnixTimestamp64Milli({ts:Int64} + 3600000)
ORDER BY received_at LIMIT 20"""
_ALARMS = """
SELECT kind, severity, state, reason, toUnixTimestamp64Milli(detected_at) AS detected_at FROM fieldstream.anomalies
WHERE device_id = {device:String} AND metric IN ('', {metric:String})
    AND started_at <= fromUnixTimestamp64Milli({ts:Int64})
    AND coalesce(ended_at, now64(3)) >= fromUnixTimestamp64Milli({ts:Int64})"""
_GATEWAYS = """
SELECT gateway_id, spool_readings, toUnixTimestamp64Milli(ts) AS at FROM fieldstream.gateways_data
WHERE ts > now() - INTERVAL 1 DAY ORDER BY ts DESC LIMIT 1 BY gateway_id"""


@dataclass(frozen=True)
class Hop:
    """One place: whether the reading was found there, what is known of it, and when it came, epoch ms."""

    place: str
    found: bool
    said: str
    at: int | None = None


class Name(NamedTuple):
    """What a reading is called everywhere; `ts` in epoch ms."""

    device: str
    metric: str
    ts: int


@dataclass(frozen=True)
class Arrival:
    """A record of readings.raw (with its `place`) that was seen to come, and where readings.clean ended before it."""

    record: dict[str, Any]
    clean_from: list[TopicPartition]


def trace(settings: Settings, name: Name, arrival: Arrival | None = None) -> Iterator[Hop]:
    """Every hop in the order of the data. Raises KafkaException, RegistryError, ClickHouseError.

    With `arrival` the search begins there, and ends with the first that is found: short, and sure however late the
    reading came.
    """
    raw = [arrival.record] if arrival else _in_topic(settings, READINGS_RAW, name)
    yield _raw_hop(raw)
    clean = _in_topic(settings, READINGS_CLEAN, name, arrival.clean_from if arrival else None)
    yield _clean_hop(clean)
    with ClickHouse(settings.clickhouse) as store:
        yield from _stored_hops(store, name._asdict(), found=bool(raw or clean))


def _raw_hop(found: list[dict[str, Any]]) -> Hop:
    if not found:
        return Hop(READINGS_RAW.name, False, "not in the topic, or older than its retention")
    first = found[0]
    told = f"{first['place']}: value {first['value']}, gateway {first['gateway_id']} {first['epoch']}/{first['seq']}"
    again = f"; sent {len(found)} times" if len(found) > 1 else ""
    return Hop(READINGS_RAW.name, True, told + again, first["received_at"])


def _clean_hop(found: list[dict[str, Any]]) -> Hop:
    if not found:
        return Hop(
            READINGS_CLEAN.name, False, "not in the topic: not processed yet, a dead letter, or beyond retention"
        )
    first = found[0]
    told = f"{first['place']}: asset {first['asset_id'] or 'unknown'}, lateness {first['lateness_ms']} ms"
    return Hop(READINGS_CLEAN.name, True, told, first["processed_at"])


def _stored_hops(store: ClickHouse, what: dict[str, Any], *, found: bool) -> Iterator[Hop]:
    rows = store.rows(_STORED, what)
    for row in rows:
        told = f"value {row['value']}, quality {row['quality']}, {', '.join(row['flag_names']) or 'no flags'}"
        yield Hop("ClickHouse", True, told, row["stored_at"])
    if not rows:
        yield Hop("ClickHouse", False, "no such reading is stored")
    for row in store.rows(_WINDOW, what | {"ts": what["ts"] - what["ts"] % WINDOW_MS}):
        told = f"{row['count']} readings, revision {row['revision']}"
        yield Hop("its window", True, told, row["stored_at"])
    for row in store.rows(_ALARMS, what):
        yield Hop(
            "an alarm", True, f"{row['severity']} {row['kind']}, {row['state']}: {row['reason']}", row["detected_at"]
        )
    if rows or found:
        return
    for row in store.rows(_LETTERS, what):
        told = f"{row['reason']} by {row['origin']}: {row['detail']}"
        yield Hop("a dead letter within the hour", True, told, row["received_at"])
    for row in store.rows(_GATEWAYS):
        if row["spool_readings"]:
            told = f"{row['gateway_id']} holds {row['spool_readings']} readings that are not delivered yet"
            yield Hop("perhaps in a gateway", False, told, row["at"])


def complete(hops: Iterable[Hop]) -> bool:
    """Whether the reading came as far as every reading must: it is stored, and counted in its window."""
    return {"ClickHouse", "its window"} <= {hop.place for hop in hops if hop.found}


def searcher(settings: Settings) -> Consumer:
    """A consumer that leaves no trace of itself in Kafka."""
    return Consumer({**connection(settings), "group.id": "fieldstream-trace", "log_level": 0,
                     "enable.auto.commit": False})  # fmt: skip


def partitions(consumer: Consumer, topic: Topic, offset: int) -> list[TopicPartition]:
    """All that the topic has, each with this offset. Raises KafkaException."""
    found = consumer.list_topics(topic.name, timeout=10).topics[topic.name]
    if found.error:
        raise KafkaException(found.error)
    return [TopicPartition(topic.name, number, offset) for number in sorted(found.partitions)]


def placed(record: dict[str, Any], message: Message) -> dict[str, Any]:
    """The record, and where in its topic it is."""
    return record | {"place": f"partition {message.partition()}, offset {message.offset()}"}


def _in_topic(
    settings: Settings, topic: Topic, name: Name, starts: list[TopicPartition] | None = None
) -> list[dict[str, Any]]:
    """The readings of this name in a topic, each with its `place`. Their time is the record's time.

    The first from `starts` on; without, all from the first record on that is as new.
    """
    reader = RecordReader(SchemaRegistry(settings.registry, settings.schema_cache), topic)
    found = []
    with closing(searcher(settings)) as consumer:
        for message in _from(consumer, starts or _as_new(consumer, topic, name.ts)):
            key, (_, written) = message.key(), message.timestamp()
            if written != name.ts or (key.decode() if isinstance(key, bytes) else key) != name.device:
                continue
            record = reader.read(message.value() or b"")
            if record["metric"] == name.metric and record["ts"] == name.ts:
                found.append(placed(record, message))
                if starts:
                    break
    return found


def _as_new(consumer: Consumer, topic: Topic, ts: int) -> list[TopicPartition]:
    """Where in each partition the first record is that is as new as `ts`; partitions that have none are left out."""
    starts = consumer.offsets_for_times(partitions(consumer, topic, ts), timeout=10)
    for start in starts:
        if start.error:
            raise KafkaException(start.error)
    return [start for start in starts if start.offset >= 0]


def _from(consumer: Consumer, starts: list[TopicPartition]) -> Iterator[Message]:
    """The records of all partitions side by side, from `starts` to their present ends, at most SEARCHED_MOST each."""
    ends = {}
    for start in starts:
        end = min(consumer.get_watermark_offsets(start, timeout=10)[1], start.offset + SEARCHED_MOST)
        if start.offset < end:
            ends[start.partition] = end
    consumer.assign([start for start in starts if start.partition in ends])
    while ends:
        messages = consumer.consume(10_000, timeout=_IDLE_S)
        if not messages:  # the rest are no records, or Kafka is away
            return
        for message in messages:
            if error := message.error():
                raise KafkaException(error)
            number, at = message.partition() or 0, message.offset() or 0
            if at >= ends.get(number, 0) - 1:
                ends.pop(number, None)
            yield message


def lines(hops: Iterator[Hop]) -> Iterator[str]:
    """Each hop for people: found or not, when, how long after the one before."""
    before: int | None = None
    for hop in hops:
        when = f"{datetime.fromtimestamp(hop.at / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] if hop.at else ""
        took = f"+{(hop.at - before) / 1000:.3f} s" if hop.at and before else ""
        before = hop.at or before
        yield f"{'found' if hop.found else '-':<6} {hop.place:<16} {when:<24} {took:<12} {hop.said}"


def rows(hops: Iterator[Hop]) -> list[dict[str, Any]]:
    """Each hop for programs."""
    return [asdict(hop) for hop in hops]
