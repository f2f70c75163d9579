"""kill -9 and power cuts at random points: nothing that a device was acknowledged is lost, nothing is stored twice.

Short by default; FIELDSTREAM_LONG=1 makes it 100 of each. FIELDSTREAM_KILLS sets any other number. The result of 100
or more is kept under var/bench/ for the bench's table.
"""

import io
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fieldstream_schemas.topics import READINGS_RAW, parsed_schema
from integration.edge.parts import (
    ROOT,
    GatewayProcess,
    Kafka,
    Mosquitto,
    Registry,
    all_parts,
    missing_parts,
    wait_until,
)

from chaos.disks import Disk, no_loop_device

_TIMES = int(os.environ.get("FIELDSTREAM_KILLS", "100" if os.environ.get("FIELDSTREAM_LONG") == "1" else "5"))
_RATE = 4000
_KEPT_FROM = 100  # times
_RESULTS = ROOT / "var" / "bench"
_LOAD = ROOT / "tests" / "bench" / "gateway_load.py"
_SMALL_SEGMENTS = "[spool]\nsegment_bytes = 65536\nmax_bytes = 268435456\n"

pytestmark = [
    pytest.mark.skipif(bool(missing_parts()), reason=missing_parts() or "-"),
    pytest.mark.timeout(120 + 15 * _TIMES),
]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[Mosquitto, Kafka, Registry]]:
    with all_parts(tmp_path) as found:
        yield found


def publish(mosquitto: Mosquitto, count: int) -> "subprocess.Popen[bytes]":
    """Publishes; its end means that the broker has acknowledged everything."""
    command = [sys.executable, str(_LOAD), "--port", str(mosquitto.port), "--count", str(count), "--rate", str(_RATE)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def stored(kafka: Kafka) -> list[dict[str, Any]]:
    """Readings in Kafka as a consumer sees them that drops what comes again with a known (epoch, seq)."""
    by_seq: dict[tuple[int, int], dict[str, Any]] = {}
    last: dict[str, int] = {}
    for message in kafka.read(READINGS_RAW.name):
        record: Any = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), parsed_schema(READINGS_RAW))
        known = by_seq.setdefault((record["epoch"], record["seq"]), record)
        if known is record:  # first time: in order per device, or readers that drop lower seqs would lose it
            assert record["seq"] > last.get(record["device_id"], 0)
            last[record["device_id"]] = record["seq"]
        assert known == record, "one seq was given to two readings"
        assert message.timestamp()[1] == round(record["ts"].timestamp() * 1000)
    return list(by_seq.values())


def verify(kafka: Kafka, gateway: GatewayProcess, published: int, what: str = "") -> None:
    """Lost 0, stored twice 0, seq gap-free. The result of a long loop is kept under the name `what`."""
    status = gateway.status()
    readings = stored(kafka)
    identities = Counter((each["device_id"], each["metric"], each["ts"]) for each in readings)
    lost, doubled = published - len(identities), len(readings) - len(identities)
    if what and _TIMES >= _KEPT_FROM:
        _RESULTS.mkdir(parents=True, exist_ok=True)
        result = {"times": _TIMES, "readings": published, "lost": lost, "stored_twice": doubled}
        (_RESULTS / f"gateway-{what}.json").write_text(json.dumps(result))
    assert (lost, doubled) == (0, 0)
    assert sorted(each["seq"] for each in readings) == list(range(1, published + 1))
    assert {each["epoch"] for each in readings} == {status["epoch"]}


def test_gateway_killed_at_random_points_loses_and_doubles_nothing(
    parts: tuple[Mosquitto, Kafka, Registry], tmp_path: Path
) -> None:
    mosquitto, kafka, registry = parts
    gateway = GatewayProcess(tmp_path / "g", mosquitto.url, kafka.bootstrap, registry.url, more=_SMALL_SEGMENTS)
    gateway.start()
    chance = random.Random(4)
    count = _RATE * 2 * _TIMES
    publisher = publish(mosquitto, count)
    for _ in range(_TIMES):
        time.sleep(chance.uniform(0.05, 2.0))
        gateway.kill()
        gateway.start(ready=False)
    assert publisher.wait() == 0
    wait_until(gateway.is_ready, 30, "ready")
    wait_until(lambda: gateway.status()["last_seq"] >= count, 60, f"{count} readings accepted")
    gateway.wait_drained(60)
    verify(kafka, gateway, count, "kills")
    gateway.stop()


def test_200_000_queued_messages_survive_kills_in_the_middle_of_the_drain(
    parts: tuple[Mosquitto, Kafka, Registry], tmp_path: Path
) -> None:
    """A killed client makes mosquitto forget PUBACKs that it has not read: what is in the spool comes again."""
    mosquitto, kafka, registry = parts
    gateway = GatewayProcess(tmp_path / "g", mosquitto.url, kafka.bootstrap, registry.url)
    gateway.start()
    gateway.stop()
    count = 200_000
    command = [sys.executable, str(_LOAD), "--port", str(mosquitto.port), "--count", str(count)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    redelivered, memory = 0.0, 0.0
    for share in (0.2, 0.5, 0.8):
        gateway.start(ready=False)
        wait_until(gateway.answers, 20, "the gateway")
        wait_until(lambda share=share: gateway.status()["last_seq"] > share * count, 60, "its share")
        metrics = gateway.metrics()
        redelivered, memory = redelivered + metrics["duplicates_total"], max(memory, metrics["resident_memory_bytes"])
        gateway.kill()
    gateway.start()
    wait_until(lambda: gateway.status()["last_seq"] >= count, 60, f"{count} readings accepted")
    gateway.wait_drained(120)
    metrics = gateway.metrics()
    redelivered, memory = redelivered + metrics["duplicates_total"], max(memory, metrics["resident_memory_bytes"])
    assert memory < 200e6
    verify(kafka, gateway, count)
    print(f"redelivered and recognised: {redelivered:,.0f}; resident at most {memory / 1e6:.0f} MB")  # noqa: T201
    gateway.stop()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if reason := no_loop_device():
        pytest.skip(reason)
    try:
        made = Disk(tmp_path / "disk")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"loop mount does not work here: {error}")
    yield made
    made.unmount()


def test_gateway_after_power_cuts_at_random_points_loses_and_doubles_nothing(
    parts: tuple[Mosquitto, Kafka, Registry], disk: Disk, tmp_path: Path
) -> None:
    mosquitto, kafka, registry = parts
    gateway = GatewayProcess(
        tmp_path / "g", mosquitto.url, kafka.bootstrap, registry.url,
        more=_SMALL_SEGMENTS, state_dir=disk.mount_point / "state",
    )  # fmt: skip
    gateway.start()
    chance = random.Random(5)
    count = _RATE * 2 * _TIMES
    publisher = publish(mosquitto, count)
    for _ in range(_TIMES):
        time.sleep(chance.uniform(0.05, 2.0))
        assert gateway.process is not None
        gateway.process.pause()  # at this instant: what it acknowledged so far must be in the copy
        copy = disk.copy_as_it_is()
        gateway.kill()
        disk.replace_by(copy)
        gateway.start(ready=False)
    assert publisher.wait() == 0
    wait_until(gateway.is_ready, 30, "ready")
    wait_until(lambda: gateway.status()["last_seq"] >= count, 60, f"{count} readings accepted")
    gateway.wait_drained(60)
    verify(kafka, gateway, count, "power-cuts")
    gateway.stop()
