"""Publishes readings as fast as possible or at a rate: the bench's load, in a process of its own.

QoS 1 over a raw socket with the mqtt5 library; acknowledgements are only counted.
"""

import argparse
import json
import random
import select
import socket
import sys
import time
from collections.abc import Iterator

import mqtt5

_WINDOW = 15_000


class Publisher:
    """One MQTT 5 connection that publishes with QoS 1, keeping a bounded number of messages in flight."""

    def __init__(self, port: int, client_id: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(mqtt5.ConnectPacket(client_id, clean_start=True, keep_alive=0).write())
        answer, _ = mqtt5.read(memoryview(self._socket.recv(4096)))
        if not isinstance(answer, mqtt5.ConnAckPacket):
            raise SystemExit(f"unexpected answer {answer}")
        self._window = min(_WINDOW, answer.receive_max)
        self._rest = b""
        self._next_id = 0
        self.sent = self.acknowledged = 0

    def publish(self, topic: str, payload: bytes) -> bytes:
        """Bytes of one message."""
        self._next_id = self._next_id % 65_535 + 1
        self.sent += 1
        return mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=self._next_id).write()

    def send(self, packets: list[bytes]) -> None:
        """Sends, waiting while too much is in flight."""
        self._socket.sendall(b"".join(packets))
        self.collect(wait=False)
        while self.sent - self.acknowledged > self._window:
            self.collect(wait=True)

    def collect(self, *, wait: bool) -> None:
        """Counts PUBACKs."""
        while wait or select.select([self._socket], [], [], 0)[0]:
            data = self._rest + self._socket.recv(1 << 18)
            at = 0
            while len(data) - at >= 2 and len(data) - at >= 2 + data[at + 1]:
                self.acknowledged += data[at] >> 4 == 4
                at += 2 + data[at + 1]
            self._rest = data[at:]
            wait = False

    def finish(self) -> None:
        """Waits for every acknowledgement."""
        while self.acknowledged < self.sent:
            self.collect(wait=True)


def messages(count: int, per_message: int, series: int, *, live: bool) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of `count` readings; event times from 50 minutes ago on, or now when live."""
    chance = random.Random(1)
    start = int(time.time() * 1000) - 3_000_000
    made = 0
    while made < count:
        topic = f"sensors/dev-{made // per_message % series:04d}/temperature"
        if live:
            start = int(time.time() * 1000)
        step = made // per_message // series * per_message
        rows = []
        for row in range(min(per_message, count - made)):
            ts = start + (0 if live else step + row)
            rows.append(b'{"ts":%d,"value":%.2f}' % (ts, 20 + chance.random()))
        made += len(rows)
        yield topic, rows[0] if per_message == 1 else b"[" + b",".join(rows) + b"]"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--per-message", type=int, default=1)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0, help="readings per second; 0: as fast as possible")
    arguments = parser.parse_args()
    publisher = Publisher(arguments.port, f"bench-{time.monotonic_ns()}")
    started, batch, made = time.monotonic(), [], 0
    live = arguments.rate > 0
    chunk = max(1, int(arguments.rate * 0.004 / arguments.per_message)) if live else 200
    for topic, payload in messages(arguments.count, arguments.per_message, arguments.series, live=live):
        batch.append(publisher.publish(topic, payload))
        made += arguments.per_message
        if len(batch) >= chunk:
            publisher.send(batch)
            batch = []
            if live and (ahead := started + made / arguments.rate - time.monotonic()) > 0:
                time.sleep(ahead)
    publisher.send(batch)
    publisher.finish()
    json.dump({"seconds": time.monotonic() - started, "messages": publisher.sent}, sys.stdout)


if __name__ == "__main__":
    main()
