"""Dead letters as people work with them: the command's own replay, judged by the oracle."""

import json
import random
import subprocess
from typing import Any

from confluent_kafka import Producer
from fieldstream_schemas.topics import READINGS_RAW
from local.layout import VENV

from chaos.harm import DrillError, until
from chaos.records import COLUMNS, framed, mqtt, now_ms
from chaos.verdict import truth_folder
from chaos.world import World

READINGS = 30


def fieldstream(world: World, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`fieldstream ...` on a world's stack."""
    environment = {"FIELDSTREAM_CONFIG": str(world.layout.settings_file), "PATH": "/usr/bin:/bin"}
    command = [str(VENV / "bin/fieldstream"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def listed(world: World, *options: str) -> list[dict[str, Any]]:
    """What `dead-letters list` shows."""
    done = fieldstream(world, "dead-letters", "list", "--json", *options)
    if done.returncode:
        raise DrillError(f"dead-letters list: {done.stderr[-1000:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def replayed(world: World, chance: random.Random) -> None:
    """Readings that break a rule of the pipeline (a wrong Kafka timestamp) are replayed, twice: they count once, and
    their windows are right. A gateway's letter that is replayed unmended is a letter again."""
    device = f"{world.drill_folder.name}-broken"
    start = now_ms() - 60_000
    readings = [(start + 500 * n, round(chance.uniform(0, 100), 3)) for n in range(READINGS)]
    producer = Producer({"bootstrap.servers": world.settings.kafka})
    for number, (ts, value) in enumerate(readings):
        reading = {"gateway_id": device, "epoch": start, "seq": number + 1, "device_id": device, "metric": "level",
                   "ts": ts, "value": value, "received_at": ts}  # fmt: skip
        producer.produce(READINGS_RAW.name, framed(world, reading), device, timestamp=ts + 1)
    producer.flush(30)
    payload = f"no reading {start}"
    mqtt(world, f"sensors/{device}/level", "-m", payload)
    until("the readings are dead letters", lambda: len(listed(world, "--gateway", device)) == READINGS)

    def unread() -> list[dict[str, Any]]:
        return [letter for letter in listed(world, "--reason", "not-json") if letter["payload"] == payload]

    until("the message is a dead letter", lambda: len(unread()) == 1)
    [letter] = unread()
    for arguments in (("--gateway", device), ("--gateway", device, "--again"), (letter["letter_id"],)):
        done = fieldstream(world, "dead-letters", "replay", *arguments)
        if done.returncode:
            raise DrillError(f"dead-letters replay {arguments}: {done.stdout[-1000:]} {done.stderr[-1000:]}")
    again = fieldstream(world, "dead-letters", "replay", "--gateway", device).stdout
    if not again.startswith("0 replayed"):
        raise DrillError(f"what was replayed is replayed again unasked: {again}")
    until(
        "the message is a letter again",
        lambda: len(unread()) == 1 and unread()[0]["letter_id"] != letter["letter_id"],
        60,
    )
    fieldstream(world, "dead-letters", "discard", unread()[0]["letter_id"], "--note", "made for a drill")
    if unread():
        raise DrillError("a discarded letter is still listed")
    rows = [COLUMNS, *(f"{device},level,{ts},{value},{ts},{ts}" for ts, value in readings)]
    (truth_folder(world, "replayed") / "published.csv").write_text("\n".join(rows) + "\n")
