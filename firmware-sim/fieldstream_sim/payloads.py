"""Readings as MQTT messages, in the payload forms of the contract, and messages that break it on purpose."""

import json
from collections.abc import Sequence

from fieldstream_sim.plant import Device
from fieldstream_sim.publish import Message
from fieldstream_sim.truth import Reading

HUGE_BYTES = 10 * 1024 * 1024
YEAR_2100_MS = 4102444800000
UNKNOWN_DEVICE = "not-in-the-registry"


def messages_of(device: Device, readings: Sequence[Reading], units: dict[str, str]) -> list[Message]:
    """Messages that carry `readings` (of one device, in order of time) in the device's payload form."""
    if device.payload == "multi":
        by_ts: dict[int, list[Reading]] = {}
        for reading in readings:
            by_ts.setdefault(reading.ts, []).append(reading)
        return [_multi(device.id, group) for group in by_ts.values()]
    if device.payload == "array":
        by_metric: dict[str, list[Reading]] = {}
        for reading in readings:
            by_metric.setdefault(reading.metric, []).append(reading)
        return [_array(group) for group in by_metric.values()]
    return [_single(reading, units.get(reading.metric, "")) for reading in readings]


def _topic(reading: Reading) -> str:
    return f"sensors/{reading.device_id}/{reading.metric}"


def _single(reading: Reading, unit: str) -> Message:
    body: dict[str, object] = {"ts": reading.ts, "value": reading.value}
    if unit:
        body["unit"] = unit
    return Message(_topic(reading), json.dumps(body, separators=(",", ":")).encode(), (reading,))


def _array(group: Sequence[Reading]) -> Message:
    body = [{"ts": reading.ts, "value": reading.value} for reading in group]
    return Message(_topic(group[0]), json.dumps(body, separators=(",", ":")).encode(), tuple(group))


def _multi(device_id: str, group: Sequence[Reading]) -> Message:
    metrics = {reading.metric: reading.value for reading in group}
    body = {"ts": group[0].ts, "metrics": metrics}
    return Message(f"sensors/{device_id}", json.dumps(body, separators=(",", ":")).encode(), tuple(group))


def malformed(known: Reading, number: int) -> list[Message]:
    """One message of each kind of bad input; `known` is a reading that was acknowledged before.

    Reasons are those of `fieldstream_schemas.reasons`; `accepted:FLAG` means stored with that quality flag, under
    the gateway's receive time or, for the unknown sensor, its own.
    """
    topic = _topic(known)
    conflict = json.dumps({"ts": known.ts, "value": known.value + 1.0}).encode()
    unknown = json.dumps({"ts": known.ts + number, "value": 1.0}).encode()
    epoch = json.dumps({"ts": 1000 + number, "value": known.value}).encode()
    future = json.dumps({"ts": YEAR_2100_MS + number, "value": known.value}).encode()
    bad = [
        (topic, b'{"ts": 1, "value": ', "not-json"),
        (topic, b"NaN", "not-finite"),
        (topic, b'{"value": "warm"}', "not-a-number"),
        (topic, b"", "empty-payload"),
        (topic, b"1" * HUGE_BYTES, "too-large"),
        (f"{topic}/one/too/many", b"1.0", "bad-topic"),
        (topic, b'{"ts": "yesterday", "value": 1.0}', "bad-timestamp"),
        (topic, b'{"val": 1.0}', "bad-form"),
        (topic, conflict, "conflict"),
        (f"sensors/{UNKNOWN_DEVICE}/temperature", unknown, "accepted:unknown-sensor"),
        (topic, epoch, "accepted:ts-absurd"),
        (topic, future, "accepted:ts-future"),
    ]
    return [Message(name, payload, reject_reason=reason) for name, payload, reason in bad]
