"""The alarms as Kafka tells them: topics `anomalies` and `alarms` read from their beginning, kept in memory.

Nothing else holds their state, so a restart of anything loses nothing, and any number of processes agree. Who acts
writes an event with the next number and waits until it comes back: if somebody else's event came first under that
number, the own one is void, and the caller is told whose holds.
"""

import logging
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from fieldstream_schemas.framed import RecordReader, framed
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.topics import ALARMS, ANOMALIES
from prometheus_client import Counter

from fieldstream_central.alarms.life import (
    EPISODE_ACTIONS,
    Action,
    Alarm,
    Episodes,
    Event,
    RefusedError,
    alarm_id_of,
    check,
    members_of,
    with_episode,
    with_event,
    with_parent,
)
from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings

_ANSWER_S = 10.0
# Given up before the caller is: an event that was reported lost must not arrive afterwards.
_DELIVERY_MS = 6_000
log = logging.getLogger("fieldstream.alarms")

VOID = Counter("fieldstream_alarm_events_void_total", "Events whose number somebody else's event had taken")
UNREADABLE = Counter("fieldstream_alarm_records_unreadable_total", "Records of the alarms' topics that no one can read")


class AlarmsAwayError(Exception):
    """Kafka does not answer, or the alarms have not been read yet; nothing was changed."""


class ConflictError(Exception):
    """Somebody else acted first; the message says who and what."""


Outcome = Alarm | RefusedError | ConflictError | AlarmsAwayError


class AlarmLog:
    """All alarms of the plant. `start` reads in the background; `ready` once everything of before has been read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = SchemaRegistry(settings.registry, settings.schema_cache)
        self._readers = {topic.name: RecordReader(self._registry, topic) for topic in (ANOMALIES, ALARMS)}
        self._latching = frozenset(settings.latching)
        self._alarms: dict[str, Alarm] = {}
        self._episodes = Episodes()
        self._waiting: dict[str, bool | None] = {}  # our own events on their way: event_id -> whether it holds
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._producer = Producer(
            {
                **connection(settings),
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 0,
                "log_level": 0,  # what fails is logged once, here
                "delivery.timeout.ms": _DELIVERY_MS,
            }
        )
        self._thread = threading.Thread(target=self._run, name="alarm-log", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the reading."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def ready(self, timeout_s: float = 0.0) -> bool:
        """Whether all that was written before has been read."""
        return self._ready.wait(timeout_s)

    def alarms(self) -> list[Alarm]:
        """Every alarm that has had an episode or an event. Raises AlarmsAwayError."""
        self._require_ready()
        with self._changed:
            return list(self._alarms.values())

    def alarm(self, alarm_id: str) -> Alarm:
        """One alarm; an empty one when there has been none. Raises AlarmsAwayError."""
        self._require_ready()
        with self._changed:
            return self._known(alarm_id)

    def perform(self, alarm_id: str, action: Action, who: str, *, revision: int | None = None, comment: str = "",
                until: int | None = None, mark: str = "") -> Alarm:  # fmt: skip
        """Does something to one alarm and returns it as it is then.

        `revision`: the one that the caller has seen. Raises RefusedError, ConflictError or AlarmsAwayError.
        """
        outcomes = self.perform_all({alarm_id: revision}, action, who, comment=comment, until=until, mark=mark)
        (outcome,) = outcomes.values()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def perform_all(self, seen: Mapping[str, int | None], action: Action, who: str, *, comment: str = "",
                    until: int | None = None, mark: str = "") -> dict[str, Outcome]:  # fmt: skip
        """The same to many alarms at once, each with the revision that the caller has seen: what became of each."""
        outcomes: dict[str, Outcome] = {}
        events: dict[str, Event] = {}
        try:
            self._require_ready()
        except AlarmsAwayError as error:
            return dict.fromkeys(seen, error)
        for alarm_id, revision in seen.items():
            with self._changed:
                alarm = self._known(alarm_id)
            event = _event(alarm, action, who, comment=comment, until=until, mark=mark)
            try:
                if revision is not None and revision != alarm.revision:
                    raise ConflictError(_who_was_first(alarm))
                check(alarm, event)
                events[alarm_id] = event
            except (ConflictError, RefusedError) as error:
                outcomes[alarm_id] = error
        return outcomes | self._carry_out(events)

    def _carry_out(self, events: dict[str, Event]) -> dict[str, Outcome]:
        """Writes the events and waits until they have come back from the log, in their order among all others."""
        ids = {event.event_id for event in events.values()}
        with self._changed:
            self._waiting |= dict.fromkeys(ids)
        try:
            self._write(list(events.values()))
            with self._changed:
                self._changed.wait_for(lambda: all(self._waiting[event_id] is not None for event_id in ids), _ANSWER_S)
        except AlarmsAwayError as error:
            return dict.fromkeys(events, error)
        finally:
            with self._changed:
                holds = {event_id: self._waiting.pop(event_id) for event_id in ids}
                after = {alarm_id: self._known(alarm_id) for alarm_id in events}
        outcomes: dict[str, Outcome] = {}
        for alarm_id, event in events.items():
            if holds[event.event_id]:
                outcomes[alarm_id] = after[alarm_id]
            elif holds[event.event_id] is None:
                outcomes[alarm_id] = AlarmsAwayError(
                    "Kafka has the event, but it has not come back; look at the alarm first."
                )
            else:
                outcomes[alarm_id] = ConflictError(_who_was_first(after[alarm_id]))
        return outcomes

    def _require_ready(self) -> None:
        if not self._ready.is_set():
            raise AlarmsAwayError("The alarms have not been read from Kafka yet; try again in a few seconds.")

    def _write(self, events: list[Event]) -> None:
        failures: list[str] = []

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                failures.append(str(error))

        try:
            for event in events:
                value = framed(self._registry, ALARMS, asdict(event))
                self._producer.produce(ALARMS.name, value, event.alarm_id, on_delivery=delivered)
        except (RegistryError, BufferError, KafkaException) as error:
            raise AlarmsAwayError(f"The events could not be written: {error}. Look at the alarms again.") from error
        if self._producer.flush(_DELIVERY_MS / 1000 + 2) or failures:
            why = failures[0] if failures else "no answer"
            raise AlarmsAwayError(
                f"Kafka did not take {len(failures) or 'the'} events ({why}). Look at the alarms again."
            )

    def _run(self) -> None:
        consumer = Consumer(
            {
                **connection(self._settings),
                "group.id": f"fieldstream-alarms-{uuid.uuid4()}",  # never committed: everybody reads everything
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        try:
            ends = self._read_from_the_beginning(consumer)
            while not self._stopping.is_set():
                for message in consumer.consume(500, timeout=0.1):
                    if failure := message.error():
                        log.warning("Kafka: %s", failure)
                    else:
                        self._apply(message)
                if not self._ready.is_set() and read_to(consumer, ends):
                    self._ready.set()
        finally:
            consumer.close()

    def _read_from_the_beginning(self, consumer: Consumer) -> dict[tuple[str, int], int]:
        """Assigns both topics whole; where each partition ended at this moment."""
        while not self._stopping.is_set():
            try:
                ends = {}
                for topic in (ALARMS, ANOMALIES):
                    for number in range(topic.partitions):
                        first, end = consumer.get_watermark_offsets(TopicPartition(topic.name, number), timeout=2)
                        ends[topic.name, number] = end if end > first else 0  # nothing in it: nothing to wait for
                consumer.assign([TopicPartition(topic, number, 0) for topic, number in ends])
                return ends
            except KafkaException as error:
                log.warning("the alarms wait for Kafka: %s", error)
                self._stopping.wait(2)
        return {}

    def _apply(self, message: Message) -> None:
        topic = message.topic() or ""
        try:
            record = self._readers[topic].read(message.value() or b"")
            event = Event(**record | {"action": Action(record["action"])}) if topic == ALARMS.name else None
        except (ValueError, EOFError, IndexError, KeyError, TypeError, RegistryError) as error:
            UNREADABLE.inc()
            log.error("%s/%s@%s cannot be read: %s", topic, message.partition(), message.offset(), error)
            return
        with self._changed:
            if event:
                self._take(event)
            elif not record["shadow"]:
                key = alarm_id_of(self._episodes.first(record))
                self._alarms[key] = with_episode(self._known(key), record)
                for member in members_of(record):
                    self._alarms[member] = with_parent(self._known(member), record)
            self._changed.notify_all()

    def _known(self, alarm_id: str) -> Alarm:
        return self._alarms.get(alarm_id) or Alarm(alarm_id, self._latching)

    def _take(self, event: Event) -> None:
        alarm = with_event(self._known(event.alarm_id), event)
        if event.event_id in self._waiting:
            self._waiting[event.event_id] = alarm is not None
        if alarm is None:
            VOID.inc()
        else:
            self._alarms[event.alarm_id] = alarm


def _event(alarm: Alarm, action: Action, who: str, **said: Any) -> Event:
    """The next event of an alarm. `said`: its comment, until and mark."""
    episode = alarm.episode or {}
    return Event(
        event_id=str(uuid.uuid4()),
        alarm_id=alarm.alarm_id,
        revision=alarm.revision + 1,
        action=action,
        at=time.time_ns() // 1_000_000,
        who=who,
        anomaly_id=episode.get("anomaly_id", "") if action in EPISODE_ACTIONS else "",
        severity=episode.get("severity", "") if action is Action.ACKNOWLEDGE else "",
        **said,
    )


def read_to(consumer: Consumer, ends: dict[tuple[str, int], int]) -> bool:
    """Whether every partition has been read up to its end; a position below 0 is one not read from yet."""
    positions = consumer.position([TopicPartition(topic, number) for topic, number in ends])
    return all(max(place.offset, 0) >= ends[place.topic, place.partition] for place in positions)


def _who_was_first(alarm: Alarm) -> str:
    last: Any = alarm.last_event
    what = f"{last.who} was first: {last.action} ({last.comment or 'no comment'})" if last else "it has changed"
    return f"{what}. The alarm is at revision {alarm.revision}; look at it and decide again."
