"""A shift with everything it works with, for the API, Grafana and the console; one browser for all."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from integration.serve.lifelike import Exporter
from integration.serve.shift import Shift, on_shift
from integration.store.rig import Store, eventually


@dataclass
class Scene:
    """A running store, plant and Prometheus."""

    store: Store
    plant: Exporter
    prometheus: str
    mailbox: str


@pytest.fixture(scope="session")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shift]:
    with on_shift(tmp_path_factory.mktemp("shift")) as running:
        yield running


@pytest.fixture(scope="session")
def scene(shift: Shift) -> Scene:
    def stored() -> bool:
        with shift.store.client() as clickhouse:
            return bool(clickhouse.value("SELECT count() FROM fieldstream.anomalies") >= 4)

    eventually(stored, what="the loader has brought the anomalies")
    return Scene(shift.store, shift.plant, shift.settings.prometheus, shift.settings.mailbox)
