"""Whatever arrives is taken or refused by name: 100,000 inputs over all decoders. `make fuzz` runs ten million."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cbor2
import pytest
from fieldstream_edge.payloads import senml
from fieldstream_edge.payloads.decoded import Decoded, PayloadError
from fieldstream_edge.payloads.json import decode_device, decode_metric
from fuzz.engine import SLOW_S, Target, run
from fuzz.java import fuzz_java
from hypothesis import given, settings
from hypothesis import strategies as st

TESTS = Path(__file__).resolve().parents[1]
_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8
)
_keys = ("ts", "value", "unit", "quality", "operator", "metrics")
_message = st.fixed_dictionaries({}, optional=dict.fromkeys(_keys, _values))
_labels = st.sampled_from(("n", "v", "t", "bn", "bt", "bver", "vb", "u", "s"))
_record = st.dictionaries(_labels | st.integers(-6, 8), _values)


def test_nothing_is_found_in_a_hundred_thousand_inputs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.run", "--inputs", "100000"], cwd=TESTS, capture_output=True, text=True, check=False
    )
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, summary["found"]) == (0, []), done.stdout
    assert summary["inputs"] >= 90_000


def test_the_pipelines_decoder_gives_a_row_or_a_dead_letter(tmp_path: Path) -> None:
    decoded = fuzz_java(tmp_path, inputs=100_000, seed=1)
    assert decoded["found"] == ""
    assert decoded["valid"] > 1000
    assert decoded["valid"] + decoded["dead"] == 100_000


@settings(max_examples=200, deadline=None)
@given(st.one_of(_message, st.lists(_message, max_size=3), _values), st.lists(_record, max_size=3))
def test_messages_of_the_right_keys_and_any_values_are_taken_or_refused(message: object, pack: object) -> None:
    payload = json.dumps(message).encode()
    _taken_or_refused(lambda: decode_metric(payload))
    _taken_or_refused(lambda: decode_device(payload))
    _taken_or_refused(lambda: senml.decode_cbor(cbor2.dumps(pack), "d", 0))
    _taken_or_refused(lambda: senml.decode_json(json.dumps(pack).encode(), "", 0))


def _taken_or_refused(call: Callable[[], object]) -> None:
    try:
        assert isinstance(call(), list | Decoded)
    except PayloadError as error:
        assert error.reason


def crashing(data: bytes) -> None:
    if b"<" in data:
        raise KeyError("not said in the docstring")


def hanging(data: bytes) -> None:
    if len(data) > 10_000:
        for _ in range(int(SLOW_S * 100_000_000)):
            pass


def hoarding(data: bytes, kept: list[bytes] = []) -> None:  # noqa: B006 - it is meant to keep
    if not kept:
        kept.append(b"x" * 200_000_000)


@pytest.mark.parametrize("call", [crashing, hanging, hoarding])
def test_a_crash_a_hang_and_a_bomb_are_found(call: Callable[[bytes], None]) -> None:
    outcome = run(Target(call.__name__, call, (ValueError,), [b"good"]), 2000, seed=1)
    assert not outcome.clean
