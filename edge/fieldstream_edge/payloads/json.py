"""The contract's JSON forms.

On `sensors/{device}/{metric}`: a number, an object with `value`, or an array of such objects.
On `sensors/{device}`: an object with `metrics`, or an array of such objects.

Fast path: msgspec decodes straight into the structs. Whatever it refuses goes through `_explain`, which finds the
reason with the standard library and saves the good elements of an array.
"""

import json
import math
from typing import Any

import msgspec

from fieldstream_edge.payloads.decoded import Decoded, Item, Named, PayloadError, Refused

MAX_TEXT = 256  # characters of unit, quality, operator and names: longer ones are a mistake, and cost everyone


class _Metrics(msgspec.Struct):
    metrics: dict[str, float]
    ts: int | float | str | None = None
    quality: str | None = None
    operator: str | None = None


_number = msgspec.json.Decoder(float).decode
_item = msgspec.json.Decoder(Item).decode
_items = msgspec.json.Decoder(list[Item]).decode
_metrics = msgspec.json.Decoder(_Metrics).decode
_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_BRACE, _BRACKET = ord("{"), ord("[")
_WHITESPACE = b" \t\r\n"
_TYPES = {str: "text", bool: "a truth value", type(None): "null", dict: "an object", list: "an array"}


def decode_metric(payload: bytes) -> list[Item] | Decoded:
    """Readings of a message on a topic that names the metric. Raises PayloadError."""
    try:
        first = payload[0]
        if first == _BRACE:
            return [_item(payload)]
        if first == _BRACKET:
            return _items(payload) or _explain(payload, named=False)
        return [Item(_number(payload))]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
        return _explain(payload, named=False)


def decode_device(payload: bytes) -> Decoded:
    """Readings of a message on a topic that names only the device. Raises PayloadError."""
    try:
        message = _metrics(payload)
        return _from_metrics(message) if message.metrics else _explain(payload, named=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _explain(payload, named=True)


def _from_metrics(message: _Metrics) -> Decoded:
    return Decoded(
        named=[
            Named(metric, Item(value, message.ts, None, message.quality, message.operator))
            for metric, value in message.metrics.items()
        ]
    )


def _explain(payload: bytes, *, named: bool) -> Decoded:
    stripped = payload.strip(_WHITESPACE)
    if not stripped:
        raise PayloadError("empty-payload", "the message has no payload; send a number or an object with `value`")
    document = _parse(stripped)
    if not isinstance(document, list):
        return _element(document, named=named)
    if not document:
        raise PayloadError("bad-form", "the array is empty")
    whole = Decoded()
    for raw, element in zip(_slices(stripped, document), document, strict=True):
        try:
            if not isinstance(element, dict):
                raise PayloadError("bad-form", f"an element of the array is {_type(element)}, not an object")
            part = _element(element, named=named)
        except PayloadError as error:
            whole.refused.append(Refused(error.reason, error.detail, raw))
            continue
        whole.items += part.items
        whole.named += part.named
        whole.refused += part.refused
    return whole


def _slices(payload: bytes, document: list[Any]) -> list[bytes]:
    """The original bytes of each element; when one is not strict JSON (NaN), the elements written anew."""
    try:
        return [bytes(raw) for raw in _raw_list(payload)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [json.dumps(element).encode() for element in document]


def _parse(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except RecursionError as error:
        raise PayloadError("bad-form", "the JSON is nested too deeply") from error
    except ValueError as error:
        text = payload[:32].decode(errors="replace").strip().lower().lstrip("+-")
        if text in ("nan", "inf", "infinity", "1.#inf", "1.#qnan"):
            raise PayloadError("not-finite", f"the value is {text}; leave out readings without a value") from error
        raise PayloadError("not-json", f"neither a number nor JSON: {error}") from error


def _element(document: Any, *, named: bool) -> Decoded:
    """One object (or number), of which something is wrong or that is a form the fast path does not know."""
    if not isinstance(document, dict):
        if named:
            raise PayloadError("bad-form", "this topic names no metric: send an object with `metrics`")
        return Decoded(items=[Item(check_value(document))])
    if named:
        if not isinstance(document.get("metrics"), dict):
            raise PayloadError("bad-form", "this topic names no metric, and the object has no object `metrics`")
        if not document["metrics"]:
            raise PayloadError("bad-form", "`metrics` is empty")
        return _metrics_element(document)
    if "value" not in document:
        raise PayloadError("bad-form", "the object has no `value`")
    item = Item(check_value(document["value"]), **_rest(document))
    item.unit = _text(document, "unit")
    return Decoded(items=[item])


def _metrics_element(document: dict[str, Any]) -> Decoded:
    decoded, rest = Decoded(), _rest(document)
    for metric, value in document["metrics"].items():
        try:
            decoded.named.append(Named(encodable(metric), Item(check_value(value), **rest)))
        except PayloadError as error:
            name = metric.encode(errors="replace").decode()
            decoded.refused.append(Refused(error.reason, error.detail, json.dumps(value).encode(), name))
    return decoded


def _rest(document: dict[str, Any]) -> dict[str, Any]:
    ts = document.get("ts")
    if isinstance(ts, bool) or not isinstance(ts, int | float | str | None):
        raise PayloadError("bad-timestamp", f"`ts` is {_type(ts)}, not milliseconds or an ISO 8601 date")
    return {"ts": ts, "quality": _text(document, "quality"), "operator": _text(document, "operator")}


def check_value(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PayloadError("not-a-number", f"the value is {_type(value)}, not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise PayloadError("not-finite", "the value is NaN, infinite, or beyond a 64-bit float")
    return number


def _text(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise PayloadError("bad-form", f"`{key}` is {_type(value)}, not a text")
    return encodable(value)


def encodable(value: str) -> str:
    """Half a surrogate pair (`\\ud800`) is JSON, but no text that could be stored."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise PayloadError("bad-form", "a text holds half a surrogate pair") from error
    return value


def _type(value: Any) -> str:
    return _TYPES.get(type(value), "a number")
