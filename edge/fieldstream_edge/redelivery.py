"""Recognises MQTT redeliveries of messages that have no identity of their own.

A reading without a usable event time gets the receive time, so the same message delivered again would look new; so
would a dead letter. What MQTT gives is the packet id and the DUP flag: a message with DUP whose packet id last
carried the very same topic and payload is the same message.

Promised: such a message, redelivered by the broker with DUP after a lost connection or a restart of the gateway, is
dropped. Not promised: a device that publishes the same bytes once more without `ts` makes a new reading; and a
redelivery under another packet id, or after more than 65,535 further messages, is taken for new (stored twice, never
lost).
"""

import logging
from array import array
from zlib import adler32, crc32

from fieldstream_edge.spool import segment as segments
from fieldstream_edge.spool.batch import Descriptor
from fieldstream_edge.spool.errors import DamagedBatchError, SpoolError
from fieldstream_edge.spool.format import scan, unpack_body
from fieldstream_edge.spool.ledger import Spool

log = logging.getLogger(__name__)
_IDS = 1 << 16
_LOOK_BACK_SEGMENTS = 4


def fingerprint(topic: str, payload: bytes) -> int:
    """64 bits that tell messages apart; never 0."""
    name = topic.encode()
    return (crc32(payload, crc32(name)) << 32 | adler32(payload, adler32(name))) or 1


class Redeliveries:
    """Last fingerprint per broker and packet id."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._loaded = False
        self._marks: dict[int, array[int]] = {}

    def seen(self, broker: int, packet_id: int, topic: str, payload: bytes) -> bool:
        """Whether this message, which has DUP set, was accepted before."""
        if not self._loaded:
            self._load()
        marks = self._marks.get(broker)
        return marks is not None and marks[packet_id] == fingerprint(topic, payload)

    def mark(self, broker: int, packet_id: int, topic: str, payload: bytes) -> tuple[int, int]:
        """Remembers the message; returns the mark for the spool."""
        print_ = fingerprint(topic, payload)
        self._set(broker, packet_id, print_)
        return broker << 16 | packet_id, print_

    def forget(self, broker: int, packet_id: int) -> None:
        """The packet id carries another message now, one that needs no mark."""
        marks = self._marks.get(broker)
        if marks is not None:
            marks[packet_id] = 0

    def _set(self, broker: int, packet_id: int, print_: int) -> None:
        marks = self._marks.get(broker)
        if marks is None:
            marks = self._marks[broker] = array("Q", bytes(8 * _IDS))
        marks[packet_id] = print_

    def _load(self) -> None:
        """Marks of the newest sealed segments, oldest first; what was marked since the start stands."""
        self._loaded = True
        current = {broker: marks[:] for broker, marks in self._marks.items()}
        for segment in [each for each in self._spool.retained() if each.sealed][-_LOOK_BACK_SEGMENTS:]:
            table: list[Descriptor] = []
            try:
                data = segments.read(segment.path)[: segment.end]
                for at, header in scan(data, segment.first_seq):
                    for key, print_ in unpack_body(data[at:], header, table, segment.cipher).marks:
                        self._set(key >> 16, key & 0xFFFF, print_)
            except (DamagedBatchError, SpoolError) as error:
                log.warning("redelivery marks of %s are incomplete: %s", segment.path.name, error)
        for broker, marks in current.items():
            for packet_id, print_ in enumerate(marks):
                if print_:
                    self._set(broker, packet_id, print_)
