"""Which device and metric an MQTT topic names, and how its payload is decoded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fieldstream_edge.payloads.decoded import Decoded
from fieldstream_edge.payloads.json import MAX_TEXT, decode_device
from fieldstream_edge.payloads.mapping import Mapping
from fieldstream_edge.settings import MappingSettings

if TYPE_CHECKING:
    from fieldstream_edge.payloads.sparkplug import Sparkplug

SPARKPLUG_PREFIX = "spBv1.0/"
STATUS_PREFIX = "fieldstream/gateways/"
Decode = Callable[[bytes, int], Decoded]  # payload, receive time in ms


@dataclass(frozen=True, slots=True)
class Route:
    """What a topic says.

    `plain`: the contract's form with device and metric, decoded on the fast path. `problem`: it fits no layout.
    `own`: it is a gateway's own status topic.
    """

    device_id: str = ""
    metric: str = ""
    plain: bool = False
    problem: str = ""
    own: bool = False
    decode: Decode | None = None


class Router:
    """Routes by the configured mappings, then the contract's layouts, then Sparkplug's."""

    def __init__(self, mappings: Sequence[MappingSettings], before: "Router | None" = None) -> None:
        """`before` hands on what it knows of Sparkplug's nodes."""
        self._mappings = [Mapping(settings) for settings in mappings]
        self._sparkplug: Sparkplug | None = before._sparkplug if before else None

    def rebirths(self) -> list[tuple[str, bytes]]:
        """(topic, payload) of rebirth commands that should be published; each is handed out once."""
        if self._sparkplug is None:
            return []
        found, self._sparkplug.rebirths = self._sparkplug.rebirths, []
        return found

    def _decode_sparkplug(self, topic: str, payload: bytes) -> Decoded:
        if self._sparkplug is None:
            from fieldstream_edge.payloads.sparkplug import Sparkplug  # protobuf: only where it is spoken

            self._sparkplug = Sparkplug()
        return self._sparkplug.decode(topic, payload)

    def route(self, topic: str) -> Route:
        """The route of a topic."""
        for mapping in self._mappings:
            found = mapping.match(topic)
            if found is not None:
                return _mapped(mapping, *found)
        if topic.startswith(SPARKPLUG_PREFIX):
            return Route(decode=lambda payload, _: self._decode_sparkplug(topic, payload))
        if topic.startswith(STATUS_PREFIX):
            return Route(own=True)
        return _contract(topic)


def _contract(topic: str) -> Route:
    parts = topic.split("/")
    if parts[0] != "sensors" or len(parts) not in (2, 3) or not all(parts[1:]):
        return Route(problem="the topic is neither sensors/DEVICE/METRIC nor sensors/DEVICE, and no [[mapping]] fits")
    if max(map(len, parts)) > MAX_TEXT:
        return Route(problem=f"a name in the topic is longer than {MAX_TEXT} characters")
    if len(parts) == 3:
        return Route(parts[1], parts[2], plain=True)
    return Route(parts[1], decode=lambda payload, _: decode_device(payload))


def _mapped(mapping: Mapping, device_id: str, metric: str) -> Route:
    if max(len(device_id), len(metric)) > MAX_TEXT:
        return Route(problem=f"a name in the topic is longer than {MAX_TEXT} characters")
    return Route(
        device_id, metric, decode=lambda payload, received: mapping.decode(payload, device_id, metric, received)
    )
