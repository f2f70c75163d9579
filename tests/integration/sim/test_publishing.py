"""The simulator against a real mosquitto: everything acknowledged is in the truth, also across a broker's death."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = Path("/usr/sbin/mosquitto")
PORT = 22_450 + os.getpid() % 100
pytestmark = pytest.mark.skipif(not MOSQUITTO.exists(), reason="mosquitto is not installed")


class Broker:
    """A mosquitto of our own and a subscriber that keeps all messages."""

    def __init__(self, folder: Path) -> None:
        self._conf = folder / "mosquitto.conf"
        self._conf.write_text(f"listener {PORT} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 20\n")
        self.received: list[tuple[str, bytes]] = []
        self.start()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_message = lambda _c, _d, message: self.received.append((message.topic, bytes(message.payload)))
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", PORT)
        self._client.loop_start()

    def start(self) -> None:
        self.process = subprocess.Popen([MOSQUITTO, "-c", self._conf], stderr=subprocess.DEVNULL)
        time.sleep(0.7)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self._client.loop_stop()
        self.kill()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    yield made
    made.stop()


def simulator(truth: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fieldstream_sim.cli", "run", "demo", "--mqtt", f"mqtt://127.0.0.1:{PORT}"]
    return subprocess.Popen([*command, "--truth", str(truth), *options], stdout=subprocess.DEVNULL)


def wait_for_readings(truth: Path, seconds: float = 30.0) -> None:
    """Until the first acknowledged readings stand in the truth."""
    deadline = time.monotonic() + seconds
    published = truth / "published.csv"
    while time.monotonic() < deadline:
        if published.exists() and published.read_text().count("\n") > 20:
            return
        time.sleep(0.1)
    raise AssertionError("the simulator published nothing")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def identities(received: list[tuple[str, bytes]]) -> set[tuple[str, str, int, float]]:
    found = set()
    for topic, payload in received:
        _, device, *metric = topic.split("/")
        body = json.loads(payload)
        if not metric:
            found |= {(device, name, body["ts"], value) for name, value in body["metrics"].items()}
        else:
            for item in body if isinstance(body, list) else [body]:
                found.add((device, metric[0], item["ts"], item["value"]))
    return found


def truth_identities(path: Path) -> set[tuple[str, str, int, float]]:
    return {(row["device_id"], row["metric"], int(row["ts"]), float(row["value"])) for row in rows(path)}


def test_truth_lists_exactly_what_the_broker_passed_on(broker: Broker, tmp_path: Path) -> None:
    run = simulator(tmp_path / "t", "--duration", "5", "--rate-factor", "3", "--duplicate-share", "0.1")
    assert run.wait(40) == 0
    time.sleep(0.5)
    assert identities(broker.received) == truth_identities(tmp_path / "t" / "published.csv")
    assert all(row["acked_at_ms"] for row in rows(tmp_path / "t" / "published.csv"))
    summary = json.loads((tmp_path / "t" / "summary.json").read_text())
    assert summary["published"] == summary["acknowledged"] == len(rows(tmp_path / "t" / "published.csv"))
    assert summary["duplicate_messages"] == summary["duplicates_acknowledged"] > 0


def test_broker_killed_and_back_loses_no_reading(broker: Broker, tmp_path: Path) -> None:
    run = simulator(tmp_path / "t", "--duration", "8")
    wait_for_readings(tmp_path / "t")
    broker.kill()
    time.sleep(1)
    broker.start()
    assert run.wait(40) == 0
    published = rows(tmp_path / "t" / "published.csv")
    assert all(row["acked_at_ms"] for row in published)
    assert len({(row["device_id"], row["metric"], row["ts"]) for row in published}) == len(published)


def test_killed_simulator_leaves_a_truth_that_covers_what_arrived(broker: Broker, tmp_path: Path) -> None:
    run = simulator(tmp_path / "t")
    wait_for_readings(tmp_path / "t")
    run.kill()
    run.wait()
    time.sleep(0.3)
    arrived = identities(broker.received)
    assert arrived
    assert arrived <= truth_identities(tmp_path / "t" / "sent.csv")
    assert truth_identities(tmp_path / "t" / "published.csv") <= arrived


def test_interrupt_ends_cleanly_with_a_summary(broker: Broker, tmp_path: Path) -> None:
    run = simulator(tmp_path / "t")
    wait_for_readings(tmp_path / "t")
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 0
    assert (tmp_path / "t" / "summary.json").exists()
    assert not (tmp_path / "t" / "sent.csv").exists()


def test_every_kind_of_bad_input_is_sent_and_recorded(broker: Broker, tmp_path: Path) -> None:
    run = simulator(tmp_path / "t", "--duration", "4", "--malformed", "1")
    assert run.wait(40) == 0
    found = {row["reason"] for row in rows(tmp_path / "t" / "rejects.csv")}
    assert {"not-json", "not-finite", "not-a-number", "empty-payload", "too-large", "bad-topic", "conflict"} <= found
    assert {"accepted:unknown-sensor", "accepted:ts-absurd", "accepted:ts-future"} <= found


def test_no_broker_is_told_with_the_remedy(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fieldstream_sim.cli", "run", "demo", "--mqtt", "mqtt://127.0.0.1:22999"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "make up" in result.stderr
