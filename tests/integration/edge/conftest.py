"""One mosquitto, one Kafka and one registry for the whole folder; a gateway of its own for each test."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.edge.parts import GatewayProcess, Kafka, Mosquitto, Registry, all_parts, missing_parts

Parts = tuple[Mosquitto, Kafka, Registry]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    reason = missing_parts()
    if reason:
        pytest.skip(reason)
    with all_parts(tmp_path_factory.mktemp("parts")) as found:
        yield found


@pytest.fixture
def prefix() -> str:
    """Start of this test's device names, so that tests do not read each other's records."""
    return f"it{next(_numbers)}"


@pytest.fixture
def gateway_for(parts: Parts, tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    """Makes gateways with an id of their own; all end with the test."""
    made: list[GatewayProcess] = []

    def make(subscription: str, *, extra: str = "", more: str = "", mqtt: str = "", state_dir: Path | None = None,
             kafka: str = "", registry: str = "", more_kafka: str = "") -> GatewayProcess:  # fmt: skip
        mosquitto, its_kafka, its_registry = parts
        number = next(_numbers)
        gateway = GatewayProcess(
            tmp_path / f"g{number}", mqtt or mosquitto.url, kafka or its_kafka.bootstrap,
            registry or its_registry.url, extra=f'subscriptions = ["{subscription}"]\n{extra}', more=more,
            state_dir=state_dir, gateway_id=f"test-{number}", more_kafka=more_kafka,
        )  # fmt: skip
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        if gateway.process is not None:
            gateway.stop()


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Kafka]:
    kafka = Kafka(tmp_path / "own-kafka")
    yield kafka
    kafka.stop()
