"""The uplink's bandwidth limit, with a clock that does not sleep."""

import pytest
from fieldstream_edge.settings import GatewaySettings, KafkaSettings
from fieldstream_edge.uplink.producer import _Budget, producer_properties


def test_average_stays_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("fieldstream_edge.uplink.producer.time.monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    budget = _Budget(10_000)
    for _ in range(100):
        budget.spend(500, wait)
    assert 50_000 / (now[0] - 100.0) <= 10_000 * 1.01


def test_no_limit_never_waits() -> None:
    _Budget(0).spend(10**12, lambda _: pytest.fail("waited"))


def test_promises_do_not_hang_on_the_operators_properties() -> None:
    settings = GatewaySettings(
        kafka=KafkaSettings(properties={"acks": "0", "linger.ms": "50", "message.timeout.ms": "5"})
    )
    properties = producer_properties(settings)
    assert properties["acks"] == "all"
    assert properties["enable.idempotence"] is True
    assert properties["message.timeout.ms"] == 0
    assert properties["linger.ms"] == "50"
