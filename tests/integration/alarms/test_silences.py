"""Against the real Alertmanager: what is acknowledged is not repeated, and its end is told."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from fieldstream_central.alarms.life import Action, Alarm, Event, with_episode, with_event
from fieldstream_central.notify.notices import alert
from fieldstream_central.notify.silences import Silences
from integration.store.rig import eventually, free_port

NOW = time.time_ns() // 1_000_000
EPISODE: dict[str, Any] = {
    **{"anomaly_id": "a1", "device_id": "pump-1", "metric": "temperature", "detector": "limit", "kind": "limit-high"},
    **{"severity": "warning", "state": "open", "started_at": NOW, "detected_at": NOW, "ended_at": None, "revision": 1},
    **{"asset_id": "pump-1", "site": "north", "area": "hall", "reason": "above H"},
}


@dataclass
class Receiver:
    """Alertmanager, and the messages that it sent."""

    http: httpx.Client
    messages: list[dict[str, Any]] = field(default_factory=list)

    def post(self, **changes: Any) -> None:
        step = EPISODE | changes
        ended = NOW if step["state"] == "close" else None
        self.http.post("/api/v2/alerts", json=[alert(step, "http://console", ends_at_ms=ended)]).raise_for_status()

    def told(self, status: str) -> int:
        return sum(message["status"] == status for message in self.messages)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    port, hook = free_port(), free_port()
    found = Receiver(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5))

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", hook), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = tmp_path / "alertmanager.yml"
    config.write_text(
        "route: {receiver: hook, group_by: [asset], group_wait: 0s, group_interval: 1s, repeat_interval: 1s}\n"
        f"receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{hook}/', send_resolved: true}}]}}]\n"
    )
    process = subprocess.Popen(
        [
            *("prometheus-alertmanager", f"--config.file={config}", f"--storage.path={tmp_path}"),
            *("--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
        ],
        stderr=(tmp_path / "log").open("w"),
    )
    try:
        eventually(lambda: found.http.get("/-/ready").status_code == 200, timeout_s=30, what="Alertmanager")
        yield found
    finally:
        process.terminate()
        process.wait(20)
        server.shutdown()


def done(alarm: Alarm, action: Action, **more: Any) -> Alarm:
    about = action is Action.ACKNOWLEDGE
    event = Event("e", alarm.alarm_id, alarm.revision + 1, action, NOW, "ann", anomaly_id="a1" if about else "", **more)
    after = with_event(alarm, event)
    assert after is not None
    return after


def test_acknowledged_is_not_repeated_and_its_end_is_told(receiver: Receiver) -> None:
    silences = Silences(receiver.http)
    receiver.post()
    eventually(lambda: receiver.told("firing") >= 2, what="what nobody acknowledged is repeated")
    alarm = done(with_episode(Alarm("pump-1/temperature/limit"), EPISODE), Action.ACKNOWLEDGE)
    silences.keep({"a1": alarm})
    silences.keep({"a1": alarm})
    (silence,) = receiver.http.get("/api/v2/silences").json()
    assert silence["comment"] == "acknowledged by ann"
    time.sleep(1.5)  # a message may have been on its way
    before = receiver.told("firing")
    time.sleep(3.5)  # three intervals, in each of which it would be repeated
    assert receiver.told("firing") == before
    silences.release(["a1"])
    receiver.post(state="close")
    eventually(lambda: receiver.told("resolved") == 1, what="the end is told")
    assert receiver.told("firing") == before


def test_a_shelf_ends_by_itself_and_others_silences_are_left_alone(receiver: Receiver) -> None:
    silences = Silences(receiver.http)
    foreign = {
        "matchers": [{"name": "asset", "value": "mixer", "isRegex": False, "isEqual": True}],
        **{"startsAt": "2026-01-01T00:00:00Z", "endsAt": "2036-01-01T00:00:00Z", "createdBy": "bob", "comment": "x"},
    }
    receiver.http.post("/api/v2/silences", json=foreign).raise_for_status()
    open_alarm = with_episode(Alarm("pump-1/temperature/limit"), EPISODE)
    until = time.time_ns() // 1_000_000 + 4_000
    shelved = done(open_alarm, Action.SHELVE, comment="valve is being changed", until=until)
    silences.keep({"a1": shelved})
    receiver.post()
    time.sleep(2)
    assert receiver.told("firing") == 0
    eventually(lambda: receiver.told("firing") >= 1, timeout_s=20, what="the shelf has ended")
    silences.keep({"a1": open_alarm})
    kept = [s for s in receiver.http.get("/api/v2/silences").json() if s["status"]["state"] == "active"]
    assert [silence["createdBy"] for silence in kept] == ["bob"]
