"""A store with a lifelike plant, for the API and the console."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from integration.serve.lifelike import Exporter, alive
from integration.store.rig import Store, eventually, free_port


@dataclass
class Scene:
    """A running store, plant and Prometheus."""

    store: Store
    plant: Exporter
    prometheus: str
    mailbox: str


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    store = Store(folder)
    port, prometheus = free_port(), free_port()
    config = folder / "prometheus.yml"
    config.write_text(f"""global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: all
  honor_labels: true
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
""")
    with alive(store.url, port, gap_seq=1001) as plant:
        process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}"),
                f"--web.listen-address=127.0.0.1:{prometheus}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=(folder / "prometheus.log").open("w"),
        )
        address = f"http://127.0.0.1:{prometheus}"
        eventually(lambda: httpx.get(f"{address}/-/ready").status_code == 200, timeout_s=30)
        yield Scene(store, plant, address, f"http://127.0.0.1:{port}")
        process.terminate()
        process.wait(20)
    store.process.stop()
