"""Which device and metric an MQTT topic names, and how its payload is decoded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fieldstream_edge.payloads.decoded import Decoded
from fieldstream_edge.payloads.json import MAX_TEXT, decode_device
from fieldstream_edge.payloads.mapping import Mapping
from fieldstream_edge.payloads.sparkplug import PREFIX as SPARKPLUG_PREFIX
from fieldstream_edge.payloads.sparkplug import Sparkplug
from fieldstream_edge.settings import MappingSettings

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

    def __init__(self, mappings: Sequence[MappingSettings]) -> None:
        self._mappings = [Mapping(settings) for settings in mappings]
        self.sparkplug = Sparkplug()

    def route(self, topic: str) -> Route:
        """The route of a topic."""
        for mapping in self._mappings:
            found = mapping.match(topic)
            if found is not None:
                return _mapped(mapping, *found)
        if topic.startswith(SPARKPLUG_PREFIX):
            return Route(decode=lambda payload, _: self.sparkplug.decode(topic, payload))
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
