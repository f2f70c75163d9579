"""Every certificate is renewed and every program takes its new one while a device sends: nothing lost or doubled."""

import json
import threading
import time

import paho.mqtt.client as mqtt
from fieldstream_central.pki import authority
from local import secure, stack
from paho.mqtt.enums import CallbackAPIVersion

from secure.tries import Plant, query

DEVICE = "rotation-1"
AUTHORITIES = ("", "field", "flink")
NEVER_RESTARTED = "gateway"  # it takes a renewed certificate by itself


class Sender(threading.Thread):
    """Sends a reading each 50 ms until it is stopped; paho sends again what the broker has not acknowledged."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(daemon=True)
        self.sent = self.acknowledged = 0
        self.stopping = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=DEVICE, protocol=mqtt.MQTTv5)
        self.client.tls_set_context(plant.context(DEVICE))
        self.client.reconnect_delay_set(1, 2)
        self.client.max_inflight_messages_set(1000)
        self.client.on_publish = self._published
        self.client.connect("127.0.0.1", plant.layout.ports["mqtt"])
        self.client.loop_start()

    def _published(self, *_: object) -> None:
        self.acknowledged += 1

    def run(self) -> None:
        """Event times are distinct, so that every reading counts."""
        while not self.stopping.wait(0.05):
            reading = json.dumps({"ts": time.time_ns() // 1_000_000, "value": self.sent})
            self.client.publish(f"sensors/{DEVICE}/level", reading, qos=1)
            self.sent += 1
        stack.wait_until("acknowledgements", lambda: self.acknowledged == self.sent, timeout_s=120)
        self.client.loop_stop()


def test_nothing_is_lost_or_doubled_while_every_certificate_is_renewed(plant: Plant) -> None:
    pki = plant.layout.pki
    authority.issue(pki / "field", DEVICE, days=1, replace=True)
    sender = Sender(plant)
    sender.start()
    before = {
        (folder, one.name): one.expires_at for folder in AUTHORITIES for one in authority.everything(pki / folder)
    }
    for folder in AUTHORITIES:
        authority.renew(pki / folder, within_days=3000, days=100)
    secure.make_java_files(pki)
    after = {(folder, one.name): one.expires_at for folder in AUTHORITIES for one in authority.everything(pki / folder)}
    assert [name for name in before if name[1] != authority.AUTHORITY and after[name] <= before[name]] == []

    supervisor = stack.Supervisor(plant.layout)
    for program in stack.all_programs(plant.layout):
        if program.name != NEVER_RESTARTED:
            supervisor.stop(program.name)
            supervisor.start(program.name)
            stack.wait_until(program.name, program.ready, timeout_s=180)
    stack.wait_until("both jobs", lambda: stack.jobs_running(plant.layout), timeout_s=300)
    sender.stopping.set()
    sender.join(180)
    assert sender.acknowledged == sender.sent

    sql = f"SELECT count(), uniqExact(ts), sum(value) FROM fieldstream.readings WHERE device_id = '{DEVICE}'"
    expected = [sender.sent, sender.sent, sum(range(sender.sent))]
    deadline = time.monotonic() + 120
    while (found := [int(float(figure)) for figure in query(plant, "grafana", sql).split()]) != expected:
        assert time.monotonic() < deadline, (found, expected)
        time.sleep(0.5)
