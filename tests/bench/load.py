"""Readings straight into topic readings.raw, as a gateway would write them: the load of the centre's bench."""

import time
from collections.abc import Iterator
from io import BytesIO

import fastavro
from confluent_kafka import Producer
from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings
from fieldstream_schemas.registry import SchemaRegistry, frame_header
from fieldstream_schemas.topics import READINGS_RAW, parsed_schema

SPAN_MS = 480_000


class Load:
    """Encodes and sends readings of `devices` devices under one gateway id; seq is gap-free."""

    def __init__(self, settings: Settings, gateway_id: str, devices: int) -> None:
        self.gateway_id, self.devices = gateway_id, devices
        self.sent = 0
        self._epoch = time.time_ns() // 1_000_000
        self._header = frame_header(SchemaRegistry(settings.registry, settings.schema_cache).id_of(READINGS_RAW))
        self._schema = parsed_schema(READINGS_RAW)
        self._producer = Producer(
            {
                **connection(settings),
                "linger.ms": 5,
                "batch.size": 1_000_000,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    def backlog(self, readings: int) -> None:
        """Sends readings of the last minutes, each device at most once a second, as fast as it goes.

        None is older than SPAN_MS, or it would be the repair's and not the stream's.
        """
        rounds = -(-readings // self.devices)
        step_ms = min(1000, SPAN_MS // rounds)
        start = time.time_ns() // 1_000_000 - rounds * step_ms
        start -= start % 10_000  # with a window
        for number in range(rounds):
            for device in range(self.devices):
                self._send(device, start + number * step_ms)
            self._producer.poll(0)
        self._producer.flush()

    def live(self, rate: int, seconds: float) -> None:
        """Sends `rate` readings/s, each with the time at which it is sent."""
        for due in ticks(seconds):
            for _ in range(rate // TICKS_PER_S):
                self._send(self.sent % self.devices, due)
            self._producer.poll(0)
        self._producer.flush()

    def _send(self, device: int, ts: int) -> None:
        self.sent += 1
        name = f"{self.gateway_id}-{device}"
        # Devices that measure in the same millisecond are many; one device never does so twice.
        event_time = ts + self.sent // self.devices % 10
        reading = {"gateway_id": self.gateway_id, "epoch": self._epoch, "seq": self.sent, "device_id": name,
                   "metric": "level", "ts": event_time, "value": 20 + self.sent % 17 * 0.25,
                   "received_at": ts}  # fmt: skip
        body = BytesIO()
        fastavro.schemaless_writer(body, self._schema, reading)
        while True:
            try:
                self._producer.produce(READINGS_RAW.name, self._header + body.getvalue(), name, timestamp=event_time)
                return
            except BufferError:
                self._producer.poll(0.1)


TICKS_PER_S = 50


def ticks(seconds: float) -> Iterator[int]:
    """Epoch ms of each tick, when it is due; a late tick is made up for at once."""
    start = time.monotonic()
    wall = time.time_ns() // 1_000_000
    for number in range(int(seconds * TICKS_PER_S)):
        wait = start + number / TICKS_PER_S - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        yield wall + number * 1000 // TICKS_PER_S
