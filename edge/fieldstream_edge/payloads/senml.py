"""SenML (RFC 8428), JSON and CBOR: base fields, relative times, one record per reading.

The name (base name + name) gives the metric; when the topic names no device, what stands before the last `:` or `/`
of the name is the device.
"""

import io
import json
import math
from typing import Any

import cbor2

from fieldstream_edge.payloads.decoded import Decoded, Item, Named, PayloadError, Refused

_LABELS = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs", 0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s",
    6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
_RELATIVE_BELOW = 2**28  # RFC 8428, section 4.5.3: smaller times count from now
_VERSION = 10


def decode_json(payload: bytes, device_id: str, received_ms: int) -> Decoded:
    """Readings of a SenML JSON pack. Raises PayloadError."""
    try:
        return _decode(json.loads(payload), device_id, received_ms)
    except (ValueError, RecursionError) as error:
        raise PayloadError("bad-payload", f"not a SenML pack: {error}") from error


def decode_cbor(payload: bytes, device_id: str, received_ms: int) -> Decoded:
    """Readings of a SenML CBOR pack. Raises PayloadError."""
    stream = io.BytesIO(payload)
    try:
        pack = cbor2.CBORDecoder(stream).decode()
    except (cbor2.CBORDecodeError, ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise PayloadError("bad-payload", f"not a SenML pack: {error}") from error
    if stream.read(1):
        raise PayloadError("bad-payload", "bytes follow the SenML pack")
    if isinstance(pack, list):
        pack = [
            {_LABELS.get(key, key): value for key, value in record.items()} if isinstance(record, dict) else record
            for record in pack
        ]
    return _decode(pack, device_id, received_ms)


def _decode(pack: Any, device_id: str, received_ms: int) -> Decoded:
    if not isinstance(pack, list) or not pack or not all(isinstance(record, dict) for record in pack):
        raise PayloadError("bad-payload", "a SenML pack is an array of records")
    decoded, base = Decoded(), dict[str, Any]()
    for record in pack:
        unknown = [key for key in record if isinstance(key, str) and key.endswith("_")]
        if unknown:
            raise PayloadError("bad-payload", f"the pack demands that `{unknown[0]}` be understood; it is not")
        base |= {key: value for key, value in record.items() if key in ("bver", "bn", "bt", "bu", "bv", "bs")}
        if _number(base.get("bver", _VERSION), "bver") > _VERSION:
            raise PayloadError("bad-payload", f"SenML version {base['bver']} is not known")
        if not record.keys() - {"bver", "bn", "bt", "bu", "bv", "bs"}:
            continue
        try:
            decoded.named.append(_reading(record, base, device_id, received_ms))
        except PayloadError as error:
            decoded.refused.append(Refused(error.reason, error.detail, _raw(record)))
    return decoded


def _raw(record: dict[str, Any]) -> bytes:
    try:
        return json.dumps(record, default=str).encode()
    except (TypeError, ValueError):  # CBOR has keys and circles that JSON has not
        return repr(record).encode()


def _reading(record: dict[str, Any], base: dict[str, Any], device_id: str, received_ms: int) -> Named:
    name = _text(base.get("bn", ""), "bn") + _text(record.get("n", ""), "n")
    if "v" not in record:
        raise PayloadError("not-a-number", "the record has no number `v`")
    value = _number(record["v"], "v") + _number(base.get("bv", 0), "bv")
    if not math.isfinite(value):
        raise PayloadError("not-finite", "the value is NaN or infinite")
    ts = None
    if "t" in record or "bt" in base:
        time_s = _number(record.get("t", 0), "t") + _number(base.get("bt", 0), "bt")
        if not math.isfinite(time_s):
            raise PayloadError("bad-timestamp", "the time is NaN or infinite")
        ts = round(time_s * 1000) + (received_ms if time_s < _RELATIVE_BELOW else 0)
    unit = record.get("u", base.get("bu"))
    item = Item(value, ts, None if unit is None else _text(unit, "u"))
    if device_id:
        return Named(name.removeprefix(device_id).lstrip(":/") or name, item, device_id)
    at = max(name.rfind(":"), name.rfind("/"))
    if at <= 0 or at == len(name) - 1:
        raise PayloadError("bad-payload", f'the name "{name[:64]}" does not tell device from metric')
    return Named(name[at + 1 :], item, name[:at])


def _number(value: Any, label: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PayloadError("not-a-number", f"`{label}` is not a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _text(value: Any, label: str) -> str:
    if not isinstance(value, str):
        raise PayloadError("bad-payload", f"`{label}` is not a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise PayloadError("bad-payload", f"`{label}` holds half a surrogate pair") from error
    return value
