"""Metrics, status page and status text, of a gateway that has not been started."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fieldstream_edge.commands.status import text
from fieldstream_edge.gateway import Gateway
from fieldstream_edge.health import page
from fieldstream_edge.intake.acceptor import Message
from fieldstream_edge.settings import GatewaySettings, HttpSettings

_FIXED_NAMES = (
    "messages_received_total",
    "readings_accepted_total",
    "readings_delivered_total",
    'dead_letters_total{reason="not-json"}',
    "duplicates_total",
    "spool_readings",
    "spool_bytes",
    'flagged_total{flag="ts-absent"}',
    "commit_retries_total",
    "fsync_seconds_total",
)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(GatewaySettings(gateway_id="<g>", state_dir=str(tmp_path), http=HttpSettings(port=0)))
    yield made
    made._health._server.server_close()
    made.spool.close()


def test_metrics_are_prometheus_text_with_the_names_that_others_rely_on(gateway: Gateway) -> None:
    with gateway._acceptor.lock:
        gateway._acceptor.accept([Message("sensors/d/t", b"1"), Message("sensors/d/t", b"x")], 0, lambda _: None)
        gateway._acceptor.commit()
    lines = gateway.metrics().splitlines()
    values = dict(line.removeprefix("fieldstream_gateway_").rsplit(" ", 1) for line in lines if line[0] != "#")
    for name in _FIXED_NAMES:
        assert name in values
    assert values["messages_received_total"] == "2"
    assert values['dead_letters_total{reason="not-json"}'] == "1"
    assert values['flagged_total{flag="ts-absent"}'] == "1"
    assert values["spool_readings"] == "2"
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z_]+(\{[a-z]+=\"[^\"]*\"\})? [-0-9.e+]+", line) for line in lines if line[0] != "#")


def test_page_and_text_say_in_a_sentence_what_is_wrong(gateway: Gateway) -> None:
    status = gateway.status()
    assert not status["ready"]
    assert "No readings are accepted at the moment" in text(status)
    assert "not connected yet" in text(status)
    assert "&lt;g&gt;" in page(status)
    assert "<g>" not in page(status)


def test_reload_refuses_what_cannot_change_and_keeps_the_old(gateway: Gateway, tmp_path: Path) -> None:
    old = gateway.settings
    gateway._config = tmp_path / "g.toml"
    key = '[spool]\nkey_file = "/etc/hostname"\n'
    same = f'gateway_id = "<g>"\nstate_dir = "{tmp_path}"\n'
    for content in ("nonsense = 1\n", same.replace("<g>", "other"), same + key):
        gateway._config.write_text(content)
        assert gateway.reload() == "refused"
        assert gateway.settings is old
