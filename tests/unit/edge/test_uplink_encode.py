"""Our Avro bytes are fastavro's, byte for byte."""

import io
from array import array
from typing import Any

import fastavro
import pytest
from fieldstream_edge.spool.batch import DeadLetter, Descriptor, StoredBatch
from fieldstream_edge.uplink import encode
from fieldstream_edge.uplink.encode import ReadingEncoder, encode_dead_letter, long_encoder, zigzag
from fieldstream_schemas.registry import frame_header
from fieldstream_schemas.topics import DEAD_LETTERS, READINGS_RAW, parsed_schema
from hypothesis import given, settings
from hypothesis import strategies as st

_LONG = st.integers(-(2**62), 2**62)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_FRAME = frame_header(7)


def avro(schema: Any, record: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


@given(st.lists(_LONG | st.integers(-9000, 20000), max_size=20))
def test_longs_are_fastavros(numbers: list[int]) -> None:
    encode_long = long_encoder()
    for number in numbers:
        assert encode_long(number) == zigzag(number) == avro({"type": "long"}, number)


@settings(max_examples=200)
@given(
    gateway=_TEXT, epoch=_LONG, seq=st.integers(1, 2**40), device=_TEXT, metric=_TEXT, unit=st.none() | _TEXT,
    flags=st.integers(0, 63), operator=st.none() | _TEXT, start=st.integers(0, 2),
    rows=st.lists(
        st.tuples(st.integers(0, 2**42), st.floats(allow_nan=False), st.integers(0, 2**42)), min_size=2, max_size=5
    ),
)  # fmt: skip
def test_readings_are_fastavros(  # noqa: PLR0917
    gateway: str, epoch: int, seq: int, device: str, metric: str, unit: str | None, flags: int, operator: str | None,
    start: int, rows: list[tuple[int, float, int]],
) -> None:  # fmt: skip
    batch = StoredBatch(
        first_seq=seq,
        table=[Descriptor("other", "m"), Descriptor(device, metric, unit, "uncertain", flags, operator)],
        numbers=array("H", [1] * len(rows)),
        ts=[ts for ts, _, _ in rows],
        values=array("d", [value for _, value, _ in rows]),
        received=[received for _, _, received in rows],
        received_base=0,
        dead=[],
        marks=[],
    )
    encoded = ReadingEncoder(_FRAME, gateway, epoch).encode(batch, start)
    assert len(encoded) == len(rows) - start
    for offset, (key, ts, value) in enumerate(encoded, start):
        record = {
            "gateway_id": gateway, "epoch": epoch, "seq": seq + offset, "device_id": device, "metric": metric,
            "ts": rows[offset][0], "value": rows[offset][1], "unit": unit, "quality": "uncertain", "flags": flags,
            "operator": operator, "received_at": rows[offset][2],
        }  # fmt: skip
        assert key == device.encode()
        assert ts == rows[offset][0]
        assert value == _FRAME + avro(parsed_schema(READINGS_RAW), record)


def test_changed_schema_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_FIELDS", ["gateway_id"])
    with pytest.raises(ValueError, match="has changed"):
        ReadingEncoder(_FRAME, "g", 1)


def test_dead_letter_carries_its_place_in_the_spool() -> None:
    letter = DeadLetter(
        reason="not-json",
        detail="x",
        source="sensors/d/t",
        payload=b"\xff",
        payload_size=1,
        received_at=5,
        device_id="d",
    )
    value = encode_dead_letter(letter, frame=_FRAME, gateway_id="g", epoch=3, seq=9)
    record: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed_schema(DEAD_LETTERS))
    assert (record["gateway_id"], record["epoch"], record["seq"], record["origin"]) == ("g", 3, 9, "gateway")
    assert record["payload"] == b"\xff"
