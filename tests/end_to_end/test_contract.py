"""What a client that is not ours may rely on: MQTT in, ClickHouse out, nothing lost over a restart."""

import json
import subprocess
import time
from collections.abc import Callable

import psutil
from confluent_kafka import Producer
from fieldstream_edge.uplink.encode import zigzag
from fieldstream_schemas.registry import SchemaRegistry, frame_header
from fieldstream_schemas.topics import READINGS_RAW

from end_to_end.conftest import Stack

COUNT = 1000


def publish(stack: Stack, topic: str, messages: list[str]) -> None:
    """Sends messages with mosquitto_pub at QoS 1."""
    subprocess.run(
        ["mosquitto_pub", "-p", str(stack.layout.ports["mqtt"]), "-q", "1", "-t", topic, "-l"],
        input="\n".join(messages),
        text=True,
        check=True,
        timeout=60,
    )


def value(stack: Stack, expression: str, device: str) -> int:
    """One aggregate over the readings of a device."""
    rows = stack.store.query(f"SELECT {expression} AS v FROM fieldstream.readings WHERE device_id = '{device}'")
    return int(rows[0]["v"])


def eventually(check: Callable[[], bool], *, within_s: float = 60) -> None:
    """Waits until the check holds; fails after a bound that is generous, since this is no timing test."""
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, "did not become true"
        time.sleep(0.2)


def messages(start_ms: int) -> list[str]:
    """Distinct readings, one per millisecond."""
    return [json.dumps({"ts": start_ms + n, "value": n * 0.5}) for n in range(COUNT)]


def test_readings_of_a_foreign_client_are_stored_once_even_if_sent_twice(stack: Stack) -> None:
    sent = messages(time.time_ns() // 1_000_000 - 5000)
    publish(stack, "sensors/foreign-1/level", sent)
    eventually(lambda: value(stack, "count()", "foreign-1") == COUNT)

    publish(stack, "sensors/foreign-1/level", sent)
    publish(stack, "sensors/foreign-1/level", [json.dumps({"ts": time.time_ns() // 1_000_000, "value": 7})])
    eventually(lambda: value(stack, "count()", "foreign-1") >= COUNT + 1)
    assert value(stack, "count()", "foreign-1") == COUNT + 1
    assert value(stack, "uniqExact(ts)", "foreign-1") == COUNT + 1
    assert value(stack, "sum(value)", "foreign-1") == 0.5 * sum(range(COUNT)) + 7


def test_one_reading_is_traced_through_every_hop_and_a_strange_one_nowhere(stack: Stack) -> None:
    ts = time.time_ns() // 1_000_000
    publish(stack, "sensors/traced/level", [json.dumps({"ts": ts, "value": 21.5})])
    eventually(lambda: value(stack, "count()", "traced") == 1)
    hops = json.loads(stack.run("fieldstream", "trace", "traced", "level", str(ts), "--json").stdout)
    passed = [hop["place"] for hop in hops if hop["found"]]
    assert passed[:3] == ["readings.raw", "readings.clean", "ClickHouse"]
    assert [hop["at"] for hop in hops[:3]] == sorted(hop["at"] for hop in hops[:3])
    assert "value 21.5, gateway gateway-local" in hops[0]["said"]

    stranger = json.loads(stack.run("fieldstream", "trace", "traced", "level", str(ts + 1), "--json").stdout)
    assert [hop["place"] for hop in stranger if hop["found"]] in ([], ["its window"])


def test_a_second_up_starts_nothing_anew(stack: Stack) -> None:
    before = pids(stack)
    stack.up()
    assert pids(stack) == before


def test_nothing_is_lost_and_no_process_left_over_down_and_up(stack: Stack) -> None:
    publish(stack, "sensors/foreign-2/level", messages(time.time_ns() // 1_000_000 - 5000))
    eventually(lambda: value(stack, "count()", "foreign-2") == COUNT)
    family = [child for pid in pids(stack).values() for child in psutil.Process(pid).children(recursive=True)]
    family += [psutil.Process(pid) for pid in pids(stack).values()]

    stack.down()
    assert [process for process in family if process.is_running()] == []

    stack.up()
    assert value(stack, "count()", "foreign-2") == COUNT
    publish(stack, "sensors/foreign-2/level", messages(time.time_ns() // 1_000_000 - 1000))
    eventually(lambda: value(stack, "count()", "foreign-2") == 2 * COUNT)
    assert value(stack, "uniqExact(ts)", "foreign-2") == 2 * COUNT


def test_bad_messages_become_dead_letters_with_their_reason_and_disturb_nobody(stack: Stack) -> None:
    good = json.dumps({"ts": time.time_ns() // 1_000_000, "value": 1.5})
    publish(stack, "sensors/bad-1/level", ["{broken", '{"value": "warm"}', "NaN", good])
    eventually(lambda: value(stack, "count()", "bad-1") == 1)

    def reasons() -> list[str]:
        rows = stack.store.query("SELECT reason FROM fieldstream.dead_letters WHERE source = 'sensors/bad-1/level'")
        return sorted(row["reason"] for row in rows)

    eventually(lambda: len(reasons()) >= 3)
    assert reasons() == ["not-a-number", "not-finite", "not-json"]


def test_a_record_that_states_a_length_of_gigabytes_is_a_dead_letter_and_stops_nothing(stack: Stack) -> None:
    registry = SchemaRegistry([stack.layout.url("registry") + "/apis/ccompat/v7"], stack.layout.var / "schemas")
    bomb = frame_header(registry.id_of(READINGS_RAW)) + zigzag(1_500_000_000) + b"g"
    producer = Producer({"bootstrap.servers": stack.layout.address("kafka")})
    producer.produce(READINGS_RAW.name, bomb, "bomb-1", timestamp=time.time_ns() // 1_000_000)
    assert producer.flush(30) == 0
    publish(stack, "sensors/bomb-1/level", [json.dumps({"ts": time.time_ns() // 1_000_000, "value": 1.5})])
    eventually(lambda: value(stack, "count()", "bomb-1") == 1)
    found = "SELECT count() AS n FROM fieldstream.dead_letters WHERE detail LIKE '%1500000000%'"
    eventually(lambda: int(stack.store.query(found)[0]["n"]) == 1)


def pids(stack: Stack) -> dict[str, int]:
    """Process ids of the stack's programs."""
    from local.stack import Supervisor

    return {name: info["pid"] for name, info in Supervisor(stack.layout).programs().items()}
