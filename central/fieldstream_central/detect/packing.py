"""State as bytes: small, versioned, the same on every machine.

A part is: 1 byte layout version, 2 bytes number count, then for each number two bits (0: zero, 1: single precision
says it exactly, 2: double), then those little-endian singles, those doubles, and optional JSON for what is not a number
(open episodes, the state of plug-ins). A part of another layout is refused: what was learned in it means something
else by now, and detection learns anew.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

VERSION = 7
_HEAD = struct.Struct("<BH")


class StateVersionError(Exception):
    """State written by another version of detection."""


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
    values = np.array(numbers, dtype="<f8")
    with np.errstate(over="ignore"):
        singles = values.astype("<f4")
    exact = (singles == values) | np.isnan(values)
    zero = values == 0.0
    bits = np.packbits(np.stack((~zero & exact, ~exact)), axis=1)
    tail = json.dumps(rest, separators=(",", ":")).encode() if rest else b""
    body = (bits.tobytes(), singles[exact & ~zero].tobytes(), values[~exact].tobytes())
    return b"".join((_HEAD.pack(VERSION, len(values)), *body, tail))


def unpack(part: bytes) -> tuple[list[float], Any]:
    """Numbers and rest of a part. Raises StateVersionError."""
    version, count = _HEAD.unpack_from(part)
    if version != VERSION:
        raise StateVersionError(
            f"learned state has layout {version}, this program writes {VERSION}: it cannot be carried over, "
            "detection learns anew (half a day to a day)"
        )
    width = (count + 7) // 8
    packed = np.frombuffer(part, np.uint8, 2 * width, _HEAD.size).reshape(2, width)
    single, double = np.unpackbits(packed, axis=1, count=count).astype(bool)
    at = _HEAD.size + 2 * width
    values = np.zeros(count)
    for mask, kind in ((single, "<f4"), (double, "<f8")):
        found = np.frombuffer(part, kind, int(mask.sum()), at)
        values[mask] = found
        at += found.nbytes
    tail = part[at:]
    return values.tolist(), json.loads(tail) if tail else None
