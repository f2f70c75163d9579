"""The hash chain over topic `audit-log`, without Kafka.

The chain after record n is SHA-256(chain after record n-1, SHA-256(record n)), over the records as they lie in the one
partition. Each entry states the chain as its writer saw it (`upto`, `chain`), so that writers need not wait for each
other: of two at the same moment, the next one covers both. A record changed, taken out or put in makes all later
statements wrong. Who can rewrite every later record as well is found by a head noted elsewhere.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

START = "0" * 64


@dataclass(frozen=True)
class Head:
    """The chain after the record at `offset`; -1: before the first."""

    offset: int = -1
    chain: str = START

    def after(self, value: bytes) -> "Head":
        """The head once this record follows."""
        joined = bytes.fromhex(self.chain) + hashlib.sha256(value).digest()
        return Head(self.offset + 1, hashlib.sha256(joined).hexdigest())

    def __str__(self) -> str:
        return f"{self.offset}:{self.chain}"


@dataclass(frozen=True)
class Stored:
    """A record of the topic; `entry` is None when its bytes are no entry."""

    offset: int
    value: bytes
    entry: dict[str, Any] | None


def tampering(records: Iterable[Stored], *, noted: Head | None = None) -> tuple[list[str], Head]:
    """What is wrong with the log, in sentences, and its head. `noted`: a head of before that must still be in it."""
    problems: list[str] = []
    head = Head()
    heads = {head.offset: head.chain}
    for record in records:
        if record.offset != head.offset + 1:
            problems.append(f"offset {head.offset + 1} to {record.offset - 1}: records are missing")
            head = Head(record.offset - 1, head.chain)
        head = head.after(record.value)
        heads[head.offset] = head.chain
        if record.entry is None:
            problems.append(f"offset {record.offset}: no entry that can be read")
        elif heads.get(record.entry["upto"]) != record.entry["chain"]:
            problems.append(
                f"offset {record.offset}: states another past up to offset {record.entry['upto']}: a record there was "
                "changed, or this one is forged"
            )
    if noted and heads.get(noted.offset) != noted.chain:
        problems.append(f"the head noted at offset {noted.offset} is not in the log: it was cut or written anew")
    return problems, head
