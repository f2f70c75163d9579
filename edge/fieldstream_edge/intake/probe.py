"""A broker's connection test, for `doctor`: connect and subscribe as the gateway would, in another session."""

import socket
import time
from typing import Any

import mqtt5

from fieldstream_edge.intake.connection import reason_text
from fieldstream_edge.intake.transport import address_of, open_socket, password_of
from fieldstream_edge.settings import MqttSettings

_TIMEOUT_S = 5.0


def probe(broker: MqttSettings, client_id: str) -> tuple[str, str] | None:
    """(problem, remedy), or None when all is well. Raises OSError and its SSL kinds when it cannot connect."""
    if broker.protocol == "3.1.1":
        return _probe_311(broker, client_id)
    with open_socket(broker, timeout_s=_TIMEOUT_S) as sock:
        password = password_of(broker)
        connect = mqtt5.ConnectPacket(
            client_id, username=broker.username or None, password=password, clean_start=True, keep_alive=30
        )
        sock.sendall(connect.write())
        answer = _answer(sock)
        if not isinstance(answer, mqtt5.ConnAckPacket):
            return "does not answer as MQTT 5", 'for an older broker set mqtt.protocol = "3.1.1"'
        if answer.reason_code != mqtt5.ConnAckReasonCode.SUCCESS:
            return f"refuses: {reason_text(answer.reason_code)}", "check username, password and certificate"
        filters = [mqtt5.TopicFilter(pattern, max_qos=mqtt5.QoS.AT_LEAST_ONCE) for pattern in broker.subscriptions]
        sock.sendall(mqtt5.SubscribePacket(1, filters).write())
        granted = _answer(sock)
        sock.sendall(mqtt5.DisconnectPacket().write())
    if isinstance(granted, mqtt5.SubAckPacket):
        refused = [
            pattern
            for pattern, code in zip(broker.subscriptions, granted.reason_codes, strict=False)
            if int(code) >= 0x80
        ]
        if not refused:
            return None
        return f"refuses the subscription {refused[0]}", "allow it in the broker's access list"
    return "does not answer the subscription", "check the broker's log"


def _probe_311(broker: MqttSettings, client_id: str) -> tuple[str, str] | None:
    from fieldstream_edge.intake.mqtt311 import make_client  # paho: only where it is needed

    client = make_client(broker, client_id, clean=True)
    found: list[tuple[str, str] | None] = []

    def connected(_: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            found.append((f"refuses: {str(reason).lower()}", "check username, password and certificate"))
        else:
            client.subscribe([(pattern, 1) for pattern in broker.subscriptions])

    def subscribed(_: Any, __: Any, ___: Any, reasons: Any, ____: Any) -> None:
        refused = [name for name, reason in zip(broker.subscriptions, reasons, strict=False) if reason.is_failure]
        problem = (
            (f"refuses the subscription {refused[0]}", "allow it in the broker's access list") if refused else None
        )
        found.append(problem)

    client.on_connect, client.on_subscribe = connected, subscribed
    client.connect(*address_of(broker))
    deadline = time.monotonic() + _TIMEOUT_S
    while not found and time.monotonic() < deadline:
        client.loop(0.2)
    client.disconnect()
    return found[0] if found else ("does not answer as MQTT 3.1.1", "check the broker's log")


def _answer(sock: socket.socket) -> object:
    data, deadline = b"", time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        received = sock.recv(4096)
        if not received:
            return None
        data += received
        try:
            packet, _ = mqtt5.read(memoryview(data))
        except IndexError:
            continue
        except ValueError:
            return None
        if not isinstance(packet, mqtt5.PublishPacket):
            return packet
        data = b""
    return None
