"""The chain from episodes to people: alerter, Alertmanager, mail and webhooks, each a process or server of its own."""

import email
import email.policy
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from fieldstream_central.notify.config import load_notify
from fieldstream_central.notify.routes import alertmanager_config
from integration.alarms.conftest import Plant
from integration.store.rig import Process, Store, eventually, free_port


@dataclass
class Sink:
    """What people got: e-mails, and bodies of webhooks by path. A mail with a known Message-ID is the same mail.

    Killed between the server's answer and its own note, the alerter can but send again what may have been lost.
    """

    mails: list[EmailMessage] = field(default_factory=list)
    posts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd
        content = envelope.original_content or b""
        mail = email.message_from_bytes(content, _class=EmailMessage, policy=email.policy.default)
        if mail["Message-ID"] not in {known["Message-ID"] for known in self.mails}:
            self.mails.append(mail)
        return "250 kept"

    def subjects(self, to: str = "on-call") -> list[str]:
        return [str(mail["Subject"]).strip() for mail in self.mails if to in str(mail["To"])]


@dataclass
class Chain:
    """The running parts; each can be killed and started again."""

    folder: Path
    sink: Sink
    settings_file: Path
    alertmanager_port: int
    alerter_port: int
    alerter: Process
    alertmanager: Process
    store: Store

    def start_alerter(self) -> None:
        # A gateway is missed sooner than in a plant: the tests' patience.
        code = (
            "from fieldstream_central.alarms import gateways; from fieldstream_central.cli import app; "
            "gateways.SUSPECT_MS, gateways.AWAY_MS = 2_000, 6_000; app(['alerter'])"
        )
        environment = {"FIELDSTREAM_CONFIG": str(self.settings_file)}
        self.alerter = Process([sys.executable, "-c", code], self.folder / "alerter.log", environment)
        eventually(lambda: self._ok(self.alerter_port, "/metrics"), timeout_s=60, what="the alerter")

    def start_alertmanager(self) -> None:
        self.alertmanager = Process(
            [
                *("prometheus-alertmanager", f"--config.file={self.folder}/alertmanager.yml", "--log.level=warn"),
                *(f"--storage.path={self.folder}/alertmanager", "--cluster.listen-address="),
                *("--data.maintenance-interval=5s", f"--web.listen-address=127.0.0.1:{self.alertmanager_port}"),
            ],
            self.folder / "alertmanager.log",
        )
        eventually(lambda: self._ok(self.alertmanager_port, "/-/ready"), timeout_s=30, what="Alertmanager")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """`fieldstream ...` with the chain's settings."""
        code = "from fieldstream_central.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *command],
            env={"FIELDSTREAM_CONFIG": str(self.settings_file), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    @staticmethod
    def _ok(port: int, path: str) -> bool:
        return httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200


@contextmanager
def running_chain(plant: Plant, folder: Path, clickhouse: str, *, settings: str = "") -> Iterator[Chain]:
    sink = Sink()
    smtp, hook, alerter, alertmanager = (free_port() for _ in range(4))

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sink.posts.setdefault(self.path, []).append(json.loads(body or b"{}"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    url = f"http://127.0.0.1:{hook}"
    notify, file = folder / "notify.toml", folder / "settings.toml"
    notify.write_text(f"""repeat_minutes = 240
heartbeat_url = "{url}/heartbeat"
[smtp]
port = {smtp}
[receivers.on-call]
email = ["on-call@localhost"]
webhook = ["{url}/webhook"]
slack = ["{url}/slack"]
teams = ["{url}/teams"]
[receivers.boss]
email = ["boss@localhost"]
[[escalation]]
after_minutes = 0.07
receiver = "boss"
severities = ["critical"]
""")
    (folder / "link.key").write_text("a key of the tests, long enough")
    file.write_text(
        f'kafka = "{plant.settings.kafka}"\nregistry = ["http://127.0.0.1:1"]\nclickhouse = "{clickhouse}"\n'
        f'schema_cache = "{plant.settings.schema_cache}"\nalertmanager = "http://127.0.0.1:{alertmanager}"\n'
        f'notify_file = "{notify}"\nnotify_ledger = "{folder}/told.sqlite"\nlink_key_file = "{folder}/link.key"\n'
        f"alerter_metrics_port = {alerter}\n{settings}"
    )
    config = alertmanager_config(load_notify(notify), f"http://127.0.0.1:{alerter}")
    config["route"]["group_interval"] = "2s"  # the tests' patience
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    server = ThreadingHTTPServer(("127.0.0.1", hook), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    mail = Controller(sink, hostname="127.0.0.1", port=smtp)
    mail.start()
    chain = Chain.__new__(Chain)
    chain.folder, chain.sink, chain.settings_file = folder, sink, file
    chain.alertmanager_port, chain.alerter_port = alertmanager, alerter
    try:
        chain.start_alertmanager()
        chain.start_alerter()
        yield chain
    finally:
        chain.alerter.kill()
        chain.alertmanager.kill()
        mail.stop()
        server.shutdown()


def break_incident_of_fifty(plant: Plant, chain: Chain) -> None:
    """An incident of asset `big` in whose midst Alertmanager is killed with -9, and the alerter twice."""
    devices = [f"big-{n}" for n in range(50)]
    for device in devices[:20]:
        plant.episode(f"e-{device}", device=device, asset_id="big")
    eventually(lambda: any("big:" in one for one in chain.sink.subjects()), timeout_s=180, what="the incident is told")
    chain.alerter.kill()
    for device in devices[20:]:
        plant.episode(f"e-{device}", device=device, asset_id="big")
    chain.start_alerter()
    chain.alertmanager.kill()
    chain.start_alertmanager()
    for device in devices:
        plant.episode(f"e-{device}", "close", revision=2, device=device, asset_id="big")
    chain.alerter.kill()
    chain.start_alerter()
