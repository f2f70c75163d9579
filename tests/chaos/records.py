"""Records that no good fleet sends: poison, the same again, from long ago, out of order, from a wrong clock."""

import json
import math
import random
import subprocess
import time
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import fastavro
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from fieldstream_central.stream import operate
from fieldstream_schemas.registry import FRAME_BYTES, SchemaRegistry, frame_header
from fieldstream_schemas.topics import READINGS_RAW, parsed_schema
from local.layout import VENV

from chaos.harm import DrillError, Hurt, delete_records, ends, read_to, until
from chaos.plant import FAULT_S, FAULT_STARTS_S
from chaos.verdict import notifications, truth_folder
from chaos.world import World

COLUMNS = "device_id,metric,ts,value,published_at_ms,acked_at_ms"
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
BIG_BYTES = 10_000_000


def now_ms() -> int:
    """Wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def header(world: World) -> bytes:
    """Frame of a reading's record."""
    return frame_header(SchemaRegistry(world.settings.registry, world.settings.schema_cache).id_of(READINGS_RAW))


def framed(world: World, reading: dict[str, Any]) -> bytes:
    """A reading as a gateway would send it."""
    body = BytesIO()
    fastavro.schemaless_writer(body, parsed_schema(READINGS_RAW), reading)
    return header(world) + body.getvalue()


def mqtt(world: World, topic: str, *options: str, lines: str | None = None) -> None:
    """Sends messages by mosquitto_pub with QoS 1; it ends when the broker has acknowledged all of them."""
    command = ["mosquitto_pub", "-p", str(world.layout.ports["mqtt"]), "-q", "1", "-t", topic, *options]
    subprocess.run(command, input=lines, text=True, check=True, timeout=60)


def poison(world: World, _chance: random.Random) -> None:
    """Bytes that are no Avro, an unknown schema id, cut and damaged records, one that fails every rule, on every
    partition; and 10 MB on MQTT."""
    head = header(world)
    values = (b"no avro", b"", frame_header(99_999) + b"x", head, head + b"\xff" * 40, b"\0" * 900_000)
    producer = Producer({"bootstrap.servers": world.settings.kafka})
    for partition in range(READINGS_RAW.partitions):
        wrong = {"gateway_id": "poison", "epoch": now_ms(), "seq": partition + 1, "device_id": "", "metric": "x" * 300,
                 "ts": 1, "value": math.nan, "received_at": 1}  # fmt: skip
        for value in (*values, framed(world, wrong)):
            producer.produce(READINGS_RAW.name, value, b"poison", partition=partition)
    producer.flush(30)
    big = world.drill_folder / "big"
    big.write_bytes(b"7" * BIG_BYTES)
    mqtt(world, "sensors/poison-device/level", "-f", str(big))
    expected = (len(values) + 1) * READINGS_RAW.partitions

    def letters(condition: str) -> int:
        sql = f"SELECT uniqExact(source) AS n FROM fieldstream.dead_letters WHERE {condition}"
        return int(world.store.query(sql)[0]["n"])

    since = "stored_at >= now() - 120"
    poisoned, huge = f"origin = 'pipeline' AND {since}", f"payload_size = {BIG_BYTES} AND {since}"
    until(f"{expected} poisoned records are dead letters", lambda: letters(poisoned) >= expected)
    until("10 MB are one dead letter", lambda: letters(huge) == 1)


def past(world: World, name: str, ages_s: Sequence[float], chance: random.Random) -> None:
    """Readings of a device that was away, this long ago, shuffled; sent now, into a truth folder of their own."""
    now = now_ms()
    device = f"{world.drill_folder.name}-{name}"
    readings = [(now - round(age_s * 1000), round(chance.uniform(0, 100), 3)) for age_s in ages_s]
    chance.shuffle(readings)
    lines = "\n".join(json.dumps({"ts": ts, "value": value}) for ts, value in readings)
    mqtt(world, f"sensors/{device}/level", "-l", lines=lines)
    rows = [COLUMNS, *(f"{device},level,{ts},{value},{now},{now}" for ts, value in readings)]
    (truth_folder(world, name) / "published.csv").write_text("\n".join(rows) + "\n")


def backdated(*ages_s: float) -> Hurt:
    """200 readings at 4 Hz, beginning at each of these ages."""

    def hurt(world: World, chance: random.Random) -> None:
        for age_s in ages_s:
            past(world, f"away-{age_s:.0f}", [age_s - n / 4 for n in range(200)], chance)

    return hurt


def disorder(span_s: float) -> Hurt:
    """Readings at 4 Hz of a whole span, in random order."""

    def hurt(world: World, chance: random.Random) -> None:
        past(world, "disorder", [n / 4 for n in range(1, int(span_s * 4))], chance)

    return hurt


def clock_ahead(world: World, chance: random.Random) -> None:
    """A device whose clock is an hour ahead, through the gateway, and past a gateway that let it through.

    Neither must make others late: had the watermark been dragged along, their windows would be the repair's.
    """
    device = f"{world.drill_folder.name}-ahead"
    ahead = [now_ms() + HOUR_MS + n for n in range(50)]
    lines = "\n".join(json.dumps({"ts": ts, "value": n}) for n, ts in enumerate(ahead))
    mqtt(world, f"sensors/{device}/level", "-l", lines=lines)
    producer = Producer({"bootstrap.servers": world.settings.kafka})
    for number in range(40):
        ts = now_ms() + 55 * MINUTE_MS + number  # Kafka itself refuses what is more than an hour ahead
        key = f"{device}-{number}"
        reading = {"gateway_id": device, "epoch": 1, "seq": number + 1, "device_id": key, "metric": "level",
                   "ts": ts, "value": 1.0, "received_at": now_ms()}  # fmt: skip
        producer.produce(READINGS_RAW.name, framed(world, reading), key, timestamp=ts)
    producer.flush(30)
    flagged = (
        "SELECT count() AS n FROM fieldstream.readings WHERE flags != 0 AND ts < now() + INTERVAL 10 MINUTE "
        f"AND device_id = '{device}'"
    )
    past_the_gateway = f"SELECT count() AS n FROM fieldstream.readings WHERE gateway_id = '{device}'"
    until("the readings that no gateway has checked are stored",
          lambda: bool(world.store.query(past_the_gateway)[0]["n"] == 40), 150)  # fmt: skip
    until("the readings of the fast clock are stored, flagged, at the time they came",
          lambda: bool(world.store.query(flagged)[0]["n"] == len(ahead)), 150)  # fmt: skip
    time.sleep(25)  # two windows of the fleet
    late = (
        "SELECT count() AS n FROM fieldstream.windows_data WHERE origin = 'repair' AND "
        f"startsWith(device_id, '{world.drill_folder.name}-')"
    )
    if late := world.store.query(late)[0]["n"]:
        raise DrillError(f"{late} windows became late because one clock runs ahead")


def idle_devices_hold_nothing_open(world: World, _chance: random.Random) -> None:
    """All devices but one are silent, and with them whole partitions: the one's windows must still close."""
    name = world.drill_folder.name
    newest = (
        "SELECT toUnixTimestamp64Milli(max(window_end)) AS t FROM fieldstream.windows "
        f"WHERE device_id = '{name}-00' AND metric = 'm1'"
    )
    time.sleep(15)
    began = now_ms()
    until("a window closed that began after the others fell silent",
          lambda: bool(world.store.query(newest)[0]["t"] > began), 150)  # fmt: skip


def raw_messages(world: World, begin: dict[int, int] | None = None) -> list[Message]:
    """Everything in topic readings.raw from these offsets on, up to its end now."""
    consumer = Consumer({"bootstrap.servers": world.settings.kafka, "group.id": "chaos", "enable.auto.commit": False})
    messages = []
    try:
        for number in range(READINGS_RAW.partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(READINGS_RAW.name, number), timeout=10)
            start = max(low, (begin or {}).get(number, low))
            if start < high:
                consumer.assign([TopicPartition(READINGS_RAW.name, number, start)])
                while start < high:
                    for message in consumer.consume(5000, timeout=1):
                        messages.append(message)
                        start = (message.offset() or 0) + 1
    finally:
        consumer.close()
    return [message for message in messages if not message.error()]


def sent_again(world: World, _chance: random.Random) -> None:
    """An uplink that did not hear Kafka's receipts sends all of the last seconds again: same bytes, same seq."""
    begin = ends(world)
    time.sleep(12)
    messages = raw_messages(world, begin)
    if not messages:
        raise DrillError("there was nothing to send again")
    producer = Producer({"bootstrap.servers": world.settings.kafka, "queue.buffering.max.messages": 1_000_000})
    for message in messages:
        producer.produce(READINGS_RAW.name, message.value(), message.key(), timestamp=message.timestamp()[1])
    producer.flush(30)


def gap(world: World, _chance: random.Random) -> None:
    """Records vanish from Kafka before the pipeline has read them: the audit must name them, and somebody be told."""
    time.sleep(max(FAULT_STARTS_S) + FAULT_S)  # what vanishes must not be an incident that somebody is to be told
    world.supervisor.stop("gateway")
    begin = ends(world)
    until("the pipeline has read all that is there", lambda: read_to(world, begin))
    operate.stop(world.settings, "pipeline")
    world.supervisor.start("gateway")
    until("the gateway sends again", lambda: sum(ends(world).values()) > sum(begin.values()) + 500)
    upto = ends(world)
    lost = [
        message for message in raw_messages(world, begin) if (message.offset() or 0) < upto[message.partition() or 0]
    ]
    delete_records(world, upto)
    operate.deploy(world.settings, "pipeline")
    seqs = set()
    for message in lost:
        record: Any = fastavro.schemaless_reader(
            BytesIO((message.value() or b"")[FRAME_BYTES:]), parsed_schema(READINGS_RAW)
        )
        world.removed.add((record["device_id"], record["metric"], round(record["ts"].timestamp() * 1000)))
        seqs.add(record["seq"])
    command_says(world, seqs)


def command_says(world: World, seqs: set[int]) -> None:
    """`fieldstream audit` must name exactly these numbers, and an alarm must reach a person."""

    def named() -> bool:
        environment = {"FIELDSTREAM_CONFIG": str(world.layout.settings_file), "PATH": "/usr/bin:/bin"}
        done = subprocess.run([VENV / "bin/fieldstream", "audit", "--json"], env=environment, capture_output=True,
                              text=True, check=False)  # fmt: skip
        found = json.loads(done.stdout or "[]")
        ranges = [seq for item in found for first, last in item["missing_ranges"] for seq in range(first, last + 1)]
        return done.returncode == 1 and set(ranges) == seqs and len(ranges) == len(seqs)

    until(f"the audit names exactly the {len(seqs)} numbers that were removed", named)
    until("somebody was told of the gap", lambda: any(
        alert["labels"].get("alertname") == "FieldstreamReadingsMissing"
        for entry in notifications(world) for alert in entry["alerts"]), 240)  # fmt: skip
