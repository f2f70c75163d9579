"""Cuts a stream of MQTT 5 bytes into packets without I/O, in bounded memory however large a message is.

A PUBLISH beyond `largest` bytes is not collected: its topic, packet id and first bytes are kept, the rest is skipped,
so that it can become a dead letter. (A `maximum packet size` in CONNECT would make the broker drop it silently.)
"""

from collections.abc import Callable, Iterator
from typing import Any

import mqtt5

from fieldstream_edge.intake.acceptor import PAYLOAD_KEPT, Message

_PUBLISH = 3


class ProtocolError(Exception):
    """The broker sent bytes that are no MQTT 5."""


class PacketBuffer:
    """Receive buffer. Use: fill `space()`, call `filled(n)`, then take `packets()`.

    `time_property`: user property in which the broker states its own time.
    """

    def __init__(self, size: int, largest: int, *, time_property: str = "") -> None:
        self._data = bytearray(size)
        self._view = memoryview(self._data)
        self._start = self._end = 0
        self._largest = largest
        self._time_property = time_property
        self._skip = 0  # bytes of a large message still to come
        self._large: Message | None = None

    def space(self) -> memoryview:
        """Where to receive into."""
        if self._end == len(self._data) or self._start == self._end:
            rest = self._end - self._start
            self._data[:rest] = self._data[self._start : self._end]
            self._start, self._end = 0, rest
        return self._view[self._end :]

    def filled(self, count: int) -> None:
        """`count` bytes were received into `space()`."""
        self._end += count

    def packets(self) -> Iterator[Any]:
        """Complete packets: `Message` for a PUBLISH, else the library's packet. Raises ProtocolError."""
        read: Callable[[memoryview], tuple[Any, int]] = mqtt5.read
        publish = mqtt5.PublishPacket
        view, at, end = self._view, self._start, self._end
        try:
            while at < end:
                if self._skip:
                    step = min(self._skip, end - at)
                    at += step
                    self._skip -= step
                    if not self._skip and self._large is not None:
                        yield self._large
                        self._large = None
                    continue
                try:
                    packet, size = read(view[at:end])
                except IndexError:
                    taken = self._take_large(view[at:end])
                    if not taken:
                        break
                    at += taken
                    continue
                except BaseException as error:
                    if isinstance(error, ValueError) or type(error).__name__ == "PanicException":
                        raise ProtocolError(f"the broker sent an invalid packet: {error}") from error
                    raise
                at += size
                if packet.__class__ is publish:
                    message = Message(packet.topic, packet.payload, packet.packet_id, packet.duplicate)
                    if self._time_property:
                        message.broker_time = dict(packet.user_properties).get(self._time_property, "")
                    yield message
                else:
                    yield packet
        finally:
            self._start = at

    def _take_large(self, data: memoryview) -> int:
        """Begins to skip a PUBLISH that is too large to collect; returns how much of `data` it took, or 0."""
        try:
            body, at = _variable_length(data, 1)
        except IndexError:
            return 0
        if body <= self._largest:
            return 0
        if data[0] >> 4 != _PUBLISH:
            raise ProtocolError(f"the broker sent a packet of {body} bytes that is no message")
        keep = min(body, PAYLOAD_KEPT + 70_000)  # payload kept, plus the longest topic and some properties
        if len(data) < at + keep:
            return 0
        self._large = _large_message(data[0], data[at : at + keep], body)
        self._skip = body - keep
        if not self._skip:  # cannot be while `largest` exceeds `keep`; said for whoever changes one of them
            raise ProtocolError("a large message was smaller than its beginning")
        return at + keep


def _large_message(first: int, data: memoryview, body: int) -> Message:
    topic_end = 2 + int.from_bytes(data[:2], "big")
    topic = bytes(data[2:topic_end]).decode(errors="replace")
    at, packet_id = topic_end, None
    if first >> 1 & 3:
        packet_id = int.from_bytes(data[at : at + 2], "big")
        at += 2
    properties, at = _variable_length(data, at)
    payload_at = at + properties
    kept = bytes(data[payload_at : payload_at + PAYLOAD_KEPT])
    return Message(topic, kept, packet_id, bool(first & 8), size=body - payload_at)


def _variable_length(data: memoryview, at: int) -> tuple[int, int]:
    """A variable byte integer and the offset behind it. Raises IndexError when it is incomplete."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 21:
            raise ProtocolError("a length has more than four bytes")
