"""The gateway between a real mosquitto and a real Kafka."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fieldstream_schemas.topics import DEAD_LETTERS, GATEWAYS, READINGS_RAW, Topic, parsed_schema
from integration.edge.parts import ROOT, GatewayProcess, Kafka, Mosquitto, Registry, free_port, wait_until

Parts = tuple[Mosquitto, Kafka, Registry]
MakeGateway = Callable[..., GatewayProcess]


def publish(port: int, topic: str, payloads: list[str]) -> None:
    """With a client that is not ours, QoS 1: returns once the broker has everything."""
    command = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", topic, "-l"]
    subprocess.run(command, input="\n".join(payloads).encode() + b"\n", check=True, timeout=30)


def records(kafka: Kafka, topic: Topic, gateway_id: str) -> list[tuple[Any, dict[str, Any]]]:
    """(message, decoded record) of one gateway."""
    found = []
    for message in kafka.read(topic.name):
        record: Any = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), parsed_schema(topic))
        if record["gateway_id"] == gateway_id:
            found.append((message, record))
    return found


def readings(count: int, *, start: int | None = None) -> list[str]:
    begin = start or int(time.time() * 1000) - count
    return [json.dumps({"ts": begin + number, "value": number}) for number in range(count)]


def accepted(gateway: GatewayProcess, count: int) -> None:
    wait_until(lambda: gateway.status()["readings"] >= count, 30, f"{count} readings accepted")


def test_reading_arrives_once_with_its_event_time_as_kafka_timestamp(
    parts: Parts, gateway_for: MakeGateway, prefix: str
) -> None:
    mosquitto, kafka, _ = parts
    gateway = gateway_for(f"sensors/{prefix}/#").start()
    payloads = readings(1000)
    for _ in range(2):
        publish(mosquitto.port, f"sensors/{prefix}/t", payloads)
    wait_until(lambda: gateway.status()["duplicates_total"] == 1000, 30, "1000 duplicates")
    gateway.wait_drained()
    found = records(kafka, READINGS_RAW, gateway.gateway_id)
    assert [record["value"] for _, record in found] == [float(number) for number in range(1000)]
    assert [record["seq"] for _, record in found] == list(range(1, 1001))
    for message, record in found:
        assert message.key() == prefix.encode()
        assert message.timestamp()[1] == round(record["ts"].timestamp() * 1000)
    metrics = gateway.metrics()
    assert metrics["messages_received_total"] == 2000
    assert metrics["readings_accepted_total"] == metrics["readings_delivered_total"] == 1000
    assert metrics["duplicates_total"] == 1000
    assert metrics["spool_readings"] == 0


def test_bad_input_harms_no_neighbour(parts: Parts, gateway_for: MakeGateway, prefix: str, tmp_path: Path) -> None:
    mosquitto, kafka, _ = parts
    gateway = gateway_for(f"sensors/{prefix}/#").start()
    topic = f"sensors/{prefix}/t"
    large = tmp_path / "large"
    large.write_bytes(b"9" * 10_000_000)
    nested = tmp_path / "nested"
    nested.write_bytes(b'{"value":' * 100_000 + b"1" + b"}" * 100_000)  # 1 MB
    first = readings(10)
    publish(mosquitto.port, topic, [first[0], "NaN", "hello", '{"value":"x"}', *first[1:5]])
    for more in (["-f", str(large)], ["-f", str(nested)], ["-n"]):
        subprocess.run(["mosquitto_pub", "-p", str(mosquitto.port), "-q", "1", "-t", topic, *more], check=True)
    publish(mosquitto.port, f"sensors/{prefix}/a/b", ["1"])
    publish(mosquitto.port, topic, [*first[5:], '{"ts": 5, "value": 1}', '{"ts": 4102444800000, "value": 1}'])
    accepted(gateway, 12)
    gateway.wait_drained()
    letters = {record["reason"]: record for _, record in records(kafka, DEAD_LETTERS, gateway.gateway_id)}
    reasons = {"not-finite", "not-json", "not-a-number", "too-large", "bad-form", "empty-payload", "bad-topic"}
    assert set(letters) == reasons
    assert letters["bad-form"]["payload_size"] == 1_000_001
    assert letters["too-large"]["payload_size"] == 10_000_000
    assert len(letters["too-large"]["payload"]) == 64 * 1024
    found = [record for _, record in records(kafka, READINGS_RAW, gateway.gateway_id)]
    assert [record["flags"] for record in found] == [0] * 10 + [2, 4]
    metrics = gateway.metrics()
    assert metrics['dead_letters_total{reason="too-large"}'] == 1
    assert metrics['flagged_total{flag="ts-future"}'] == 1


def test_last_heartbeat_says_stopping_and_where_seq_stands(parts: Parts, gateway_for: MakeGateway, prefix: str) -> None:
    mosquitto, kafka, _ = parts
    gateway = gateway_for(f"sensors/{prefix}/#").start()
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(50))
    accepted(gateway, 50)
    assert gateway.stop() == 0
    beats = [record for _, record in records(kafka, GATEWAYS, gateway.gateway_id)]
    assert beats[0]["state"] == "starting"
    assert beats[-1]["state"] == "stopping"
    assert beats[-1]["last_seq"] == beats[-1]["accepted_total"] == 50


def test_outage_of_kafka_loses_nothing_and_needs_no_operator(
    parts: Parts, gateway_for: MakeGateway, prefix: str, own_kafka: Kafka
) -> None:
    mosquitto = parts[0]
    gateway = gateway_for(f"sensors/{prefix}/#", kafka=own_kafka.bootstrap).start()
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(500))
    gateway.wait_drained()
    own_kafka.stop()
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(3000, start=int(time.time() * 1000) - 50_000))
    accepted(gateway, 3500)
    wait_until(lambda: not gateway.is_ready(), 30, "not ready")
    status = gateway.status()
    assert status["accepting"]
    assert status["spool_readings"] == 3000
    assert any("Kafka" in problem for problem in status["problems"])
    own_kafka.start()
    gateway.wait_drained(60)
    wait_until(gateway.is_ready, 30, "ready again")
    found = [record["seq"] for _, record in records(own_kafka, READINGS_RAW, gateway.gateway_id)]
    assert sorted(set(found)) == list(range(1, 3501))


def test_record_that_kafka_refuses_for_good_does_not_stall_the_rest(
    parts: Parts, gateway_for: MakeGateway, prefix: str, own_kafka: Kafka
) -> None:
    own_kafka.set_topic(READINGS_RAW.name, "max.message.bytes", "400")
    gateway = gateway_for(f"sensors/{prefix}/#", kafka=own_kafka.bootstrap, more_kafka='compression = "none"\n').start()
    # Far apart, so that each record is a batch of its own and only its own size counts.
    long = json.dumps({"ts": int(time.time() * 1000) - 5000, "value": 7, "operator": "é" * 200}, ensure_ascii=False)
    first, last = readings(2)
    for payload in (first, long, last):
        publish(parts[0].port, f"sensors/{prefix}/t", [payload])
        time.sleep(0.2)
    accepted(gateway, 3)
    gateway.wait_drained(60)
    assert [record["seq"] for _, record in records(own_kafka, READINGS_RAW, gateway.gateway_id)] == [1, 3]
    ((_, letter),) = records(own_kafka, DEAD_LETTERS, gateway.gateway_id)
    assert (letter["reason"], letter["seq"], letter["device_id"]) == ("refused", 2, prefix)


def test_restart_of_the_broker_loses_nothing(
    parts: Parts, gateway_for: MakeGateway, prefix: str, tmp_path: Path
) -> None:
    kafka = parts[1]
    mosquitto = Mosquitto(tmp_path / "own-mqtt")
    gateway = gateway_for("sensors/#", mqtt=mosquitto.url).start()
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(100))
    accepted(gateway, 100)
    mosquitto.stop()
    wait_until(lambda: not gateway.status()["mqtt_connected"], 10, "the loss to be noticed")
    mosquitto.start()
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(100, start=int(time.time() * 1000) - 9000))
    accepted(gateway, 200)
    gateway.wait_drained()
    assert gateway.metrics()["sessions_lost_total"] == 0
    assert len(records(kafka, READINGS_RAW, gateway.gateway_id)) == 200
    mosquitto.stop()


def test_broker_that_forgot_the_session_is_noticed(gateway_for: MakeGateway, prefix: str, tmp_path: Path) -> None:
    mosquitto = Mosquitto(tmp_path / "forgetful", extra="autosave_interval 0\n")
    gateway = gateway_for("sensors/#", mqtt=mosquitto.url).start()
    assert mosquitto.process is not None
    mosquitto.process.kill()
    (tmp_path / "forgetful" / "mosquitto.db").unlink(missing_ok=True)
    mosquitto.start()
    wait_until(lambda: gateway.metrics()["sessions_lost_total"] == 1, 30, "the lost session to be counted")
    assert "has lost our session" in gateway.log()
    mosquitto.stop()


def test_messages_of_a_stopped_gateways_absence_are_received_later(
    parts: Parts, gateway_for: MakeGateway, prefix: str
) -> None:
    mosquitto = parts[0]
    gateway = gateway_for(f"sensors/{prefix}/#").start()
    gateway.stop()
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(200))
    gateway.start()
    accepted(gateway, 200)


def test_readings_without_ts_that_waited_at_the_broker_keep_its_time(
    parts: Parts, gateway_for: MakeGateway, prefix: str
) -> None:
    """Debian's mosquitto has no plugin that stamps messages, so the publisher sets the property in its place."""
    mosquitto, kafka, _ = parts
    gateway = gateway_for(f"sensors/{prefix}/#", extra='broker_time_property = "timestamp"\n').start()
    gateway.stop()
    command = ["mosquitto_pub", "-p", str(mosquitto.port), "-V", "mqttv5", "-q", "1", "-t", f"sensors/{prefix}/t"]
    command += ["-D", "publish", "user-property", "timestamp", "2026-11-24T10:00:00Z", "-m", "21.5"]
    for _ in range(3):
        subprocess.run(command, check=True, timeout=20)
    gateway.start()
    accepted(gateway, 3)
    gateway.wait_drained()
    found = [record for _, record in records(kafka, READINGS_RAW, gateway.gateway_id)]
    assert [round(record["ts"].timestamp() * 1000) for record in found] == [1795514400000 + n for n in range(3)]
    assert {record["flags"] for record in found} == {1}


def test_gateway_that_knows_its_schemas_starts_without_the_registry(
    parts: Parts, gateway_for: MakeGateway, prefix: str
) -> None:
    mosquitto = parts[0]
    registry = Registry(free_port())
    gateway = gateway_for(f"sensors/{prefix}/#", registry=registry.url).start()
    gateway.stop()
    registry.stop()
    gateway.start()
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(10))
    accepted(gateway, 10)
    gateway.wait_drained()


def test_gateway_without_registry_accepts_and_says_what_it_waits_for(
    parts: Parts, gateway_for: MakeGateway, prefix: str
) -> None:
    mosquitto = parts[0]
    gateway = gateway_for(f"sensors/{prefix}/#", registry=f"http://127.0.0.1:{free_port()}").start(ready=False)
    wait_until(gateway.answers, 10, "the gateway")
    wait_until(lambda: gateway.status()["accepting"], 10, "accepting")
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(10))
    accepted(gateway, 10)
    wait_until(
        lambda: any("no schema registry answered" in each for each in gateway.status()["problems"]), 10, "problem"
    )


def test_second_process_on_the_same_spool_is_refused(gateway_for: MakeGateway, prefix: str) -> None:
    gateway = gateway_for(f"sensors/{prefix}/#").start()
    second = subprocess.run(
        [sys.executable, "-m", "fieldstream_edge.cli", "run", "--config", str(gateway.config)],
        check=False, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert second.returncode == 1
    assert "in use by another gateway process" in second.stderr
    assert gateway.is_ready()


def test_two_gateways_with_one_identity_say_so_and_lose_nothing(
    parts: Parts, gateway_for: MakeGateway, prefix: str
) -> None:
    mosquitto, kafka, _ = parts
    both = [gateway_for(f"sensors/{prefix}/#", extra=f'client_id = "{prefix}"\n') for _ in range(2)]
    both[0].start()
    both[1].start(ready=False)
    wait_until(both[1].answers, 20, "the other")

    def reason() -> bool:
        problems = [problem for each in both for problem in each.status()["problems"]]
        return any("give each gateway its own gateway_id" in problem for problem in problems)

    wait_until(reason, 60, "the reason in the status")
    assert sum(each.metrics()[f'mqtt_disconnects_total{{broker="{mosquitto.url}"}}'] for each in both) >= 3
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(200))
    both[1].stop()
    wait_until(both[0].is_ready, 60, "peace")
    both[0].wait_drained()
    found = [record["ts"] for each in both for _, record in records(kafka, READINGS_RAW, each.gateway_id)]
    assert len(set(found)) == 200


def test_100_000_distinct_topics_are_taken_in_bounded_memory(gateway_for: MakeGateway, tmp_path: Path) -> None:
    mosquitto = Mosquitto(tmp_path / "own-mqtt")
    gateway = gateway_for("sensors/#", mqtt=mosquitto.url).start()
    load = str(ROOT / "tests" / "bench" / "gateway_load.py")
    command = [sys.executable, load, "--port", str(mosquitto.port), "--count", "110000", "--series", "100000"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    accepted(gateway, 110_000)
    gateway.wait_drained(60)
    metrics = gateway.metrics()
    assert metrics["readings_delivered_total"] == 110_000
    assert metrics["resident_memory_bytes"] < 256e6, "the unit's MemoryHigh"
    gateway.stop()
    mosquitto.stop()


def test_shared_subscription_splits_the_load(parts: Parts, gateway_for: MakeGateway, prefix: str) -> None:
    mosquitto = parts[0]
    both = [gateway_for(f"$share/{prefix}/sensors/{prefix}/#").start() for _ in range(2)]
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(400))
    wait_until(lambda: sum(each.status()["readings"] for each in both) == 400, 20, "400 readings in total")
    assert all(each.status()["readings"] > 50 for each in both)


def test_wildcard_subscription_does_not_turn_our_own_words_into_dead_letters(
    gateway_for: MakeGateway, tmp_path: Path
) -> None:
    mosquitto = Mosquitto(tmp_path / "own-mqtt")
    one = gateway_for("#", mqtt=mosquitto.url).start()
    other = gateway_for("#", mqtt=mosquitto.url).start()
    other.kill()
    wait_until(lambda: one.metrics()["own_messages_total"] >= 2, 20, "online and lost of the other")
    assert one.status()["dead_letters_total"] == 0
    mosquitto.stop()


def test_broker_tells_whether_a_gateway_is_there(parts: Parts, gateway_for: MakeGateway, prefix: str) -> None:
    """The last will: a retained word on the gateway's status topic."""
    gateway = gateway_for(f"sensors/{prefix}/#")
    topic = f"fieldstream/gateways/{gateway.gateway_id}"

    def word() -> bytes:
        command = ["mosquitto_sub", "-p", str(parts[0].port), "-t", topic, "-C", "1", "-W", "5"]
        return subprocess.run(command, check=False, capture_output=True).stdout.strip()

    gateway.start()
    wait_until(lambda: word() == b'{"state":"online"}', 20, "online")
    gateway.kill()
    wait_until(lambda: word() == b'{"state":"lost"}', 20, "lost")
    gateway.start()
    gateway.stop()
    wait_until(lambda: word() == b'{"state":"stopped"}', 20, "stopped")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_full_disk_withholds_acknowledgements_until_there_is_room(
    parts: Parts, gateway_for: MakeGateway, prefix: str, tmp_path: Path
) -> None:
    mosquitto, kafka, _ = parts
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("mounting a tmpfs does not work here")
    try:
        spool = "[spool]\nsegment_bytes = 1048576\nmax_bytes = 1073741824\n"
        gateway = gateway_for(f"sensors/{prefix}/#", more=spool, state_dir=small / "state").start()
        ballast = small / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        publish(mosquitto.port, f"sensors/{prefix}/t", readings(100))
        for start in range(0, 60_000, 10_000):
            publish(
                mosquitto.port, f"sensors/{prefix}/u", readings(10_000, start=int(time.time() * 1000) - 900_000 + start)
            )
        wait_until(lambda: any("full" in each for each in gateway.status()["problems"]), 20, "full")
        ballast.unlink()
        accepted(gateway, 60_100)
        gateway.wait_drained(60)
        assert len({r["seq"] for _, r in records(kafka, READINGS_RAW, gateway.gateway_id)}) == 60_100
        gateway.stop()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
