"""Brokers that speak only MQTT 3.1.1, through paho-mqtt with manual acknowledgement.

Ten times the CPU per message of `connection.py`, the same promises: PUBACK only after the commit. Messages larger
than `max_payload_bytes` are received whole before they become dead letters, so they cost their size in memory.
"""

import contextlib
import logging
import queue
import threading
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from fieldstream_edge.counters import Counters
from fieldstream_edge.intake.acceptor import PAYLOAD_KEPT, Acceptor, Message
from fieldstream_edge.intake.connection import session_check
from fieldstream_edge.intake.topics import STATUS_PREFIX
from fieldstream_edge.intake.transport import address_of, is_secure, password_of, tls_context
from fieldstream_edge.settings import GatewaySettings, MqttSettings
from fieldstream_edge.spool.errors import SpoolError

log = logging.getLogger(__name__)
_QUEUE = 5000
_COMMIT_RETRY_S = 0.5


def make_client(broker: MqttSettings, client_id: str, *, clean: bool) -> paho.Client:
    """A client with the broker's settings, not connected. Raises OSError for files that cannot be used."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id, clean_session=clean, protocol=paho.MQTTv311, manual_ack=True
    )
    if broker.username:
        password = password_of(broker)
        client.username_pw_set(broker.username, password.decode() if password else None)
    if is_secure(broker):
        client.tls_set_context(tls_context(broker))
    return client


class Mqtt311Intake(threading.Thread):
    """Receives from one broker until `stop`. paho's own thread does the I/O, this one commits."""

    suspicion = ""  # see Mqtt5Intake

    def __init__(self, settings: GatewaySettings, number: int, acceptor: Acceptor, counters: Counters) -> None:
        super().__init__(name=f"intake-{number}", daemon=True)
        self.broker = settings.mqtt[number]
        self.connected = False
        self.problem = "not connected yet"
        self._settings = settings
        self._number = number
        self._acceptor = acceptor
        self._counters = counters
        self._stopping = threading.Event()
        self._received: queue.Queue[tuple[Message, int]] = queue.Queue(_QUEUE)  # (message, connection)
        self._connection = 0
        self._status_topic = STATUS_PREFIX + settings.gateway_id

    def stop(self) -> None:
        """Ends the thread after a last commit."""
        self._stopping.set()

    def run(self) -> None:
        """Receives and commits; paho reconnects with back-off up to 30 s."""
        client = make_client(self.broker, self._settings.client_id(self._number), clean=False)
        client.will_set(self._status_topic, b'{"state":"lost"}', retain=True)
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.connect_async(*address_of(self.broker), self.broker.keep_alive_s)
        client.loop_start()
        try:
            while not self._stopping.is_set():
                self._take(client)
        finally:
            client.publish(self._status_topic, b'{"state":"stopped"}', retain=True)
            client.disconnect()
            client.loop_stop()

    # -- in paho's thread --------------------------------------------------------------------------------------

    def _on_connect(self, client: paho.Client, _: Any, flags: Any, reason: Any, *__: Any) -> None:
        if reason.is_failure:
            self.problem = f"refused the connection: {reason}"
            log.warning("broker %s %s", self.broker.url, self.problem)
            return
        session_check(self._settings, self._number, self._counters, present=flags.session_present)
        client.subscribe([(pattern, 1) for pattern in self.broker.subscriptions])
        client.publish(self._status_topic, b'{"state":"online"}', retain=True)
        self._connection += 1
        self.connected, self.problem = True, ""
        self._counters.connects[self.broker.url] += 1
        log.info("connected to %s (MQTT 3.1.1)", self.broker.url)

    def _on_disconnect(self, _: paho.Client, __: Any, ___: Any, reason: Any, *____: Any) -> None:
        if self.connected:
            self._counters.disconnects[self.broker.url] += 1
            log.warning("broker %s: connection lost (%s); trying again until it is back", self.broker.url, reason)
        self.connected, self.problem = False, f"connection lost: {reason}"

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        if message.retain:
            # An old one, see connection.py; 3.1.1 cannot ask the broker to leave them out.
            client.ack(message.mid, message.qos)
            return
        payload, limit = bytes(message.payload), self._settings.intake.max_payload_bytes
        large = len(payload) > limit
        taken = Message(
            message.topic,
            payload[:PAYLOAD_KEPT] if large else payload,
            message.mid if message.qos else None,
            message.dup,
            len(payload) if large else -1,
        )
        while not self._stopping.is_set():
            with contextlib.suppress(queue.Full):  # the socket is not read meanwhile: that is the back-pressure
                self._received.put((taken, self._connection), timeout=0.5)
                return

    # -- in ours -----------------------------------------------------------------------------------------------

    def _take(self, client: paho.Client) -> None:
        try:
            first = self._received.get(timeout=0.5)
        except queue.Empty:
            return
        time.sleep(self._settings.spool.commit_interval_ms / 1000)
        taken = [first]
        while len(taken) < _QUEUE and not self._received.empty():
            taken.append(self._received.get_nowait())
        done: list[int] = []
        with self._acceptor.lock:
            self._acceptor.accept([message for message, _ in taken], self._number, _Acknowledge(done))
        connection = taken[-1][1]
        failed = False
        while True:
            try:
                with self._acceptor.lock:
                    self._acceptor.commit()
                    commands = self._acceptor.commands(self._number)
                break
            except SpoolError as error:
                self.problem = str(error)
                if not failed:
                    log.error("no readings are accepted: %s", error)
                failed = True
                self._counters.commit_retries += 1
                if self._stopping.wait(_COMMIT_RETRY_S):
                    return
        if failed:
            self.problem = ""
            log.info("readings are accepted again")
        for topic, payload in commands:
            client.publish(topic, payload)
        for packet_id in done:
            if connection == self._connection:
                client.ack(packet_id, 1)


class _Acknowledge:
    """Hashable receiver of released packet ids."""

    def __init__(self, done: list[int]) -> None:
        self._done = done

    def __call__(self, packet_ids: list[int]) -> None:
        self._done.extend(packet_ids)
