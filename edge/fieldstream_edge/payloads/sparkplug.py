"""Sparkplug B: births name the metrics, data refers to them by alias, deaths make a device's quality bad.

Per edge node the last sequence number, the aliases and who is alive are kept. When a sequence number is missing, data
comes before its birth, or an alias is unknown, a rebirth is requested; what can be told is accepted all the same.
Numbers and truth values (1 and 0) become readings; texts, bytes, data sets and templates carry none.
"""

import math
import struct
from dataclasses import dataclass, field
from typing import Any

from fieldstream_schemas.quality import BAD, Flag
from google.protobuf.message import DecodeError

from fieldstream_edge.payloads.decoded import Decoded, Item, Named, PayloadError, Refused
from fieldstream_edge.payloads.sparkplug_schema import Payload

PREFIX = "spBv1.0/"
_SIGNED = {1: "b", 2: "h", 3: "i", 4: "q"}  # Int8, Int16, Int32, Int64
_BOOLEAN = 11
_KNOWN_TYPES = 64


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    datatype: int


@dataclass
class _Node:
    seq: int | None = None
    birth_sequence: int | None = None
    alive: bool = False
    born: dict[str, dict[int, _Metric]] = field(default_factory=dict)  # by device ("": the node itself), by alias
    types: dict[tuple[str, str], int] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    asked: bool = False


class Sparkplug:
    """Decodes the messages of all edge nodes. `rebirths` collects the commands that should be published."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], _Node] = {}
        self.rebirths: list[tuple[str, bytes]] = []

    def decode(self, topic: str, payload: bytes) -> Decoded:
        """Readings of one message. Raises PayloadError."""
        parts = topic.split("/")
        if len(parts) not in (4, 5) or not all(parts):
            if parts[1:2] == ["STATE"]:
                return Decoded()
            raise PayloadError("bad-topic", "a Sparkplug topic is spBv1.0/GROUP/TYPE/NODE[/DEVICE]")
        _, group, kind, node_name, *rest = parts
        device = rest[0] if rest else ""
        if kind in ("NCMD", "DCMD"):
            return Decoded()
        if kind[1:] not in ("BIRTH", "DATA", "DEATH") or (kind[0] == "D") != bool(device):
            raise PayloadError("bad-topic", f'"{kind}" with {len(parts)} levels is no Sparkplug message')
        try:
            message: Any = Payload.FromString(payload)
        except DecodeError as error:
            raise PayloadError("bad-payload", "damaged or no Sparkplug B payload") from error
        if any(isinstance(metric.name, bytes) for metric in message.metrics):  # protobuf hands them out undecoded
            raise PayloadError("bad-payload", "the name of a metric is no UTF-8")
        node = self._nodes.setdefault((group, node_name), _Node())
        if kind[1:] == "DEATH":
            return self._death(node, device, message)
        self._check_seq(node, kind, message, group, node_name)
        if kind[1:] == "BIRTH":
            self._birth(node, device, message)
        elif device not in node.born:
            self._ask(node, group, node_name)
        return self._readings(node, device, message, (group, node_name))

    def _death(self, node: _Node, device: str, message: Any) -> Decoded:
        if device:
            node.dead.add(device)
            return Decoded()
        birth_sequence = next((_raw_number(each) for each in message.metrics if each.name == "bdSeq"), None)
        if birth_sequence is None or node.birth_sequence in (None, birth_sequence):
            node.alive = False  # the death of an earlier session says nothing about this one
        return Decoded()

    def _birth(self, node: _Node, device: str, message: Any) -> None:
        if not device:
            node.birth_sequence = next((_raw_number(each) for each in message.metrics if each.name == "bdSeq"), None)
            node.alive, node.asked = True, False
            node.born.clear()
            node.dead.clear()
        node.dead.discard(device)
        aliases = node.born[device] = {}
        for metric in message.metrics:
            node.types[device, metric.name] = metric.datatype
            if metric.HasField("alias"):
                aliases[metric.alias] = _Metric(metric.name, metric.datatype)

    def _check_seq(self, node: _Node, kind: str, message: Any, group: str, node_name: str) -> None:
        if not message.HasField("seq"):
            return
        expected = None if kind == "NBIRTH" or node.seq is None else (node.seq + 1) % 256
        node.seq = message.seq
        if expected is not None and message.seq != expected:
            self._ask(node, group, node_name)

    def _ask(self, node: _Node, group: str, node_name: str) -> None:
        if node.asked:
            return
        node.asked = True
        command = Payload()
        metric = command.metrics.add()
        metric.name, metric.datatype, metric.boolean_value = "Node Control/Rebirth", _BOOLEAN, True
        self.rebirths.append((f"{PREFIX}{group}/NCMD/{node_name}", command.SerializeToString()))

    def _readings(self, node: _Node, device: str, message: Any, where: tuple[str, str]) -> Decoded:
        decoded = Decoded()
        device_id = "/".join((*where, device) if device else where)
        aliases = node.born.get(device, {})
        dead = not node.alive or device in node.dead
        for metric in message.metrics:
            try:
                named = self._reading(node, device, metric, aliases)
            except PayloadError as error:
                if error.reason == "bad-payload":
                    self._ask(node, *where)
                decoded.refused.append(
                    Refused(error.reason, error.detail, metric.SerializeToString(), metric.name or None)
                )
                continue
            if named is None:
                continue
            named.device_id = device_id
            if named.item.ts is None and message.HasField("timestamp"):
                named.item.ts = message.timestamp
            if dead:
                named.flags |= Flag.DEVICE_DEAD
                named.item.quality = BAD
            decoded.named.append(named)
        return decoded

    def _reading(self, node: _Node, device: str, metric: Any, aliases: dict[int, _Metric]) -> Named | None:
        """One metric; None when it carries no reading."""
        name, datatype = metric.name, metric.datatype
        if not name:
            known = aliases.get(metric.alias)
            if known is None:
                raise PayloadError(
                    "bad-payload", f"alias {metric.alias} was not announced by a birth; one is requested"
                )
            name, datatype = known.name, known.datatype
        datatype = datatype or node.types.get((device, name), 0)
        if name == "bdSeq" or name.startswith(("Node Control/", "Device Control/")) or metric.is_null:
            return None
        value = _value(metric, datatype)
        if value is None:
            return None
        if not math.isfinite(value):
            raise PayloadError("not-finite", f"{name} is NaN or infinite")
        flags = Flag.HISTORICAL if metric.is_historical else Flag(0)
        return Named(name, Item(value, metric.timestamp if metric.HasField("timestamp") else None), None, int(flags))


def _raw_number(metric: Any) -> int | None:
    kind = metric.WhichOneof("value")
    return int(getattr(metric, kind)) if kind in ("int_value", "long_value") else None


def _value(metric: Any, datatype: int) -> float | None:
    """The number in a metric, or None when its type carries none. Raises PayloadError for a type that cannot be."""
    kind = metric.WhichOneof("value")
    if datatype > _KNOWN_TYPES:
        raise PayloadError("bad-payload", f"datatype {datatype} is not known")
    if kind in ("float_value", "double_value"):
        return float(getattr(metric, kind))
    if kind == "boolean_value":
        return float(metric.boolean_value)
    if kind not in ("int_value", "long_value"):
        return None
    raw = int(getattr(metric, kind))
    code = _SIGNED.get(datatype)
    if code is None:
        return float(raw)
    size = struct.calcsize(f"<{code}")
    return float(struct.unpack(f"<{code}", raw.to_bytes(8, "little")[:size])[0])
