"""An acceptor on a real spool in a temporary directory, with a clock that the test sets. No broker, no Kafka."""

from collections.abc import Sequence
from pathlib import Path

from fieldstream_edge.counters import Counters
from fieldstream_edge.intake.acceptor import Acceptor, Message
from fieldstream_edge.settings import IntakeSettings, SpoolSettings
from fieldstream_edge.spool.batch import DeadLetter, StoredBatch
from fieldstream_edge.spool.files import Files
from fieldstream_edge.spool.ledger import Spool
from fieldstream_edge.spool.reader import SpoolReader

NOW = 1_800_000_000_000


class Rig:
    """Feeds messages, and shows what is in the spool."""

    def __init__(
        self, directory: Path, *, spool: SpoolSettings | None = None, intake: IntakeSettings | None = None,
        files: Files | None = None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.now = NOW
        self._settings = spool or SpoolSettings(segment_bytes=1 << 16, max_bytes=1 << 30)
        self._intake = intake or IntakeSettings()
        self._files = files
        self.acknowledged: list[int] = []
        self.start()

    def start(self) -> None:
        """A gateway process starts."""
        self.counters = Counters()
        self.spool = Spool(self.directory, "g1", self._settings, files=self._files, clock=lambda: self.now / 1000)
        self.acceptor = Acceptor(self.spool, self.counters, self._intake, clock=lambda: self.now / 1000)

    def restart(self) -> None:
        """A clean stop and a start."""
        self.spool.close()
        self.start()

    def send(self, topic: str, payload: bytes | str, packet_id: int | None = None, *, duplicate: bool = False) -> None:
        """One message, committed at once."""
        data = payload.encode() if isinstance(payload, str) else payload
        self.take([Message(topic, data, packet_id, duplicate)])
        self.acceptor.commit()

    def take(self, messages: Sequence[Message], broker: int = 0) -> None:
        """Messages without commit."""
        self.acceptor.accept(list(messages), broker, self.acknowledged.extend)

    def batches(self) -> list[StoredBatch]:
        """Everything in the spool that is not delivered."""
        reader = SpoolReader(self.spool, self.spool.delivered_seq)
        found = []
        while (batch := reader.next()) is not None:
            found.append(batch)
        reader.close()
        return found

    def readings(self) -> list[tuple[str, str, int, float]]:
        """(device, metric, ts, value) in order of seq."""
        return [
            (batch.table[number].device_id, batch.table[number].metric, ts, value)
            for batch in self.batches()
            for number, ts, value in zip(batch.numbers, batch.ts, batch.values, strict=True)
        ]

    def qualities(self) -> list[tuple[str, int]]:
        """(quality, flags) in order of seq."""
        return [
            (batch.table[number].quality, batch.table[number].flags)
            for batch in self.batches()
            for number in batch.numbers
        ]

    def dead(self) -> list[DeadLetter]:
        """Dead letters in order of seq."""
        return [letter for batch in self.batches() for letter in batch.dead]

    def reasons(self) -> list[str]:
        """Reasons of the dead letters."""
        return [letter.reason for letter in self.dead()]
