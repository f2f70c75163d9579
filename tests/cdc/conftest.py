"""A whole local stack, a registry in Postgres, Debezium and our follower; a few devices that never stop sending."""

import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chaos.world import World
from integration.store.rig import ROOT, Process, eventually
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from cdc.registry import Connect, Postgres, follower

logging.getLogger("httpx").setLevel(logging.WARNING)
SENSORS = 6
PLANT = """
INSERT INTO sites VALUES ('north', 'plant manager');
INSERT INTO areas VALUES ('north', 'hall-1'), ('north', 'hall-2');
INSERT INTO assets VALUES ('pump-1', 'north', 'hall-1', 'pump'), ('pump-2', 'north', 'hall-1', 'pump');
INSERT INTO sensors (device_id, metric, asset_id, unit, high)
SELECT 'cdc-' || n, 'temperature', CASE WHEN n < 3 THEN 'pump-1' ELSE 'pump-2' END, '°C', 90
FROM generate_series(0, 5) AS n;
"""


@dataclass
class Registry:
    """Everything that a change passes, from Postgres to the store."""

    world: World
    postgres: Postgres
    connect: Connect
    folder: Path
    follower: Process = field(init=False)

    def __post_init__(self) -> None:
        self.follow()

    def follow(self) -> None:
        """Starts our follower."""
        self.follower = follower(self.folder, self.world.layout)

    def stop(self) -> None:
        """Ends what this started."""
        self.follower.stop()
        self.connect.process.stop()

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What ClickHouse answers."""
        try:
            return list(self.world.store.query(query))
        except OSError:  # too busy to answer: asked again
            return []

    def enriched(self, device: str) -> dict[str, Any]:
        """The newest reading of a device, as it was enriched."""
        found = self.rows(
            "SELECT site, area, asset_id, has_flag FROM (SELECT *, bitTest(flags, 0) AS has_flag "
            f"FROM fieldstream.readings_data WHERE device_id = '{device}' ORDER BY ts DESC LIMIT 1)"
        )
        return found[0] if found else {}

    def sensor(self, device: str) -> dict[str, Any]:
        """The sensor as the screens know it; empty when there is none."""
        found = self.rows(f"SELECT * FROM fieldstream.assets WHERE device_id = '{device}'")
        return found[0] if found else {}


class Senders(threading.Thread):
    """Publishes every sensor's reading five times a second until it is stopped."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.connect("127.0.0.1", port)
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        self._client.loop_start()
        while not self._ended.wait(0.2):
            for number in range(SENSORS):
                reading = {"value": 50 + time.time() % 1, "ts": time.time_ns() // 1_000_000}
                self._client.publish(f"sensors/cdc-{number}/temperature", json.dumps(reading), qos=1)
        self._client.loop_stop()

    def stop(self) -> None:
        """Ends it."""
        self._ended.set()
        self.join()


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    folder = ROOT / "var" / "test-cdc"  # stays, with its logs, until the next run
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with ExitStack() as ends:
        world = World(folder / "stack", breakable=False)
        ends.callback(world.stop)
        world.start()
        postgres = Postgres(folder)
        ends.callback(postgres.stop)
        postgres.sql(PLANT)  # before anybody follows: the first snapshot's
        running = Registry(world, postgres, Connect(folder, world.layout, postgres), folder)
        ends.callback(running.stop)
        senders = Senders(world.layout.ports["mqtt"])
        senders.start()
        ends.callback(senders.stop)
        eventually(
            lambda: running.enriched("cdc-0").get("area") == "hall-1", timeout_s=120, what="the snapshot is read"
        )
        yield running
