"""What goes into the spool and comes out of it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fieldstream_edge.identity import Series


class Descriptor:
    """What repeats from reading to reading of one series; the spool writes it once per segment."""

    __slots__ = ("device_id", "flags", "metric", "number", "operator", "quality", "series", "unit", "writer")

    def __init__(  # noqa: PLR0917 - in the order in which the spool writes them
        self,
        device_id: str,
        metric: str,
        unit: str | None = None,
        quality: str = "good",
        flags: int = 0,
        operator: str | None = None,
        series: Series | None = None,
    ) -> None:
        self.device_id = device_id
        self.metric = metric
        self.unit = unit
        self.quality = quality
        self.flags = flags
        self.operator = operator
        self.series = series
        self.number = 0  # within the segment file that `writer` stands for
        self.writer = -1

    def fields(self) -> tuple[str, str, str | None, str, int, str | None]:
        """The fields in the order in which the spool writes them."""
        return self.device_id, self.metric, self.unit, self.quality, self.flags, self.operator


@dataclass(slots=True, kw_only=True)
class DeadLetter:
    """A message, or a part of one, that could not be accepted as a reading. Fields as in dead_letter.avsc."""

    reason: str
    detail: str
    source: str
    payload: bytes
    payload_size: int
    received_at: int
    device_id: str | None = None
    metric: str | None = None


@dataclass(slots=True)
class Batch:
    """Entries accepted together. The four lists of readings run in parallel; dead letters follow in seq."""

    descriptors: list[Descriptor] = field(default_factory=list)
    ts: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    dead_bytes: int = 0
    # (packet id, fingerprint) of messages without a usable time of their own, see redelivery.py
    marks: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ts) + len(self.dead)

    def add_dead(self, letter: DeadLetter) -> None:
        """Adds a dead letter, keeping count of its bytes so that a batch stays bounded."""
        self.dead.append(letter)
        self.dead_bytes += len(letter.payload)


@dataclass(slots=True)
class StoredBatch:
    """A batch as read back. `numbers` index into `table`, the descriptors of its segment.

    A number whose descriptor was lost to damage is not in `table`; `format.unpack_body` refuses such a batch.
    """

    first_seq: int
    table: list[Descriptor]
    numbers: array[int]
    ts: list[int]
    values: array[float]
    received: list[int]
    received_base: int
    dead: list[DeadLetter]
    marks: list[tuple[int, int]]

    @property
    def last_seq(self) -> int:
        """Seq of the last entry."""
        return self.first_seq + len(self.ts) + len(self.dead) - 1
