"""One Kafka for all tests of this folder; a ClickHouse per module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.store.rig import Store, create_topics, running_kafka


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_kafka(tmp_path_factory.mktemp("kafka")) as address:
        create_topics(address)
        yield address


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("store")
    server = Store(folder)
    yield server
    server.process.stop()
