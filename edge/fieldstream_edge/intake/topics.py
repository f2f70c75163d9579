"""Which device and metric an MQTT topic names."""

from dataclasses import dataclass

from fieldstream_edge.payloads.json import MAX_TEXT

STATUS_PREFIX = "fieldstream/gateways/"


@dataclass(frozen=True, slots=True)
class Route:
    """What a topic says. `problem`: it fits no layout. `own`: it is a gateway's own status topic."""

    device_id: str = ""
    metric: str = ""
    problem: str = ""
    own: bool = False


def route(topic: str) -> Route:
    """Layouts of the contract: `sensors/{device_id}/{metric}` and `sensors/{device_id}`."""
    parts = topic.split("/")
    if parts[0] == "sensors" and len(parts) in (2, 3) and all(parts[1:]):
        if max(map(len, parts)) > MAX_TEXT:
            return Route(problem=f"a name in the topic is longer than {MAX_TEXT} characters")
        return Route(parts[1], parts[2] if len(parts) == 3 else "")
    if topic.startswith(STATUS_PREFIX):
        return Route(own=True)
    return Route(problem="the topic is neither sensors/DEVICE/METRIC nor sensors/DEVICE")
