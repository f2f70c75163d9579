"""Bodies as they cross the wire: HTTP content encodings and ClickHouse's own block framing.

A block of the latter: CityHash128 of what follows (16 bytes), method (1), size of header and data (4),
size unpacked (4), data.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import lz4.block  # type: ignore[import-untyped]
import lz4.frame  # type: ignore[import-untyped]
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

_BLOCK = struct.Struct("<BII")
_CHECKSUM_BYTES = 16
_LZ4, _ZSTD, _PLAIN = 0x82, 0x90, 0x02
_MAX_BLOCK_BYTES = 1 << 30
_PACK_BYTES = 1 << 20

ENCODINGS = ("zstd", "lz4", "gzip", "deflate")


class BodyError(ValueError):
    """The body cannot be unpacked as its headers say."""


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def unpack(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The body unpacked. Raises BodyError for an unknown encoding or damaged bytes."""
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding in ("gzip", "deflate"):
        inflate = zlib.decompressobj(wbits=47)
        feed: Callable[[bytes], bytes] = inflate.decompress
    elif encoding == "zstd":
        feed = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress
    elif encoding == "lz4":
        feed = lz4.frame.LZ4FrameDecompressor().decompress
    else:
        raise BodyError(f"Unknown Content-Encoding {encoding!r}; known: {', '.join(ENCODINGS)}")
    try:
        for chunk in chunks:
            if data := feed(chunk):
                yield data
    except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError) as error:
        raise BodyError(f"The body is not valid {encoding}: {error}") from error


def unpack_blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The body unpacked from ClickHouse's block framing (`decompress=1`), each checksum verified."""
    pending = bytearray()
    head = _CHECKSUM_BYTES + _BLOCK.size
    for chunk in chunks:
        pending += chunk
        while len(pending) >= head:
            method, packed, unpacked = _BLOCK.unpack_from(pending, _CHECKSUM_BYTES)
            if packed < _BLOCK.size or packed > _MAX_BLOCK_BYTES or unpacked > _MAX_BLOCK_BYTES:
                raise BodyError("A compressed block states an impossible size")
            if len(pending) < _CHECKSUM_BYTES + packed:
                break
            body = bytes(pending[_CHECKSUM_BYTES : _CHECKSUM_BYTES + packed])
            if _checksum(body) != bytes(pending[:_CHECKSUM_BYTES]):
                raise BodyError("Checksum of a compressed block does not match")
            del pending[: _CHECKSUM_BYTES + packed]
            yield _unpack_block(method, body[_BLOCK.size :], unpacked)
    if pending:
        raise BodyError("The body ends in the middle of a compressed block")


def _unpack_block(method: int, data: bytes, size: int) -> bytes:
    if method == _PLAIN:
        return data
    try:
        if method == _LZ4:
            return bytes(lz4.block.decompress(data, uncompressed_size=size))
        if method == _ZSTD:
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise BodyError(f"A compressed block cannot be unpacked: {error}") from error
    raise BodyError(f"Unknown compression method {method:#x}")


def _checksum(body: bytes) -> bytes:
    number = CityHash128(body)
    return struct.pack("<QQ", number >> 64, number & 0xFFFFFFFFFFFFFFFF)


def pack_blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The answer in ClickHouse's block framing (`compress=1`), LZ4."""
    for chunk in chunks:
        for start in range(0, len(chunk), _PACK_BYTES):
            part = chunk[start : start + _PACK_BYTES]
            data = lz4.block.compress(part, store_size=False)
            body = _BLOCK.pack(_LZ4, _BLOCK.size + len(data), len(part)) + data
            yield _checksum(body) + body


def choose(accept_encoding: str) -> str:
    """The first encoding of the client's list that we speak; empty for none."""
    offered = [item.split(";")[0].strip().lower() for item in accept_encoding.split(",")]
    return next((name for name in offered if name in ENCODINGS), "")


def pack(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The answer in an HTTP content encoding."""
    packer: _Packer
    if encoding == "zstd":
        packer = zstandard.ZstdCompressor(level=1).compressobj()
    elif encoding == "lz4":
        packer = _Lz4Packer()
    else:
        packer = zlib.compressobj(level=1, wbits=31 if encoding == "gzip" else 15)
    for chunk in chunks:
        if data := packer.compress(chunk):
            yield data
    if data := packer.flush():
        yield data


class _Lz4Packer:
    """lz4.frame's compressor, which wants begin() first, in the shape of the others."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._head: bytes = self._frame.begin()

    def compress(self, data: bytes, /) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._frame.compress(data))

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._frame.flush())
