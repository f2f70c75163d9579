"""From messages to the spool: decode, judge the time, recognise what came before, store, and only then acknowledge.

Several brokers' threads share one acceptor. `accept` and `commit` run under `lock`; whatever is pending is committed
together, so a duplicate is never acknowledged before its original is durable.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fieldstream_schemas.quality import BAD, GOOD, UNCERTAIN, Flag, names

from fieldstream_edge.counters import Counters
from fieldstream_edge.event_time import OLDEST_MS, broker_time, judge
from fieldstream_edge.identity import Identity, Series
from fieldstream_edge.intake.rate import DeviceRates
from fieldstream_edge.intake.topics import Route, Router
from fieldstream_edge.payloads.decoded import Decoded, Item, PayloadError, Refused
from fieldstream_edge.payloads.json import MAX_TEXT, decode_metric
from fieldstream_edge.redelivery import Redeliveries
from fieldstream_edge.settings import IntakeSettings, MappingSettings
from fieldstream_edge.spool.batch import Batch, DeadLetter
from fieldstream_edge.spool.ledger import Spool

log = logging.getLogger(__name__)
PAYLOAD_KEPT = 64 * 1024
_ROUTES = 50_000  # topics kept decoded; beyond it the cache starts anew
_REPLACED = Flag.TS_ABSENT | Flag.TS_ABSURD | Flag.TS_FUTURE
_CLOCKS = 1000  # devices whose clock offset is remembered
_BATCH_READINGS = 20_000
_BATCH_DEAD_BYTES = 2 << 20
_QUALITIES = {GOOD: GOOD, UNCERTAIN: UNCERTAIN, BAD: BAD}


@dataclass(slots=True)
class _Topic:
    route: Route
    series: Series | None
    generation: int


@dataclass(slots=True)
class Message:
    """One MQTT message with what its acknowledgement needs. `size` is that of the original payload."""

    topic: str
    payload: bytes
    packet_id: int | None = None
    duplicate: bool = False
    size: int = -1
    broker_time: str = ""  # when the broker took it in, as it says itself


@dataclass
class _Pending:
    batch: Batch = field(default_factory=Batch)
    # Acknowledgements by whoever sends them; they are handed over once the batch is durable.
    acknowledge: dict[Callable[[list[int]], None], list[int]] = field(default_factory=dict)
    since: float = 0.0
    flagged: list[int] = field(default_factory=list)
    messages: int = 0
    duplicates: int = 0
    taken_in: int = 0  # when the last message left its device, see Acceptor._taken_in


def _rates(settings: IntakeSettings) -> DeviceRates | None:
    return DeviceRates(settings.device_messages_per_s) if settings.device_messages_per_s else None


class Acceptor:
    """Takes messages in, batch by batch."""

    def __init__(
        self,
        spool: Spool,
        counters: Counters,
        settings: IntakeSettings,
        *,
        mappings: Sequence[MappingSettings] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lock = threading.Lock()
        self._spool = spool
        self._counters = counters
        self._settings = settings
        self._tolerance_ms = int(settings.future_tolerance_s * 1000)
        self._rates = _rates(settings)
        self._clock = clock
        self._identity = Identity(spool)
        self._redeliveries = Redeliveries(spool)
        self._router = Router(mappings)
        self._topics: dict[str, _Topic] = {}
        self._commands: dict[int, list[tuple[str, bytes]]] = {}  # by broker
        self._pending = _Pending()
        self._received = 0  # receive time of the messages being taken in, ms
        self._horizon = 0  # event times beyond it are in the future
        self.clock_offsets: dict[str, int] = {}  # event time minus receive time, ms, of devices seen last
        self.offset_samples: list[int] = []  # event time minus receive time, ms, of some recent readings

    # -- under the lock ----------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the pending batch should be committed before more is taken in."""
        batch = self._pending.batch
        return len(batch.ts) >= _BATCH_READINGS or batch.dead_bytes >= _BATCH_DEAD_BYTES or len(batch.dead) >= 5000

    @property
    def pending(self) -> bool:
        """Whether anything waits for a commit."""
        return bool(self._pending.messages)

    def accept(self, messages: list[Message], broker: int, acknowledge: Callable[[list[int]], None]) -> None:
        """Takes messages into the pending batch; `acknowledge` gets their packet ids after the commit, in order."""
        self._received = int(self._clock() * 1000)
        self._horizon = self._received + self._tolerance_ms
        pending = self._pending
        acknowledgements = pending.acknowledge.setdefault(acknowledge, [])
        pending.messages += len(messages)
        for message in messages:
            self._take(message, broker)
            if message.packet_id is not None:
                acknowledgements.append(message.packet_id)
        if commands := self._router.rebirths():
            self._commands.setdefault(broker, []).extend(commands)
        pending.taken_in = self._taken_in(messages[-1])

    def commit(self) -> None:
        """Stores what is pending, then hands out the acknowledgements.

        Raises SpoolFullError or SpoolIOError; then everything stays pending, and commit may be called again.
        """
        pending = self._pending
        if len(pending.batch):
            self._spool.store(pending.batch)
        self._pending = _Pending()
        self._count(pending)
        for acknowledge, packet_ids in pending.acknowledge.items():
            acknowledge(packet_ids)

    def _count(self, pending: _Pending) -> None:
        counters, batch = self._counters, pending.batch
        counters.messages += pending.messages
        counters.readings += len(batch.ts)
        counters.dead_letters += len(batch.dead)
        counters.accepted += len(batch)
        counters.duplicates += pending.duplicates
        for letter in batch.dead:
            counters.reasons[letter.reason] += 1
        for flags in pending.flagged:
            for name in names(flags):
                counters.flags[name] += 1
        if batch.ts and not batch.descriptors[-1].flags & _REPLACED:
            self._note_clock(batch.descriptors[-1].device_id, batch.ts[-1] - pending.taken_in)

    def _note_clock(self, device_id: str, offset_ms: int) -> None:
        """One sample per commit is enough to see a clock that is wrong."""
        self.offset_samples = [offset_ms, *self.offset_samples[:99]]
        self.clock_offsets.pop(device_id, None)
        self.clock_offsets[device_id] = offset_ms
        if len(self.clock_offsets) > _CLOCKS:
            del self.clock_offsets[next(iter(self.clock_offsets))]

    def commands(self, broker: int) -> list[tuple[str, bytes]]:
        """(topic, payload) of messages that this broker should get, once: Sparkplug's requests for a rebirth."""
        return self._commands.pop(broker, [])

    def reconfigure(self, settings: IntakeSettings, mappings: Sequence[MappingSettings]) -> None:
        """New settings, between two batches. Call it under the lock."""
        self._settings = settings
        self._tolerance_ms = int(settings.future_tolerance_s * 1000)
        self._rates = _rates(settings)
        self._router = Router(mappings, before=self._router)
        self._topics.clear()

    # -- one message -------------------------------------------------------------------------------------------

    def _take(self, message: Message, broker: int) -> None:
        topic = self._topics.get(message.topic)
        if topic is None or topic.generation != self._identity.generation:
            topic = self._topic(message.topic)
        packet_id, payload = message.packet_id, message.payload
        if self._rates is not None and not self._within_rate(self._rates, topic.route, message):
            return
        if message.duplicate and packet_id is not None and self._came_before(message, broker, packet_id):
            return
        batch = self._pending.batch
        dead = len(batch.dead)
        identified = True  # every reading of the message carries its own event time
        try:
            if topic.series is not None and message.size < 0 and len(payload) <= self._settings.max_payload_bytes:
                decoded = decode_metric(payload)
            else:
                decoded = self._decode_other(message, topic.route)
            if isinstance(decoded, list):
                identified = self._take_items(topic.series, decoded, message)
            else:
                identified = self._take_decoded(topic, decoded, message)
        except PayloadError as error:
            self._refuse(message, Refused(error.reason, error.detail, payload), topic.route)
        if packet_id is not None:
            if identified and len(batch.dead) == dead:
                self._redeliveries.forget(broker, packet_id)
            else:
                batch.marks.append(self._redeliveries.mark(broker, packet_id, message.topic, payload))

    def _within_rate(self, rates: DeviceRates, where: Route, message: Message) -> bool:
        device, now_s = where.device_id or message.topic, self._received / 1000
        if rates.allows(device, now_s):
            return True
        self._counters.rate_limited += 1
        if count := rates.to_tell(device, now_s):
            limit = self._settings.device_messages_per_s
            detail = f"{count} messages beyond intake.device_messages_per_s ({limit:g}) since the last such letter"
            self._refuse(message, Refused("rate-limit", detail, message.payload), where)
        return False

    def _came_before(self, message: Message, broker: int, packet_id: int) -> bool:
        if not self._redeliveries.seen(broker, packet_id, message.topic, message.payload):
            return False
        self._pending.duplicates += 1
        return True

    def _take_items(self, series: Series | None, items: list[Item], message: Message) -> bool:
        """Takes readings of one series; whether each carried its own usable event time."""
        assert series is not None  # noqa: S101 - for the type checker: only topics with a metric yield items
        batch, received, horizon = self._pending.batch, self._received, self._horizon
        identified = True
        for item in items:
            ts = item.ts
            if (
                ts.__class__ is int
                and series.max_ts < ts <= horizon
                and ts >= OLDEST_MS
                and item.quality is None
                and item.operator is None
                and (descriptor := series.by_unit.get(item.unit)) is not None
            ):
                value = item.value
                series.max_ts = ts
                series.ts.append(ts)
                series.values.append(value)
                batch.descriptors.append(descriptor)
                batch.ts.append(ts)
                batch.values.append(value)
                batch.received.append(received)
            else:
                identified = self._take_item(series, item, message) and identified
        return identified

    def _take_item(self, series: Series, item: Item, message: Message, flags: int = 0) -> bool:
        """Takes one reading, whatever its time; whether its event time is its own."""
        try:
            ts, replaced = judge(item.ts, self._horizon)
            unit, quality, operator = item.unit, item.quality, item.operator
            if max(len(unit or ""), len(operator or ""), len(quality or "")) > MAX_TEXT:
                raise PayloadError("bad-form", f"a text is longer than {MAX_TEXT} characters")
        except PayloadError as error:
            self._refuse_item(message, series, error.reason, error.detail)
            return True
        level = GOOD if quality is None else _QUALITIES.get(quality.lower(), UNCERTAIN)
        if replaced:
            ts = self._identity.free_time(series, self._taken_in(message))
            if ts > self._horizon:
                detail = "more than 1,000 readings a second without a usable ts; let the device send its own ts"
                self._refuse_item(message, series, "rate-limit", detail)
                return True
            if isinstance(item.ts, int | float) and replaced == Flag.TS_FUTURE:
                self._note_clock(series.device_id, int(min(item.ts, 1e15)) - self._taken_in(message))
            flags |= replaced
            level = UNCERTAIN if level == GOOD else level
        elif ts <= series.max_ts:
            known = self._identity.find(series, ts)
            if known is not None:
                self._meet_again(series, item, ts, known, message)
                return True
        self._identity.add(series, ts, item.value)
        batch = self._pending.batch
        batch.descriptors.append(series.descriptor(unit, level, int(flags), operator))
        batch.ts.append(ts)
        batch.values.append(item.value)
        batch.received.append(self._received)
        if flags:
            self._pending.flagged.append(flags)
        return not replaced

    def _taken_in(self, message: Message) -> int:
        """When the message left the device, as well as we can tell, ms: the broker's time, or else the receive time."""
        return (message.broker_time and broker_time(message.broker_time, self._horizon)) or self._received

    def _meet_again(self, series: Series, item: Item, ts: int, known: float, message: Message) -> None:
        if known == item.value:
            self._pending.duplicates += 1
            return
        detail = f"ts {ts}: {known!r} was accepted before, now {item.value!r}; the first one stands"
        self._refuse_item(message, series, "conflict", detail)

    def _take_decoded(self, topic: _Topic, decoded: Decoded, message: Message) -> bool:
        identified = True
        if decoded.items:
            identified = self._take_items(topic.series, decoded.items, message)
        for named in decoded.named:
            device_id = named.device_id or topic.route.device_id
            if not named.metric or max(len(named.metric), len(device_id)) > MAX_TEXT:
                refused = Refused("bad-form", f"a name is empty or longer than {MAX_TEXT} characters", message.payload)
                self._refuse(message, refused, topic.route)
                continue
            series = self._identity.series(device_id, named.metric)
            own = self._take_item(series, named.item, message, named.flags)
            identified = own and identified
        for refused in decoded.refused:
            self._refuse(message, refused, topic.route)
        return identified

    def _decode_other(self, message: Message, where: Route) -> list[Item] | Decoded:
        """Everything that is not an ordinary message on a topic with a metric. Raises PayloadError."""
        size = max(message.size, len(message.payload))
        if where.own:
            self._counters.own_messages += 1
            return Decoded()
        if size > self._settings.max_payload_bytes:
            limit = self._settings.max_payload_bytes
            raise PayloadError("too-large", f"{size} bytes; the limit intake.max_payload_bytes is {limit}")
        if where.problem:
            raise PayloadError("bad-topic", where.problem)
        if where.decode is None:  # an ordinary topic: the message was cut because it is large
            return decode_metric(message.payload)
        return where.decode(message.payload, self._taken_in(message))

    def _refuse_item(self, message: Message, series: Series, reason: str, detail: str) -> None:
        refused = Refused(reason, detail, message.payload, series.metric)
        self._refuse(message, refused, Route(series.device_id, series.metric))

    def _refuse(self, message: Message, refused: Refused, where: Route) -> None:
        whole = refused.payload is message.payload
        letter = DeadLetter(
            reason=refused.reason,
            detail=refused.detail,
            source=message.topic[:1024],
            payload=bytes(refused.payload[:PAYLOAD_KEPT]),
            payload_size=max(message.size, len(message.payload)) if whole else len(refused.payload),
            received_at=self._received,
            device_id=where.device_id or None,
            metric=refused.metric or where.metric or None,
        )
        self._pending.batch.add_dead(letter)

    def _topic(self, name: str) -> _Topic:
        where = self._router.route(name)
        series = self._identity.series(where.device_id, where.metric) if where.plain else None
        if len(self._topics) >= _ROUTES:
            self._topics.clear()
        topic = self._topics[name] = _Topic(where, series, self._identity.generation)
        return topic
