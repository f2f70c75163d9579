"""A key that can forget: it makes a key for every name, and a name can be taken out of it for good.

The key is a tree (Goldreich, Goldwasser, Micali: How to construct random functions, 1986). A node's two children are
HMAC-SHA-256 of one byte, 0 or 1, under the node; a name's leaf is found by 48 bits of HMAC-SHA-256 of the name under
the index key. At first only the root is kept. Forgetting a name replaces the node above its leaf by the siblings along
the way (Boneh, Waters: Constrained pseudorandom functions, 2013): every other name keeps its key, and this one's can
never be computed again, whoever holds the file. ADR 85. `Keyring.java` in central/functions reads the same file.

The file: 64 hexadecimal digits (`openssl rand -hex 32`); once it was changed, lines `index KEY`, `forgotten LEAF ...`
and one `key PREFIX:NODE ...` for each generation, the newest first. It cannot be told from the file who is forgotten
without trying names.

Weakness: two names share a leaf with a chance of 1 in 2**48; forgetting one then forgets both.
"""

import fcntl
import hmac
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

DEPTH = 48  # bits
_Nodes = dict[str, bytes]  # by their way from the root, written as 0 and 1; no way is the beginning of another


class KeyringError(Exception):
    """The key file cannot be used; the message says why."""


@dataclass(frozen=True)
class Keyring:
    """The keys of one file. The newest generation makes keys, all of them find what was made before."""

    index: bytes
    forgotten: frozenset[str]  # ways to the leaves that are gone
    generations: tuple[_Nodes, ...]

    @classmethod
    def load(cls, path: Path) -> "Keyring":
        """Raises KeyringError."""
        try:
            return cls.parse(path.read_text(), str(path))
        except OSError as error:
            raise KeyringError(f"{path} is no key file ({error}): openssl rand -hex 32") from error

    @classmethod
    def parse(cls, text: str, where: str) -> "Keyring":
        """What the text of a file says. Raises KeyringError."""
        lines = text.splitlines()
        try:
            if len(lines) == 1 and " " not in lines[0].strip():
                return cls.of_secret(_key(lines[0].strip()))
            words = [line.split() for line in lines if line.strip()]
            index = next(_key(rest[0]) for word, *rest in words if word == "index")
            gone = {f"{int(leaf, 16):0{DEPTH}b}" for word, *rest in words if word == "forgotten" for leaf in rest}
            nodes = [dict(map(_node, rest)) for word, *rest in words if word == "key"]
        except (ValueError, StopIteration, IndexError) as error:
            raise KeyringError(
                f"{where} is no key file ({error or 'lines are missing'}): openssl rand -hex 32"
            ) from error
        return cls(index, frozenset(gone), tuple(nodes))

    @classmethod
    def of_secret(cls, secret: bytes) -> "Keyring":
        """A keyring that has forgotten nobody."""
        return cls(_hmac(secret, b"index"), frozenset(), ({"": _hmac(secret, b"key")},))

    def text(self) -> str:
        """What stands in its file."""
        forgotten = " ".join(f"{int(leaf, 2):012x}" for leaf in sorted(self.forgotten))
        lines = [f"index {self.index.hex()}", f"forgotten {forgotten}"]
        lines += [
            " ".join(["key", *(f"{way}:{node.hex()}" for way, node in nodes.items())]) for nodes in self.generations
        ]
        return "\n".join(lines) + "\n"

    def save(self, path: Path) -> None:
        """Replaces the file in one step; the old one is gone once this returns, as far as the disk forgets."""
        aside = path.with_name(path.name + ".new")
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, path.stat().st_mode & 0o777), "w") as file:
            file.write(self.text())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def keys(self, name: bytes) -> Iterator[bytes]:
        """The name's key in each generation that knows it, the newest first; none once it is forgotten."""
        way = self._way(name)
        for nodes in self.generations:
            if (leaf := _leaf(nodes, way)) is not None:
                yield _hmac(leaf, name)

    def without(self, names: Iterable[bytes]) -> "Keyring":
        """The keyring that has forgotten these names."""
        ways = [self._way(name) for name in names]
        generations = self.generations
        for way in ways:
            generations = tuple(_punctured(nodes, way) for nodes in generations)
        return replace(self, forgotten=self.forgotten | set(ways), generations=generations)

    def rotated(self, *, keep: int) -> "Keyring":
        """A new generation on top of the `keep` newest; who was forgotten stays so."""
        new: _Nodes = {"": secrets.token_bytes(32)}
        for way in self.forgotten:
            new = _punctured(new, way)
        return replace(self, generations=(new, *self.generations[:keep]))

    def _way(self, name: bytes) -> str:
        return f"{int.from_bytes(_hmac(self.index, name)[: DEPTH // 8]):0{DEPTH}b}"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """One change of the key file at a time."""
    with path.with_name(path.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _leaf(nodes: _Nodes, way: str) -> bytes | None:
    for length in range(DEPTH + 1):
        if (node := nodes.get(way[:length])) is not None:
            for bit in way[length:]:
                node = _child(node, bit)
            return node
    return None


def _punctured(nodes: _Nodes, way: str) -> _Nodes:
    top = next((length for length in range(DEPTH + 1) if way[:length] in nodes), None)
    if top is None:
        return nodes
    left = dict(nodes)
    node = left.pop(way[:top])
    for at in range(top, DEPTH):
        other = "1" if way[at] == "0" else "0"
        left[way[:at] + other] = _child(node, other)
        node = _child(node, way[at])
    return left


def _child(node: bytes, bit: str) -> bytes:
    return _hmac(node, bytes([int(bit)]))


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    if len(key) != 32:
        raise ValueError("a key has 64 hexadecimal digits")
    return key


def _node(text: str) -> tuple[str, bytes]:
    way, _, node = text.partition(":")
    if len(way) > DEPTH or set(way) - {"0", "1"}:
        raise ValueError(f"{way} is no way through the tree")
    return way, _key(node)
