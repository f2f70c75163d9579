"""MQTT 5 publisher that knows the fate of every message.

QoS 1; what the broker has not acknowledged is kept and sent again after a reconnect, byte for byte, so a reading
keeps its identity. The broker's receive maximum and maximum packet size are honoured.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlparse

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fieldstream_sim.truth import Reading, now_ms

OUTSTANDING_MESSAGES = 1_000  # or the broker's receive maximum, if that is less
SESSION_EXPIRY_S = 3600
FIRST_FAILURE_CODE = 128


class BrokerUnreachableError(Exception):
    """No MQTT broker answered at start."""


@dataclass(slots=True)
class Message:
    """One MQTT message: what it carries and what became of it."""

    topic: str
    payload: bytes
    readings: Sequence[Reading] = ()
    reject_reason: str = ""  # set for deliberately bad messages
    repeat: bool = False  # a deliberate duplicate: its readings are already accounted for
    sent_ms: int = field(default=0)


class Publisher:
    """Publishes messages; `on_fate(message, acked_ms or None)` is called once each, from the network thread."""

    def __init__(self, url: str, client_id: str, on_fate: Callable[[Message, int | None], None]) -> None:
        parts = urlparse(url)
        if parts.scheme != "mqtt" or not parts.hostname:
            raise ValueError(f"{url!r}: write mqtt://HOST:PORT")
        self._host, self._port = parts.hostname, parts.port or 1883
        self._on_fate = on_fate
        self._waiting: deque[Message] = deque()
        self._outstanding: dict[int, Message] = {}
        self._early_acks: dict[int, int] = {}
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._work = threading.Event()
        self._stopped = threading.Event()
        self._window = OUTSTANDING_MESSAGES
        self._packet_limit: int | None = None
        self.refused = 0
        self.reconnects = -1
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        if parts.username:
            self._client.username_pw_set(parts.username, parts.password)
        self._client.max_inflight_messages_set(0)  # the window is ours: paho's cannot follow the broker's
        self._client.max_queued_messages_set(0)
        self._client.reconnect_delay_set(min_delay=1, max_delay=5)
        self._client.on_connect = self._connected_now
        self._client.on_disconnect = lambda *_: self._connected.clear()
        self._client.on_publish = self._acknowledged

    def start(self, timeout_s: float = 15.0) -> None:
        """Connects. Raises BrokerUnreachableError if that fails for `timeout_s`."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self._client.connect_async(self._host, self._port, keepalive=30, clean_start=True, properties=properties)
        self._client.loop_start()
        if not self._connected.wait(timeout_s):
            self._client.loop_stop()
            raise BrokerUnreachableError(
                f"no MQTT broker answers on {self._host}:{self._port}: start it (`make up`) or name another with --mqtt"
            )
        threading.Thread(target=self._drain, name="mqtt-send", daemon=True).start()

    @property
    def pending(self) -> int:
        """Messages not yet acknowledged, sent or waiting."""
        return len(self._outstanding) + len(self._waiting)

    @property
    def connected(self) -> bool:
        """Whether the broker is there right now."""
        return self._connected.is_set()

    def publish(self, message: Message) -> None:
        """Hands a message over; returns at once."""
        message.sent_ms = now_ms()
        self._waiting.append(message)
        self._work.set()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Waits, at most `timeout_s`, for outstanding acknowledgements, reports the rest as lost, disconnects."""
        deadline = now_ms() + timeout_s * 1000
        pause = threading.Event()
        while self.pending and now_ms() < deadline:
            pause.wait(0.02)
        self._stopped.set()
        self._work.set()
        self._client.disconnect()
        self._client.loop_stop()
        with self._lock:
            lost = [*self._outstanding.values(), *self._waiting]
            self._outstanding.clear()
            self._waiting.clear()
        for message in lost:
            self._on_fate(message, None)

    def _drain(self) -> None:
        # A thread of its own: paho holds its lock while it reports an acknowledgement, so sending from there,
        # or holding a lock of ours while sending, could block for ever.
        while not self._stopped.is_set():
            self._work.wait()
            self._work.clear()
            while self._waiting and len(self._outstanding) < self._window and not self._stopped.is_set():
                self._send(self._waiting.popleft())

    def _send(self, message: Message) -> None:
        if self._packet_limit and len(message.payload) + len(message.topic) + 32 > self._packet_limit:
            self._on_fate(message, None)
            return
        mid = self._client.publish(message.topic, message.payload, qos=1).mid
        with self._lock:
            acked_ms = self._early_acks.pop(mid, None)
            if acked_ms is None:
                self._outstanding[mid] = message
        if acked_ms is not None:
            self._on_fate(message, acked_ms if acked_ms >= 0 else None)

    def _connected_now(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            return
        limit = getattr(properties, "ReceiveMaximum", None)
        self._window = min(OUTSTANDING_MESSAGES, int(limit)) if limit else OUTSTANDING_MESSAGES
        self._packet_limit = getattr(properties, "MaximumPacketSize", None)
        self.reconnects += 1
        self._connected.set()
        self._work.set()

    def _acknowledged(self, _client: mqtt.Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        at_ms = now_ms()
        refused = getattr(reason, "value", 0) >= FIRST_FAILURE_CODE
        with self._lock:
            message = self._outstanding.pop(mid, None)
            if message is None:
                self._early_acks[mid] = -1 if refused else at_ms
        self._work.set()
        if refused:
            self.refused += 1
        if message is not None:
            self._on_fate(message, None if refused else at_ms)
