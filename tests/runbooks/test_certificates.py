"""Drills of the certificates' alerts, on a secure stack: real certificates of two days."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fieldstream_central.pki import authority
from local import secure, stack
from local.layout import DEFAULT_PORTS, ROOT, Layout

from runbooks.drill import Drill
from runbooks.watched import rules_fire_sooner

PORT_OFFSET = 20_000
DAYS = 2


@pytest.fixture(scope="module")
def layout() -> Iterator[Layout]:
    """A running secure stack, stopped before the next one starts."""
    ports = {name: port + PORT_OFFSET for name, port in DEFAULT_PORTS.items()}
    chosen = Layout(ROOT / "var" / "runbooks-secure" / "var", ports, secure=True)
    stack.clean(chosen)
    chosen.var.mkdir(parents=True, exist_ok=True)
    try:
        stack.up(chosen, configure=rules_fire_sooner)
        yield chosen
    finally:
        stack.down(chosen)


def weeks_ahead(expires: float) -> bool:
    """Later than the alert's 14 days."""
    return expires > time.time() + 14 * 86_400


def test_a_gateway_takes_the_certificate_that_is_renewed_for_it(layout: Layout) -> None:
    field: Path = layout.pki / "field"
    drill = Drill(layout, "FieldstreamCertificateExpiring", FOLDER=str(field))
    authority.issue(field, secure.GATEWAY, days=DAYS, replace=True)
    drill.raised(gateway=secure.GATEWAY)
    assert secure.GATEWAY in drill.look()["fieldstream pki show --folder FOLDER"]
    drill.do("fieldstream pki renew")
    drill.over(weeks_ahead, gateway=secure.GATEWAY)


def test_a_program_of_the_centre_takes_its_renewed_certificate_when_it_is_started_anew(layout: Layout) -> None:
    drill = Drill(layout, "FieldstreamOwnCertificateExpiring")
    supervisor = stack.Supervisor(layout)

    def start_anew() -> None:
        supervisor.stop("loader")
        supervisor.start("loader")

    authority.issue(layout.pki, "loader", secure.HOSTS, days=DAYS, replace=True)
    start_anew()
    drill.raised(job="loader")
    assert "loader" in drill.look()["fieldstream pki show"]
    drill.do("fieldstream pki renew")
    start_anew()
    drill.over(weeks_ahead, job="loader")
