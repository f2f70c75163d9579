"""State as bytes: small, versioned, the same on every machine.

A part is: 1 byte layout version, 2 bytes number count, that many little-endian doubles, then optional JSON for what
is not a number (open episodes, the state of plug-ins). None travels as NaN. A reader that meets fewer numbers than
it knows keeps its defaults for the rest, so fields may be added at the end without losing what was learned.
"""

import json
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

VERSION = 1
_HEAD = struct.Struct("<BH")


class StateVersionError(Exception):
    """State written by a newer program than this one."""


class State:
    """Base of everything learned: the numbers named in FIELDS, then the states named in PARTS, in order."""

    FIELDS: ClassVar[tuple[str, ...]] = ()
    PARTS: ClassVar[tuple[str, ...]] = ()
    __slots__ = ()

    def numbers(self) -> list[float]:
        """Values of all fields and parts."""
        found = [getattr(self, name) for name in self.FIELDS]
        for name in self.PARTS:
            found += getattr(self, name).numbers()
        return found

    def restore(self, numbers: Iterator[float]) -> None:
        """Sets the fields from what `numbers` gave before."""
        for name in self.FIELDS:
            value = next(numbers, None)
            if value is None:
                return
            setattr(self, name, value)
        for name in self.PARTS:
            getattr(self, name).restore(numbers)


def pack(numbers: Sequence[float], rest: Any = None) -> bytes:
    """One part as bytes."""
    count = len(numbers)
    body = struct.pack(f"<{count}d", *numbers)
    tail = json.dumps(rest, separators=(",", ":")).encode() if rest else b""
    return _HEAD.pack(VERSION, count) + body + tail


def unpack(part: bytes) -> tuple[list[float], Any]:
    """Numbers and rest of a part. Raises StateVersionError."""
    version, count = _HEAD.unpack_from(part)
    if version > VERSION:
        raise StateVersionError(f"state version {version} is newer than {VERSION}: run the newer program or start anew")
    numbers = list(struct.unpack_from(f"<{count}d", part, _HEAD.size))
    tail = part[_HEAD.size + 8 * count :]
    return numbers, json.loads(tail) if tail else None


def or_none(number: float) -> float | None:
    """NaN back to None."""
    return None if math.isnan(number) else number
