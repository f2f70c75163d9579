"""One MQTT 5 broker: connect, subscribe, receive, acknowledge; again and again, in a thread of its own."""

import logging
import random
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from pathlib import Path

import mqtt5

from fieldstream_edge.counters import Counters
from fieldstream_edge.intake.acceptor import Acceptor, Message
from fieldstream_edge.intake.packets import PacketBuffer, ProtocolError
from fieldstream_edge.intake.topics import STATUS_PREFIX
from fieldstream_edge.intake.transport import open_socket, password_of
from fieldstream_edge.settings import GatewaySettings, MqttSettings
from fieldstream_edge.spool.errors import SpoolError

log = logging.getLogger(__name__)
_BUFFER_BYTES = 256 * 1024
_SHORTEST_BACK_OFF_S = 0.5
_LONGEST_BACK_OFF_S = 30.0
_SHORT_LIFE_S = 10.0
_SUSPICIOUS_LIVES = 3  # mosquitto 2.0 closes without a word when another client takes the session over
_TAKEN_OVER = "another client uses this client_id: give each gateway its own gateway_id"
_CONNECT_TIMEOUT_S = 10.0
_COMMIT_RETRY_S = 0.5


_GRANTED = (mqtt5.SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE, mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE)


def reason_text(code: object) -> str:
    """A reason code's name; at run time the library's codes are no Python enums."""
    return str(code).rpartition(".")[2].lower().replace("_", " ")


class BrokerError(Exception):
    """The broker refused, or the connection is lost."""


class Mqtt5Intake(threading.Thread):
    """Receives from one broker until `stop`."""

    def __init__(self, settings: GatewaySettings, number: int, acceptor: Acceptor, counters: Counters) -> None:
        super().__init__(name=f"intake-{number}", daemon=True)
        self.broker: MqttSettings = settings.mqtt[number]
        self.connected = False
        self.problem = "not connected yet"
        self._settings = settings
        self._number = number
        self._client_id = settings.client_id(number)
        self._status_topic = STATUS_PREFIX + settings.gateway_id
        self._acceptor = acceptor
        self._counters = counters
        self._stopping = threading.Event()
        self._short_lives = 0  # connections in a row that ended soon
        self._connected_at = 0.0
        self._interval_s = settings.spool.commit_interval_ms / 1000
        self._buffer_bytes = max(_BUFFER_BYTES, settings.intake.max_payload_bytes + 80_000)

    @property
    def suspicion(self) -> str:
        """What is wrong although it is connected just now, or nothing."""
        lasts = self.connected and time.monotonic() - self._connected_at > _SHORT_LIFE_S
        if self._short_lives < _SUSPICIOUS_LIVES or lasts:
            return ""
        return f"the connection ended {self._short_lives} times soon after connecting; perhaps {_TAKEN_OVER}"

    def stop(self) -> None:
        """Ends the thread after a last commit."""
        self._stopping.set()

    def run(self) -> None:
        """Connects and receives; after a loss tries again, at most every 30 s."""
        back_off, lost_at = _SHORTEST_BACK_OFF_S, None
        while not self._stopping.is_set():
            connection, connected_at = None, None
            try:
                connection = self._connect()
                self._connected_at = connected_at = time.monotonic()
                self.connected, self.problem = True, ""
                self._counters.connects[self.broker.url] += 1
                if self._short_lives < _SUSPICIOUS_LIVES:
                    since = f" after {connected_at - lost_at:.1f} s" if lost_at else ""
                    log.info("connected to %s%s", self.broker.url, since)
                lost_at = None
                connection.receive()
            except (OSError, BrokerError, ProtocolError) as error:
                self._judge_loss(error, connected_at)
                if lost_at is None:
                    lost_at = time.monotonic()
                    if self._short_lives in (0, 1, _SUSPICIOUS_LIVES):
                        log.warning("broker %s: %s; trying again until it is back", self.broker.url, self.problem)
            finally:
                if self.connected:
                    self._counters.disconnects[self.broker.url] += 1
                self.connected = False
                if connection is not None:
                    connection.close()
            if connected_at is not None and not self._short_lives:
                back_off = _SHORTEST_BACK_OFF_S
            self._stopping.wait(back_off * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects, no secret
            back_off = min(back_off * 2, _LONGEST_BACK_OFF_S)

    def _judge_loss(self, error: Exception, connected_at: float | None) -> None:
        """What to tell the operator; a connection that ends soon again and again has a reason of its own."""
        self.problem = str(error) or type(error).__name__
        if connected_at is None:
            return
        short = time.monotonic() - connected_at < _SHORT_LIFE_S
        self._short_lives = self._short_lives + 1 if short else 0
        if "client_id" not in self.problem:
            self.problem = self.suspicion or self.problem

    def _connect(self) -> "_Connection":
        connection = _Connection(open_socket(self.broker, timeout_s=_CONNECT_TIMEOUT_S), self)
        try:
            connection.handshake()
        except BaseException:
            connection.close()
            raise
        return connection

    def connect_packet(self) -> mqtt5.ConnectPacket:
        """What the gateway says on connecting."""
        broker = self.broker
        return mqtt5.ConnectPacket(
            self._client_id,
            username=broker.username or None,
            password=password_of(broker),
            clean_start=False,
            will=mqtt5.Will(self._status_topic, payload=b'{"state":"lost"}', retain=True),
            keep_alive=broker.keep_alive_s,
            session_expiry_interval=broker.session_expiry_s,
            receive_max=broker.receive_maximum,
        )

    def state_packet(self, state: str) -> bytes:
        """The retained word on the gateway's status topic."""
        payload = b'{"state":"%b"}' % state.encode()
        return mqtt5.PublishPacket(self._status_topic, payload, retain=True).write()


def session_check(settings: GatewaySettings, number: int, counters: Counters, *, present: bool) -> None:
    """Notices when the broker has lost our session: messages of the outage may be lost with it."""
    broker = settings.mqtt[number]
    marker = Path(settings.state_dir) / f"session-{number}"
    known = f"{broker.url} {settings.client_id(number)}"
    if not present and marker.exists() and marker.read_text() == known:
        counters.sessions_lost += 1
        log.error(
            "%s has lost our session: what devices sent while the gateway was away may be lost there; "
            "check persistence in the broker's configuration",
            broker.url,
        )
    marker.write_text(known)


class _Connection:
    """One connection's life."""

    def __init__(self, sock: socket.socket, owner: Mqtt5Intake) -> None:
        self._socket = sock
        self._owner = owner
        self._acceptor = owner._acceptor
        self._buffer = PacketBuffer(
            owner._buffer_bytes,
            owner._settings.intake.max_payload_bytes + 70_100,
            time_property=owner.broker.broker_time_property,
        )
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._ready: deque[int] = deque()  # packet ids whose readings are durable
        self._keep_alive_s: float = owner.broker.keep_alive_s
        self._sent_at = self._received_at = time.monotonic()

    # -- handshake ---------------------------------------------------------------------------------------------

    def handshake(self) -> None:
        """CONNECT and SUBSCRIBE. Raises BrokerError."""
        owner = self._owner
        self._socket.settimeout(_CONNECT_TIMEOUT_S)
        self._socket.sendall(owner.connect_packet().write())
        answer = self._wait_for(mqtt5.ConnAckPacket)
        if answer.reason_code != mqtt5.ConnAckReasonCode.SUCCESS:
            raise BrokerError(
                f"refused the connection: {reason_text(answer.reason_code)} {answer.reason_str or ''}".strip()
            )
        if answer.server_keep_alive:
            self._keep_alive_s = answer.server_keep_alive
        session_check(owner._settings, owner._number, owner._counters, present=answer.session_present)
        filters = [
            mqtt5.TopicFilter(
                pattern,
                max_qos=mqtt5.QoS.AT_LEAST_ONCE,
                no_local=not pattern.startswith("$share/"),
                # A retained message is an old one: whoever is subscribed has had it when it was published.
                retain_handling=mqtt5.RetainHandling.SEND_NEVER,
            )
            for pattern in owner.broker.subscriptions
        ]
        self._socket.setblocking(False)
        self._send(mqtt5.SubscribePacket(1, filters).write())
        self._send(owner.state_packet("online"))

    def _wait_for(self, kind: type) -> mqtt5.ConnAckPacket:
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S
        while time.monotonic() < deadline:
            count = self._socket.recv_into(self._buffer.space())
            if not count:
                raise BrokerError("closed the connection during the handshake")
            self._buffer.filled(count)
            for packet in self._buffer.packets():
                if isinstance(packet, kind):
                    found: mqtt5.ConnAckPacket = packet  # type: ignore[assignment]
                    return found
        raise BrokerError("did not answer CONNECT")

    # -- receiving ---------------------------------------------------------------------------------------------

    def receive(self) -> None:
        """Receives until the connection is lost (BrokerError, OSError) or the intake stops."""
        acceptor, owner = self._acceptor, self._owner
        self._handle_buffered()
        while not owner._stopping.is_set():
            self._release()
            self._keep_alive()
            if not self._readable(min(1.0, self._keep_alive_s / 4)):
                continue
            self._receive_once()
            if acceptor.pending:
                self._gather()
                self._commit()
        self._farewell()

    def _gather(self) -> None:
        """Takes in more until the commit interval is over, so that one sync covers it all."""
        end = time.monotonic() + self._owner._interval_s
        while not self._acceptor.full:
            if self._readable(0):
                if not self._receive_once():
                    # The socket is drained: sleeping costs less than waking for every message.
                    rest = end - time.monotonic()
                    if rest <= 0:
                        return
                    time.sleep(rest)
            else:
                rest = end - time.monotonic()
                if rest <= 0:
                    return
                time.sleep(rest)

    def _receive_once(self) -> bool:
        """Receives what is there and takes it in; whether the buffer was filled, so that more is likely there."""
        space = self._buffer.space()
        size = len(space)
        try:
            count = self._socket.recv_into(space)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        if not count:
            raise BrokerError("closed the connection")
        self._received_at = time.monotonic()
        self._buffer.filled(count)
        self._handle_buffered()
        return count == size or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0)

    def _handle_buffered(self) -> None:
        messages = []
        for packet in self._buffer.packets():
            if packet.__class__ is Message:
                messages.append(packet)
            else:
                self._handle(packet)
        if messages:
            with self._acceptor.lock:
                self._acceptor.accept(messages, self._owner._number, self._ready.extend)

    def _handle(self, packet: object) -> None:
        if isinstance(packet, mqtt5.SubAckPacket):
            for pattern, code in zip(self._owner.broker.subscriptions, packet.reason_codes, strict=False):
                if code not in _GRANTED:
                    raise BrokerError(f"refused the subscription {pattern}: {reason_text(code)}")
        elif isinstance(packet, mqtt5.DisconnectPacket):
            hint = ""
            if packet.reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER:
                hint = f"; {_TAKEN_OVER}"
            raise BrokerError(f"ended the connection: {reason_text(packet.reason_code)}{hint}")

    def _commit(self) -> None:
        """Commits what is pending and acknowledges it; while that fails the broker keeps the rest."""
        started: float | None = None
        while True:
            try:
                with self._acceptor.lock:
                    self._acceptor.commit()
                    commands = self._acceptor.commands(self._owner._number)
                break
            except SpoolError as error:
                self._owner.problem = str(error)
                if started is None:
                    started = time.monotonic()
                    log.error("no readings are accepted: %s", error)
                self._owner._counters.commit_retries += 1
                if self._owner._stopping.wait(_COMMIT_RETRY_S):
                    raise BrokerError("stopped while the spool refused") from error
                self._keep_alive(deaf=True)
        if started is not None:
            self._owner.problem = ""
            log.info("readings are accepted again after %.1f s", time.monotonic() - started)
        self._release()
        for topic, payload in commands:
            self._send(mqtt5.PublishPacket(topic, payload).write())

    def _release(self) -> None:
        """Sends PUBACK for everything that is durable, in the order of arrival."""
        count = len(self._ready)
        if count:
            packet_ids = [0x40020000 | self._ready.popleft() for _ in range(count)]
            self._send(struct.pack(f">{count}I", *packet_ids))

    # -- wire --------------------------------------------------------------------------------------------------

    def _readable(self, timeout_s: float) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(self._poll.poll(timeout_s * 1000))

    def _keep_alive(self, *, deaf: bool = False) -> None:
        """Pings; notices a silent broker, unless we do not listen ourselves (`deaf`)."""
        now = time.monotonic()
        if now - self._sent_at >= self._keep_alive_s / 2:
            self._send(mqtt5.PingReqPacket().write())
        if deaf:
            self._received_at = now
        elif now - self._received_at > 1.5 * self._keep_alive_s:
            raise BrokerError(f"has been silent for {now - self._received_at:.0f} s")

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        deadline = time.monotonic() + _LONGEST_BACK_OFF_S
        while view:
            try:
                view = view[self._socket.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as error:
                if time.monotonic() > deadline:
                    raise BrokerError("takes no bytes any more") from error
                select.select([], [self._socket], [], 1.0)
        self._sent_at = time.monotonic()

    def _farewell(self) -> None:
        if self._acceptor.pending:
            self._commit()
        self._release()
        self._send(self._owner.state_packet("stopped"))
        self._send(mqtt5.DisconnectPacket().write())

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()
