"""Cutting the stream of bytes into MQTT packets."""

import mqtt5
import pytest
from fieldstream_edge.intake.acceptor import Message
from fieldstream_edge.intake.packets import PacketBuffer, ProtocolError
from hypothesis import given, settings
from hypothesis import strategies as st

_LARGEST = 200_000


def publish(topic: str, payload: bytes, packet_id: int | None = None) -> bytes:
    qos = mqtt5.QoS.AT_LEAST_ONCE if packet_id else mqtt5.QoS.AT_MOST_ONCE
    return mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=packet_id, user_properties=[("a", "b")]).write()


def feed(data: bytes, step: int) -> list[object]:
    buffer = PacketBuffer(_LARGEST + 80_000, _LARGEST)
    found: list[object] = []
    at = 0
    while at < len(data):
        space = buffer.space()
        count = min(step, len(space), len(data) - at)
        assert count
        space[:count] = data[at : at + count]
        buffer.filled(count)
        at += count
        found += buffer.packets()
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("abc/", min_size=1, max_size=20), st.integers(0, 2000), st.integers(1, 65535)), max_size=6
    ),
    st.integers(1, 5000),
)
def test_messages_survive_any_fragmentation(messages: list[tuple[str, int, int]], step: int) -> None:
    data = b"".join(publish(topic, b"x" * size, packet_id) for topic, size, packet_id in messages)
    found = feed(data + mqtt5.PingRespPacket().write(), step)
    assert isinstance(found.pop(), mqtt5.PingRespPacket)
    assert found == [Message(topic, b"x" * size, packet_id) for topic, size, packet_id in messages]


def test_brokers_time_is_taken_from_its_user_property() -> None:
    buffer = PacketBuffer(_LARGEST + 80_000, _LARGEST, time_property="timestamp")
    properties = [("client-id", "d"), ("timestamp", "2026-11-24T10:00:00Z")]
    data = mqtt5.PublishPacket("a", b"1", user_properties=properties).write() + publish("b", b"2")
    buffer.space()[: len(data)] = data
    buffer.filled(len(data))
    assert [message.broker_time for message in buffer.packets()] == ["2026-11-24T10:00:00Z", ""]


@pytest.mark.parametrize("size", [300_000, 10_000_000])
@pytest.mark.parametrize("step", [1000, 65_536, 1 << 20])
def test_large_message_is_cut_but_its_neighbours_and_size_are_kept(size: int, step: int) -> None:
    data = publish("a", b"1", 1) + publish("sensors/d/t", b"y" * size, 2) + publish("b", b"2")
    first, large, last = feed(data, step)
    assert first == Message("a", b"1", 1)
    assert large == Message("sensors/d/t", b"y" * 65_536, 2, size=size)
    assert last == Message("b", b"2")


def test_garbage_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        feed(b"\x00\x00\x00\x00", 4)
