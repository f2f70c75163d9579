"""All that a shift works with: Kafka, loader, store, a lifelike plant, Prometheus, API with tokens, console.

`python -m integration.serve.shift FOLDER` runs it until it is interrupted and says where everything is.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx
from fieldstream_central.serve.api.access import add_token
from fieldstream_central.settings import ROLES, Settings, load_settings
from fieldstream_schemas.topics import ANOMALIES
from integration.serve.lifelike import Exporter, alive
from integration.store.rig import (
    Feed,
    LoaderProcess,
    Process,
    Store,
    create_topics,
    eventually,
    free_port,
    running_kafka,
    schema_cache,
)


@dataclass
class Shift:
    """The running programs, and a token of each role."""

    folder: Path
    settings: Settings
    store: Store
    plant: Exporter
    feed: Feed
    tokens: dict[str, str]
    programs: dict[str, Process]

    @property
    def url(self) -> str:
        """The console."""
        return self.settings.console

    def start(self, program: str) -> None:
        """Starts the API or the console, and waits until it answers."""
        self.programs[program] = serving(program, self.folder / "settings.toml")

    def api(self, method: str, path: str, *, role: str = "operator", **request: Any) -> Any:
        """What the API answers to this role."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        url = f"{self.settings.api}/api/v1{path}"
        return httpx.request(method, url, headers=headers, timeout=30, **request).raise_for_status().json()

    def state(self, alarm_id: str) -> str:
        """The alarm's state now; empty when there is none."""
        found = self.api("GET", "/alarms")
        return next((alarm["state"] for alarm in found if alarm["alarm_id"] == alarm_id), "")

    def episode(self, anomaly_id: str, state: str = "open", *, device: str, flush: bool = True, **more: Any) -> str:
        """One step of an episode, sent as detection sends it; the alarm's id."""
        now = time.time_ns() // 1_000_000
        row: dict[str, Any] = {
            **{"device_id": device, "metric": "temperature", "asset_id": device, "site": "north", "area": "hall-1"},
            **{"anomaly_id": anomaly_id, "detector": "limit", "kind": "limit-high", "severity": "warning"},
            **{"state": state, "started_at": now, "detected_at": now, "evidence_start": now, "evidence_end": now},
            **{"ended_at": now if state == "close" else None, "score": 1.0, "reason": "above H", "revision": 1},
        } | more
        self.feed.send(ANOMALIES, [row], flush=flush)
        return f"{device}/{row['metric']}/{row['detector']}"


def serving(program: str, settings_file: Path) -> Process:
    """The API or the console, once it answers."""
    url = getattr(load_settings(settings_file), program)
    code = f"from fieldstream_central.serve.cli import {program}; {program}(port={url.rpartition(':')[2]})"
    environment = {"FIELDSTREAM_CONFIG": str(settings_file)}
    process = Process([sys.executable, "-c", code], settings_file.parent / f"{program}.log", environment)
    path = "/healthz" if program == "api" else "/"
    eventually(lambda: httpx.get(url + path).status_code == 200, timeout_s=60, what=f"{program} is up")
    return process


@contextmanager
def on_shift(folder: Path) -> Iterator[Shift]:
    """Everything, until left."""
    ids = schema_cache(folder / "schemas")
    with ExitStack() as ending:
        kafka = ending.enter_context(running_kafka(folder / "kafka"))
        create_topics(kafka)
        store = Store(folder)
        ending.callback(lambda: store.process.stop())  # noqa: PLW0108 - a test may have started another
        feed = Feed(kafka, ids)
        plant = ending.enter_context(alive(store.url, free_port(), gap_seq=1001, feed=feed))
        mailbox = f"http://127.0.0.1:{plant.server_address[1]}"
        config = folder / "settings.toml"
        config.write_text(
            f'kafka = "{kafka}"\nregistry = ["http://127.0.0.1:1"]\nschema_cache = "{folder / "schemas"}"\n'
            f'clickhouse = "{store.url}"\nmailbox = "{mailbox}"\napi_tokens_file = "{folder / "tokens.toml"}"\n'
            + "".join(f'{name} = "http://127.0.0.1:{free_port()}"\n' for name in ("api", "console", "prometheus"))
        )
        settings = load_settings(config)
        loader = LoaderProcess(folder, kafka, store.url, folder / "schemas")
        ending.callback(loader.stop)
        ending.callback(_prometheus(folder, settings.prometheus, mailbox).stop)
        tokens = {role: add_token(settings.api_tokens_file, f"the-{role}", role) for role in ROLES}
        made = Shift(folder, settings, store, plant, feed, tokens, {})
        ending.callback(lambda: [program.stop() for program in made.programs.values()])
        for program in ("api", "console"):
            made.start(program)
        yield made


def _prometheus(folder: Path, url: str, exporter: str) -> Process:
    config = folder / "prometheus.yml"
    config.write_text(f"""global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: all
  honor_labels: true
  static_configs: [{{targets: ["{exporter.removeprefix("http://")}"]}}]
""")
    listen, data = f"--web.listen-address={url.removeprefix('http://')}", f"--storage.tsdb.path={folder / 'prometheus'}"
    return Process(["prometheus", f"--config.file={config}", data, listen], folder / "prometheus.log")


if __name__ == "__main__":
    with on_shift(Path(sys.argv[1])) as running:
        sys.stdout.write(f"{running.url} {running.settings.api} {running.settings.clickhouse} {running.tokens}\n")
        sys.stdout.flush()
        Event().wait()
