"""Bodies packed and unpacked, in every encoding, damaged and whole."""

import gzip
import zlib
from itertools import islice

import pytest
from fieldstream_central.store.embedded.compression import BodyError, choose, pack, pack_blocks, unpack, unpack_blocks
from hypothesis import given
from hypothesis import strategies as st


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("encoding", ["zstd", "lz4", "gzip", "deflate"])
@given(chunks=st.lists(st.binary(max_size=2000), max_size=6), size=st.integers(1, 700))
def test_what_is_packed_can_be_unpacked_in_any_pieces(encoding: str, chunks: list[bytes], size: int) -> None:
    packed = b"".join(pack(iter(chunks), encoding))
    assert b"".join(unpack(pieces(packed, size), encoding)) == b"".join(chunks)


@given(data=st.binary(max_size=5000), size=st.integers(1, 900))
def test_clickhouse_blocks_in_any_pieces(data: bytes, size: int) -> None:
    packed = b"".join(pack_blocks([data]))
    assert b"".join(unpack_blocks(pieces(packed, size))) == data


def test_a_large_answer_is_cut_into_blocks() -> None:
    data = bytes(3 << 20)
    assert len(list(pack_blocks([data]))) == 3
    assert b"".join(unpack_blocks(pack_blocks([data]))) == data


@given(st.integers(min_value=0, max_value=60), st.integers(1, 255))
def test_a_flipped_bit_in_a_block_is_noticed(position: int, change: int) -> None:
    packed = bytearray(b"".join(pack_blocks([b"some rows of a table" * 5])))
    packed[position % len(packed)] ^= change
    with pytest.raises(BodyError):
        list(unpack_blocks([bytes(packed)]))


def test_a_block_cut_short_is_noticed() -> None:
    packed = b"".join(pack_blocks([b"rows" * 100]))
    with pytest.raises(BodyError, match="middle"):
        list(unpack_blocks([packed[:-1]]))


def test_streams_of_other_programs_are_read() -> None:
    assert b"".join(unpack([gzip.compress(b"a"), gzip.compress(b"b")], "gzip"))[:1] == b"a"
    assert b"".join(unpack([zlib.compress(b"a")], "deflate")) == b"a"


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_noise_is_refused(encoding: str) -> None:
    with pytest.raises(BodyError):
        list(unpack([b"this is not packed at all"], encoding))


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(BodyError, match="brotli"):
        list(islice(unpack([b"x"], "brotli"), 1))


def test_the_first_encoding_that_both_know_is_chosen() -> None:
    assert choose("br;q=1.0, gzip;q=0.8, zstd") == "gzip"
    assert choose("br") == ""
