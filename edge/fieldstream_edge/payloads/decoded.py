"""What payload decoders return."""

from dataclasses import dataclass, field

import msgspec


class PayloadError(Exception):
    """The message as a whole becomes a dead letter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Item(msgspec.Struct):
    """One reading as a device stated it. `ts`: epoch milliseconds; None when the device gave none."""

    value: float
    ts: int | float | str | None = None
    unit: str | None = None
    quality: str | None = None
    operator: str | None = None


class Named(msgspec.Struct):
    """A reading whose metric (and perhaps device) stands in the payload, not in the topic."""

    metric: str
    item: Item
    device_id: str | None = None
    flags: int = 0


class Refused(msgspec.Struct):
    """A part of a message that becomes a dead letter, beside parts that are accepted."""

    reason: str
    detail: str
    payload: bytes
    metric: str | None = None


@dataclass(slots=True)
class Decoded:
    """Readings of one message; `items` belong to the topic's series."""

    items: list[Item] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
