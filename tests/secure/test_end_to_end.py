"""Readings of a fleet whose devices each have a certificate, through every encrypted link, counted in ClickHouse."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import paho.mqtt.client as mqtt
from fieldstream_central.pki import authority
from local import secure
from local.layout import VENV
from local.programs import ours
from paho.mqtt.enums import CallbackAPIVersion

from secure.tries import Plant, query

DEVICES = [f"fleet-{number}" for number in range(5)]
COUNT = 400


def send(plant: Plant, device: str) -> int:
    """Sends a device's readings over its own connection; how many were acknowledged."""
    authority.issue(plant.layout.pki / "field", device, days=1, replace=True)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv5)
    client.tls_set_context(plant.context(device))
    client.connect("127.0.0.1", plant.layout.ports["mqtt"])
    client.loop_start()
    start_ms = time.time_ns() // 1_000_000 - COUNT
    sent = [
        client.publish(f"sensors/{device}/level", json.dumps({"ts": start_ms + n, "value": n}), qos=1)
        for n in range(COUNT)
    ]
    for message in sent:
        message.wait_for_publish(60)
    client.loop_stop()
    client.disconnect()
    return sum(message.is_published() for message in sent)


def stored(plant: Plant, device: str) -> tuple[int, int, float]:
    """Rows, distinct times and the sum of values."""
    sql = "SELECT count(), uniqExact(ts), sum(value) FROM fieldstream.readings"
    rows, times, total = query(plant, "grafana", f"{sql} WHERE device_id = '{device}'").split()
    return int(rows), int(times), float(total)


def test_every_reading_of_the_fleet_is_stored_once(plant: Plant) -> None:
    with ThreadPoolExecutor(len(DEVICES)) as pool:
        assert list(pool.map(lambda device: send(plant, device), DEVICES)) == [COUNT] * len(DEVICES)
    expected = dict.fromkeys(DEVICES, (COUNT, COUNT, float(sum(range(COUNT)))))
    deadline = time.monotonic() + 120
    while (found := {device: stored(plant, device) for device in DEVICES}) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


def test_whoever_traces_finds_a_reading_in_every_place_with_no_more_rights_than_that(plant: Plant) -> None:
    device = DEVICES[0]
    ts = int(query(plant, "grafana", f"SELECT toUnixTimestamp64Milli(min(ts)) FROM fieldstream.readings "
                                     f"WHERE device_id = '{device}'"))  # fmt: skip
    environment = ours(plant.layout, "tracer")
    command = [str(VENV / "bin/fieldstream"), "trace", device, "level", str(ts), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [hop["place"] for hop in json.loads(done.stdout) if hop["found"]]
    assert found[:3] == ["readings.raw", "readings.clean", "ClickHouse"]


def test_no_secret_of_the_stack_is_in_a_log(plant: Plant) -> None:
    secrets = [file.read_text().strip() for file in (plant.layout.var / "secrets").glob("*.password")]
    secrets += [file.read_text().strip() for file in (plant.layout.var / "secrets").glob("*.token")]
    assert len(secrets) > len(secure.TOKENS)
    logs = {file.name: file.read_text(errors="replace") for file in plant.layout.logs.glob("*.log")}
    assert [name for name, text in logs.items() if any(secret in text for secret in secrets)] == []
