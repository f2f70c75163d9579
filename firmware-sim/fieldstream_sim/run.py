"""One live run: a plant's fleet, or a recording, through delivery into the broker, with its truth folder."""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldstream_sim.delivery import Delivery, Disorder, Progress
from fieldstream_sim.fleet import Fleet
from fieldstream_sim.payloads import messages_of
from fieldstream_sim.plant import Device, Plant
from fieldstream_sim.publish import Message
from fieldstream_sim.replay import Mapping, Recording, mapped_readings, next_window_start
from fieldstream_sim.truth import FaultRow, TruthFolder, now_ms

Watch = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Link:
    """Where a run publishes, where its truth goes, and how delivery is disturbed."""

    mqtt: str = "mqtt://127.0.0.1:1883"
    truth: Path | None = None
    duration_s: float | None = None
    seed: int = 1
    disorder: Disorder = field(default_factory=Disorder)


def stop_on_signals() -> threading.Event:
    """Event that SIGINT and SIGTERM set, for a clean end."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def run_plant(
    plant: Plant,
    link: Link,
    stop: threading.Event,
    *,
    rate_factor: float = 1.0,
    watch: Watch | None = None,
    start_ms: int | None = None,
) -> dict[str, Any]:
    """Runs the fleet until its duration is over or `stop` is set; returns the summary."""
    begin_ms = now_ms() if start_ms is None else start_ms
    fleet = Fleet(plant, link.seed, begin_ms, rate_factor=rate_factor)
    units = {device.id: {sensor.metric: sensor.unit for sensor in device.sensors} for device in plant.devices}
    end_ms = None if link.duration_s is None else begin_ms + round(link.duration_s * 1000)
    cursor = begin_ms
    with TruthFolder(link.truth) as truth:
        truth.faults(fleet.fault_rows())
        for event in plant.events:
            start = begin_ms + round(event.start_s * 1000)
            truth.event(event.asset_id, event.kind, start, start + round(event.duration_s * 1000))
        delivery = Delivery(link.mqtt, f"fieldstream-sim-{plant.site}-{begin_ms}", truth, link.disorder, link.seed)

        def produce(at_ms: int) -> bool:
            nonlocal cursor
            until = at_ms if end_ms is None else min(at_ms, end_ms)
            if until > cursor:
                for device in plant.devices:
                    readings = fleet.readings(device, cursor, until)
                    delivery.offer(messages_of(device, readings, units[device.id]), at_ms)
                fleet.forget_before(cursor)
                cursor = until
            return end_ms is None or cursor < end_ms

        delivery.run(produce, stop, watch)
        truth.faults(_that_happened(fleet.fault_rows(), cursor))
        publisher = delivery.publisher
        return truth.finish(
            start=begin_ms, end=cursor, seed=link.seed, refused=publisher.refused, reconnects=publisher.reconnects
        )


def _that_happened(rows: list[FaultRow], until_ms: int) -> list[FaultRow]:
    return [
        FaultRow(*(row.device_id, row.metric, row.asset_id, row.kind, row.amplitude_sigma), row.start, end)
        for row in rows
        if row.start < until_ms
        for end in [min(row.end, until_ms)]
    ]


@dataclass(frozen=True, kw_only=True)
class ReplayTarget:
    """As which sensor a recording is sent, and where its labelled failure lies in recorded time, if anywhere."""

    device_id: str
    metric: str
    asset_id: str = ""
    speedup: float = 1.0
    failure_ms: tuple[int, int] | None = None


def run_replay(
    recording: Recording, target: ReplayTarget, link: Link, stop: threading.Event, *, watch: Watch | None = None
) -> dict[str, Any]:
    """Sends a recording in present time; ends with its last row, after the duration, or when `stop` is set."""
    mapping = Mapping(recording.times_ms[0], next_window_start(now_ms()), target.speedup)
    readings = mapped_readings(recording, mapping, target.device_id, target.metric)
    device = Device(id=target.device_id, payload="object", sensors=())
    position = 0
    until_ms = None if link.duration_s is None else mapping.start_ms + round(link.duration_s * 1000)
    with TruthFolder(link.truth) as truth:
        if target.failure_ms:
            start, end = (mapping(at_ms) for at_ms in target.failure_ms)
            truth.faults(
                [FaultRow(target.device_id, target.metric, target.asset_id, "recorded-failure", 0.0, start, end)]
            )
        delivery = Delivery(
            link.mqtt, f"fieldstream-replay-{target.device_id}-{mapping.start_ms}", truth, link.disorder, link.seed
        )

        def produce(at_ms: int) -> bool:
            nonlocal position
            due: list[Message] = []
            while position < len(readings) and readings[position].ts <= at_ms:
                due += messages_of(device, [readings[position]], {})
                position += 1
            delivery.offer(due, at_ms)
            return position < len(readings) and (until_ms is None or at_ms < until_ms)

        delivery.run(produce, stop, watch)
        return truth.finish(
            start=mapping.start_ms, end=now_ms(), speedup=target.speedup, refused=delivery.publisher.refused
        )
