"""The stack of the drills: chaos' World, its rules with shorter waits, ClickHouse on a small disk, one slow device."""

import json
import os
import shlex
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from chaos.disks import mount_in_memory, unmount
from chaos.verdict import GATEWAY
from chaos.world import World
from fieldstream_central.store.clickhouse import ClickHouse
from local.layout import ROOT, VENV, Layout
from paho.mqtt.enums import CallbackAPIVersion

from runbooks.page import filled
from runbooks.rules import sooner

RULES = ROOT / "deploy/prometheus/fieldstream-rules.yml"
DEVICE = "drill-1"
TOPIC = f"sensors/{DEVICE}/level"
WORDS = {"G": GATEWAY}
CLICKHOUSE_MB = 1000
SMALL_SPOOL = "[spool]\nmax_bytes = 1048576\nsegment_bytes = 65536"
TABLE = "dead_letter_handling_data"  # in one partition
TOO_MANY_PARTS = 320
PLANT = f"""\
site = "drills"
[[asset]]
id = "{DEVICE}"
type = "drilled"
area = "runbooks"
[[asset.device]]
id = "{DEVICE}"
[[asset.device.sensor]]
metric = "level"
period_ms = 500
base = 5.0
noise = 1.0
"""


class Watched(World):
    """A stack whose alerts fire soon."""

    def _configure(self, layout: Layout) -> None:
        super()._configure(layout)
        rules_fire_sooner(layout)

    def _mount(self) -> None:
        super()._mount()
        if self.can_mount:
            mount_in_memory(self.folder / "clickhouse", CLICKHOUSE_MB)

    def _unmount(self) -> None:
        unmount(self.folder / "clickhouse")
        super()._unmount()


def rules_fire_sooner(layout: Layout) -> None:
    """Prometheus of this stack gets the rules with shorter waits."""
    (layout.config / "rules.yml").write_text(sooner(RULES.read_text()))
    own = layout.config / "prometheus.yml"
    own.write_text(own.read_text().replace(str(RULES), str(layout.config / "rules.yml")))


class Device:
    """A real device with one sensor that sends each half second; its clock may be ahead."""

    def __init__(self, layout: Layout) -> None:
        self.ahead_s = 0
        self._ending = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=DEVICE, protocol=mqtt.MQTTv5)
        self._client.reconnect_delay_set(1, 2)
        self._client.connect("127.0.0.1", layout.ports["mqtt"])
        self._client.loop_start()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        number = 0
        while not self._ending.wait(0.5):
            number += 1
            ts = time.time_ns() // 1_000_000 + self.ahead_s * 1000
            self._client.publish(TOPIC, json.dumps({"ts": ts, "value": number % 10}), qos=1)

    def say(self, messages: Iterable[str], topic: str = TOPIC) -> None:
        """Sends these payloads as they are."""
        for message in messages:
            self._client.publish(topic, message, qos=1)

    def stop(self) -> None:
        """Sends no more."""
        self._ending.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()


def reload_gateway_with(world: Watched, configuration: str) -> None:
    """The gateway gets another configuration file, and reads it."""
    (world.layout.config / "gateway.toml").write_text(configuration)
    os.kill(world.pid("gateway"), signal.SIGHUP)


@contextmanager
def small_spool(world: Watched) -> Iterator[None]:
    """The gateway's spool has hardly any room."""
    roomy = (world.layout.config / "gateway.toml").read_text()
    reload_gateway_with(world, roomy.replace("[spool]", SMALL_SPOOL))
    yield
    reload_gateway_with(world, roomy)


@contextmanager
def gateway_dead(world: Watched) -> Iterator[None]:
    """The gateway is killed, so that it says nothing of its end, and stays away."""
    world.kill("gateway")
    world.supervisor.stop("gateway")
    yield
    world.supervisor.start("gateway")


@contextmanager
def parts_that_nothing_merges(world: Watched) -> Iterator[None]:
    """Merges of a table are stopped, and it gets many small inserts."""
    with ClickHouse(world.settings.clickhouse) as store:
        store.execute(f"SYSTEM STOP MERGES fieldstream.{TABLE}")
        for number in range(TOO_MANY_PARTS):
            store.execute(f"INSERT INTO fieldstream.{TABLE} (letter_id) VALUES ('{number}')")
        yield
        store.execute(f"SYSTEM START MERGES fieldstream.{TABLE}")


def well(world: Watched, text: str) -> None:
    """A command that belongs to a cause or its mending, and to no page."""
    done = command(world.layout, text, {})
    assert done.returncode == 0, done.stdout + done.stderr


def command(layout: Layout, text: str, words: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Runs a command as a page has it, on this stack, where its files lie."""
    arguments = shlex.split(filled(text, WORDS | words))
    if arguments[0] == "fieldstream-gateway":  # on a gateway's host its configuration lies where this looks by itself
        arguments += ["--config", str(layout.config / "gateway.toml")]
    offset = layout.ports["mqtt"] - Layout(layout.var).ports["mqtt"]
    environment = os.environ | {
        "PATH": f"{VENV}/bin:{os.environ['PATH']}",
        "FIELDSTREAM_CONFIG": str(layout.settings_file),
        "FIELDSTREAM_VAR": str(layout.var),
        "FIELDSTREAM_PORT_OFFSET": str(offset),
        "SECURE": str(int(layout.secure)),
        "COLUMNS": "160",
    }
    where = ROOT if arguments[0] == "make" else layout.var.parent
    return subprocess.run(
        arguments, env=environment, cwd=where, capture_output=True, text=True, timeout=400, check=False
    )


def ask(layout: Layout, part: str, path: str, **query: str) -> Any:
    """JSON of Prometheus, Alertmanager or the mailbox."""
    url = f"{layout.url(part)}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=5, context=layout.tls(part)) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def alerts(layout: Layout, name: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    """What Alertmanager holds of an alert."""
    held = ask(layout, "alertmanager", "/api/v2/alerts", filter=f'alertname="{name}"')
    return [one for one in held if one["labels"].items() >= labels.items()]


def figures(layout: Layout, metric: str, labels: dict[str, str]) -> list[float]:
    """The metric now, of every series with these labels."""
    chosen = ",".join(f'{name}="{value}"' for name, value in labels.items())
    found = ask(layout, "prometheus", "/api/v1/query", query=f"{metric}{{{chosen}}}")["data"]["result"]
    return [float(one["value"][1]) for one in found]


def told(layout: Layout, name: str, since_ms: int) -> bool:
    """Whether somebody has been told of the alert since then."""
    try:
        entries = ask(layout, "mailbox", "/notifications", limit="1000")
    except OSError:  # the mailbox is being started
        return False
    return any(
        entry["channel"] == "webhook"
        and entry["received_at_ms"] >= since_ms
        and any(alert["labels"].get("alertname") == name for alert in entry["alerts"])
        for entry in entries
    )


def fill(path: Path, file_system: Path, share: float) -> None:
    """Writes a file that fills its file system up to this share."""
    found = os.statvfs(file_system)
    free, whole = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for _ in range(int(free - (1 - share) * whole) >> 20):
            file.write(b"\0" * (1 << 20))
