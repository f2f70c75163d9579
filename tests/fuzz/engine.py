"""Throws inputs at decoders: known good ones, changed a little or a lot; each run is repeated by its seed.

A decoder may refuse an input by the errors that its docstring names. Anything else is a crash; more than 100 ms of CPU
for one input is a hang; more than 100 MB of memory over all inputs is a bomb.
"""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SLOW_S = 0.1  # of CPU, for one input, on a machine that counts to a million in MILLION_S; on a slower one, more
MILLION_S = 0.02
LARGEST = 4096  # bytes of most inputs
NESTING = 100_000
_NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"-0.0",
    b"9" * 400,
    b"18446744073709551616",
    b"NaN",
    b"1e-400",
    b"0x10",
    b"1795517640000",
)
_TOKENS = (
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"\\ud800", b"\\u0000", b"'", b"\n", b"=", b"."),
    *(b"\x00", b"\xff\xff\xff\xff\x0f", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x9f", b"\xbf", b"\x1b"),
    *("é".encode(), "\u202e".encode(), b"<script>", b"=cmd|' /C calc'!A0", b"' OR 1=1 --", b"{{7*7}}", b"%00", b"../"),
    *_NUMBERS,
)


@dataclass(frozen=True)
class Target:
    """One decoder: what calls it with bytes, what it may raise, and inputs that it takes."""

    name: str
    call: Callable[[bytes], object]
    refuses: tuple[type[BaseException], ...]
    seeds: Sequence[bytes]
    cost: int = 1  # of so many inputs one is tried: for what is slow to call


@dataclass
class Outcome:
    """What became of a target's inputs."""

    name: str
    inputs: int = 0
    refused: int = 0
    crashes: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    memory_mb: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.crashes and not self.slow and self.memory_mb < 100


def bombs() -> list[bytes]:
    """Inputs that are small and grow: nesting, lengths that lie."""
    opened = [
        (b"[", b"]"),
        (b'{"a":', b"}"),
        (b'{"metrics":', b"}"),
        (b"\x81", b""),
        (b"\xa1\x61a", b""),
        (b"a=[", b"]"),
    ]
    found = [begin * NESTING for begin, _ in opened] + [begin * 500 + b"1" + end * 500 for begin, end in opened]
    lengths = (
        b"\x9b\x00\x00\x00\xff\xff\xff\xff\xff",
        b"\x5b\x00\x00\x00\x7f\xff\xff\xff\xff",
        b"\xfe\xff\xff\xff\x0f",
    )
    return [
        *found,
        *(length + b"x" for length in lengths),
        b'{"value":' + b"9" * 100_000 + b"}",
        b'"' + b"\\u0000" * 50_000,
    ]


def run(target: Target, inputs: int, seed: int) -> Outcome:
    """Tries so many inputs, bombs first."""
    chance = random.Random(f"{target.name} {seed}")
    outcome = Outcome(target.name)
    _forget_peak()
    before = _peak_mb()
    pool = list(target.seeds)
    for number in range(inputs):
        known = bombs() if number == 0 else []
        for data in known or [_changed(chance, pool)]:
            _try(target, data, outcome)
        if len(outcome.crashes) + len(outcome.slow) >= 10:
            break
    outcome.memory_mb = round(_peak_mb() - before, 1)
    return outcome


def _try(target: Target, data: bytes, outcome: Outcome) -> None:
    outcome.inputs += 1
    started = time.thread_time()
    try:
        target.call(data)
    except target.refuses:
        outcome.refused += 1
    except Exception as error:  # what is being looked for
        outcome.crashes.append(f"{type(error).__name__}: {str(error)[:200]} on {data[:200]!r}")
    if time.thread_time() - started > SLOW_S and _still_slow(target, data):
        outcome.slow.append(f"{data[:200]!r} ({len(data)} bytes)")


def _still_slow(target: Target, data: bytes) -> bool:
    """A second look, beside the machine's own speed: the first call may have imported something, and a machine shared
    with others is slow at times."""
    started = time.thread_time()
    with suppress(Exception):  # counted at the first call
        target.call(data)
    called = time.thread_time()
    for _ in range(1_000_000):
        pass
    return called - started > SLOW_S * max(1.0, (time.thread_time() - called) / MILLION_S)


def _changed(chance: random.Random, pool: Sequence[bytes]) -> bytes:
    data = bytearray(chance.choice(pool))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.choice((0, 1, 1, 4, 30)))
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at:end] = chance.choice(_TOKENS)
        elif kind == 2:
            data[at:at] = chance.choice(_TOKENS)
        elif kind == 3:
            del data[at:end]
        elif kind == 4:
            other = chance.choice(pool)
            start = chance.randint(0, len(other))
            data[at:end] = other[start : start + chance.choice((1, 8, 64))]
        else:
            data[at:end] = chance.randbytes(chance.choice((1, 2, 8)))
    if chance.random() < 0.01:
        data *= chance.choice((2, 10, 50))
    return bytes(data[:LARGEST])


def _peak_mb() -> float:
    """The process's peak since `_forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak begins anew at what is held now
