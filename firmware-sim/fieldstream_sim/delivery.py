"""How readings reach the broker: on time, late, out of order, twice, or deliberately broken."""

import heapq
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fieldstream_sim.payloads import malformed
from fieldstream_sim.publish import Message, Publisher
from fieldstream_sim.truth import Reading, TruthFolder, now_ms

TICK_S = 0.1
BACKLOG_MESSAGES = 200_000  # broker away: beyond this the fleet stops measuring until it is back


@dataclass(frozen=True, kw_only=True)
class Disorder:
    """Delivery faults. Shares are 0 to 1 of the messages."""

    duplicate_share: float = 0.0
    late_share: float = 0.0
    late_by_s: float = 30.0
    disorder_s: float = 0.0
    malformed_rounds: int = 0


@dataclass(slots=True)
class Progress:
    """What a watcher may show."""

    elapsed_s: float = 0.0
    sent: int = 0
    acknowledged: int = 0
    pending: int = 0
    connected: bool = True


class Delivery:
    """Queue between a source of messages and the publisher, in order of due time."""

    def __init__(self, url: str, client_id: str, truth: TruthFolder, disorder: Disorder, seed: int) -> None:
        self._truth, self._disorder = truth, disorder
        self._random = random.Random(seed)
        self._due: list[tuple[float, int, Message]] = []
        self._serial = 0
        self._fates = threading.Lock()
        self.progress = Progress()
        self._known: Reading | None = None
        self.publisher = Publisher(url, client_id, self._fate)

    def offer(self, messages: list[Message], at_ms: float) -> None:
        """Schedules messages for publication at this wall clock time, plus whatever disorder is configured."""
        choice = self._random
        for message in messages:
            due = at_ms + choice.uniform(0.0, self._disorder.disorder_s * 1000)
            if choice.random() < self._disorder.late_share:
                due += self._disorder.late_by_s * 1000
                self._truth.count("late_messages")
            self._push(due, message)
            if choice.random() < self._disorder.duplicate_share:
                self._push(due + choice.uniform(0, 2000), Message(message.topic, message.payload, repeat=True))
                self._truth.count("duplicate_messages")

    def run(
        self, produce: Callable[[int], bool], stop: threading.Event, watch: Callable[[Progress], None] | None = None
    ) -> None:
        """Publishes until `produce(now_ms)`, which offers what is due, returns False, or `stop` is set."""
        self.publisher.start()
        begin = time.monotonic()
        more = True
        rounds_left = self._disorder.malformed_rounds
        while (more or self._due) and not stop.is_set():
            if more and self.publisher.pending < BACKLOG_MESSAGES:
                more = produce(now_ms())
            if rounds_left and self._known and time.monotonic() - begin > 1.0:
                for message in malformed(self._known, rounds_left):
                    self._push(float(now_ms()), message)
                rounds_left -= 1
            self._publish_due()
            self.progress.elapsed_s = time.monotonic() - begin
            self.progress.pending = self.publisher.pending
            self.progress.connected = self.publisher.connected
            if watch:
                watch(self.progress)
            stop.wait(TICK_S)
        self.publisher.stop()
        with self._fates:
            self._truth.flush()

    def _push(self, due_ms: float, message: Message) -> None:
        self._serial += 1
        heapq.heappush(self._due, (due_ms, self._serial, message))

    def _publish_due(self) -> None:
        now = now_ms()
        ready: list[Message] = []
        while self._due and self._due[0][0] <= now:
            ready.append(heapq.heappop(self._due)[2])
        with self._fates:
            for message in ready:
                self._truth.sent(message.readings, now)
            self._truth.flush()
        for message in ready:
            self.publisher.publish(message)
            self.progress.sent += len(message.readings)

    def _fate(self, message: Message, acked_ms: int | None) -> None:
        with self._fates:
            if message.reject_reason:
                self._truth.rejected(message.topic, message.reject_reason, message.payload, message.sent_ms, acked_ms)
            elif message.readings:
                self._truth.published(message.readings, message.sent_ms, acked_ms)
                if acked_ms is not None:
                    self._known = message.readings[0]
                    self.progress.acknowledged += len(message.readings)
            elif acked_ms is not None:
                self._truth.count("duplicates_acknowledged")
