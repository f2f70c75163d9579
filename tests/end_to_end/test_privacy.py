"""Known names sent through every path, and searched for everywhere: they are found in readings.raw alone."""

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from fieldstream_central.privacy.keyring import Keyring
from fieldstream_central.privacy.names import pseudonyms
from fieldstream_schemas.framed import framed
from fieldstream_schemas.registry import SchemaRegistry
from fieldstream_schemas.topics import READINGS_CLEAN, READINGS_RAW, TOPICS

from end_to_end.conftest import Stack
from end_to_end.test_contract import eventually, publish, value

ADA, BOB = "Ada-Lovelace-7193", "Bjørn-Ødegård-7193"
# As bytes may hold them: UTF-8, JSON's escapes, hexadecimal.
FORMS = {
    form
    for name in (ADA, BOB)
    for form in (name.encode(), json.dumps(name)[1:-1].encode(), name.encode().hex().encode())
}
POISON = b"no record of anybody"
PLANTED = "planted-name-7193"


@pytest.fixture(scope="module")
def sent(stack: Stack) -> Stack:
    """Good readings, dead letters of the gateway and of the pipeline, poison on other topics, each with the names."""
    now = time.time_ns() // 1_000_000
    for number, name in enumerate((ADA, BOB)):
        good = [json.dumps({"ts": now - n, "value": n, "operator": name}, ensure_ascii=n % 2 == 0) for n in range(20)]
        wrong: list[Any] = [{"value": name}, {"value": 1, "ts": name}, {"value": 1, "operator": [name]}]
        bad = [f"{{{name}", *map(json.dumps, wrong), json.dumps({"value": 1, "operator": name * 100})]
        publish(stack, f"sensors/personal-{number}/level", [*good, *bad])
        publish(stack, f"sensors/personal-{number}", [json.dumps({"metrics": {"speed": 1}, "operator": name})])
    poison(stack, now)
    eventually(lambda: value(stack, "count()", "personal-0") + value(stack, "count()", "personal-1") == 42)
    eventually(lambda: letters(stack) >= 14)
    return stack


def poison(stack: Stack, now: int) -> None:
    """What breaks a rule of the pipeline, and what is no record at all, for the pipeline and for the loader."""
    registry = SchemaRegistry([stack.layout.url("registry") + "/apis/ccompat/v7"], stack.layout.var / "schemas")
    producer = Producer({"bootstrap.servers": stack.layout.address("kafka")})
    reading = {
        **{"gateway_id": "g", "epoch": now, "seq": 1, "device_id": "personal-2", "metric": "level", "ts": now},
        **{"value": 1.0, "operator": ADA, "received_at": now},
    }
    producer.produce(READINGS_RAW.name, framed(registry, READINGS_RAW, reading), "personal-2", timestamp=now + 1)
    for name in (ADA, BOB):
        producer.produce(READINGS_RAW.name, name.encode(), "personal-2", timestamp=now)
    producer.produce(READINGS_CLEAN.name, POISON, "personal-2")
    assert producer.flush(30) == 0


def letters(stack: Stack) -> int:
    rows = stack.store.query("SELECT uniqExact(letter_id) AS n FROM fieldstream.dead_letters WHERE sealed_by != ''")
    return int(rows[0]["n"])


def records(stack: Stack, topic: str) -> Iterator[bytes]:
    """Every record of a topic."""
    consumer = Consumer(
        {"bootstrap.servers": stack.layout.address("kafka"), "group.id": "privacy-test", "enable.auto.commit": False}
    )
    for number in range(TOPICS[topic].partitions):
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
        consumer.assign([TopicPartition(topic, number, first)])
        while first < end:
            for message in consumer.consume(500, timeout=1):
                first = (message.offset() or 0) + 1
                yield b"%s %s" % (message.key() or b"", message.value() or b"")
    consumer.close()


def tables(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Every row of every table and view, as text."""
    sql = "SELECT name FROM system.tables WHERE database = 'fieldstream' AND engine NOT LIKE '%View'"
    for row in stack.store.query(sql):
        statement = f"SELECT * FROM fieldstream.{row['name']} FORMAT TSV"
        yield row["name"], httpx.post(stack.layout.url("clickhouse"), content=statement, timeout=60).content


def files(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Every file of the stack's folder but those of topic readings.raw: logs, state, checkpoints, spool, store."""
    for path in stack.layout.var.rglob("*"):
        if path.is_file() and not path.parent.name.startswith(f"{READINGS_RAW.name}-"):
            content = path.read_bytes().rstrip(b"\0")  # Kafka's indexes are nearly all zeros
            yield str(path.relative_to(stack.layout.var)), content


def answers(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """What API and metrics say without being asked for a letter's original bytes."""
    readings = "/api/v1/readings?device_id=personal-0&from=2020-01-01"
    asked = [("api", readings), ("gateway", "/"), ("console", "/")]
    asked += [(part, "/metrics") for part in ("api", "gateway", "loader", "alerter", "jobs")]
    for part, path in asked:
        yield f"{part}{path}", httpx.get(stack.layout.url(part) + path, timeout=30).content


def places(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Every place with its content, one at a time: together they are most of a gigabyte."""
    yield from ((f"table {name}", content) for name, content in tables(stack))
    yield from ((f"topic {name}", b"\n".join(records(stack, name))) for name in TOPICS if name != READINGS_RAW.name)
    yield from ((f"file {name}", content) for name, content in files(stack))
    yield from ((f"answer {name}", content) for name, content in answers(stack))


def naming(found: Iterable[tuple[str, bytes]], forms: set[bytes]) -> list[str]:
    return [place for place, content in found if any(form in content for form in forms)]


def test_names_are_found_nowhere_but_in_readings_raw(sent: Stack) -> None:
    assert naming([("raw", b"\n".join(records(sent, READINGS_RAW.name)))], FORMS) == ["raw"]
    assert naming(places(sent), FORMS) == []


def test_a_planted_name_is_found_in_table_topic_file_and_log(sent: Stack) -> None:
    sql = f"INSERT INTO fieldstream.dead_letter_handling_data (letter_id, note) VALUES ('', '{PLANTED}')"
    httpx.post(sent.layout.url("clickhouse"), content=sql).raise_for_status()
    producer = Producer({"bootstrap.servers": sent.layout.address("kafka")})
    producer.produce("maintenance", None, PLANTED)
    producer.flush(30)
    note = sent.layout.var / "log" / "planted.log"
    note.write_text(PLANTED)
    try:
        found = naming(places(sent), {PLANTED.encode()})
    finally:
        note.unlink()
    assert {"table dead_letter_handling_data", "topic maintenance", "file log/planted.log"} <= set(found)


def test_the_pseudonym_is_the_keys_and_the_letters_bytes_are_read_with_the_private_key(sent: Stack) -> None:
    keyring = Keyring.load(sent.layout.var / "secrets/pseudonym.key")
    rows = sent.store.query(
        "SELECT DISTINCT device_id, operator_pseudonym AS p FROM fieldstream.readings WHERE device_id LIKE 'personal-%'"
    )
    assert {(row["device_id"], row["p"]) for row in rows} == {
        (f"personal-{number}", *pseudonyms(keyring, name)) for number, name in enumerate((ADA, BOB))
    }
    listed: list[dict[str, Any]] = json.loads(sent.run("fieldstream", "dead-letters", "list", "--json").stdout)
    payloads = "\n".join(one["payload"] for one in listed)
    assert {letter["origin"] for letter in listed if ADA in letter["payload"]} == {"gateway", "pipeline"}
    assert [letter["origin"] for letter in listed if letter["payload"] == POISON.decode()] == ["loader"]
    assert BOB in payloads
    page = httpx.get(sent.layout.url("api") + "/api/v1/dead-letters", params={"device_id": "personal-0"}).json()
    assert any(ADA in item["payload_text"] for item in page["items"])


def test_who_is_forgotten_stays_so_while_readings_keep_coming(sent: Stack, tmp_path: Path) -> None:
    done = sent.run("fieldstream", "privacy", "forget", ADA, "--yes")
    assert done.returncode == 0, done.stderr
    receipt = tmp_path / "receipt.json"
    receipt.write_text(done.stdout)
    assert sent.run("fieldstream", "privacy", "verify", str(receipt), "--subject", ADA).returncode == 0
    now = time.time_ns() // 1_000_000
    for number, name in enumerate((ADA, BOB)):
        publish(sent, f"sensors/personal-{number}/level", [json.dumps({"ts": now, "value": 5, "operator": name})])
    eventually(lambda: value(sent, "count()", "personal-0") + value(sent, "count()", "personal-1") == 44)
    assert value(sent, "count(operator_pseudonym)", "personal-0") == 0
    assert value(sent, "count(operator_pseudonym)", "personal-1") == 22
    held = json.loads(sent.run("fieldstream", "privacy", "report", ADA).stdout)
    assert (held["known"], held["readings"]["readings"], held["dead_letters"]) == (False, 0, [])
