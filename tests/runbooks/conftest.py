"""One stack for all drills; they follow each other on it."""

import time
from collections.abc import Iterator

import pytest
from fieldstream_central import assets
from local.layout import ROOT

from runbooks.watched import PLANT, Device, Watched


@pytest.fixture(scope="session")
def world() -> Iterator[Watched]:
    """The running stack; its logs stay in var/runbooks until the next time."""
    running = Watched(ROOT / "var" / "runbooks" / "var")
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def device(world: Watched) -> Iterator[Device]:
    """A device that sends all the time, known to the asset registry."""
    plant = world.folder / "plant.toml"
    plant.write_text(PLANT)
    assets.publish(world.settings, plant, now_ms=time.time_ns() // 1_000_000)
    sending = Device(world.layout)
    yield sending
    sending.stop()


@pytest.fixture(autouse=True)
def nothing_stays_stopped(request: pytest.FixtureRequest) -> Iterator[None]:
    """A red drill does not make the next one red."""
    yield
    if "world" in request.fixturenames:
        supervisor = request.getfixturevalue("world").supervisor
        for name in supervisor.programs():
            supervisor.start(name)
