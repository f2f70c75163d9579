"""What the deployments say is what is declared once."""

import re
from typing import Any

import pytest
import yaml
from declared import compose, metrics, reference, write
from declared.tiers import TIERS, Tier
from fieldstream_central.settings import SettingsError, load_settings
from fieldstream_edge.config import parse
from local.layout import DEFAULT_PORTS, ROOT


@pytest.mark.parametrize(("path", "text"), write.files().items())
def test_what_is_made_from_the_declarations_is_up_to_date(path: str, text: str) -> None:
    assert (ROOT / path).read_text() == text, "run `PYTHONPATH=deploy .venv/bin/python -m declared.write`"


def test_a_setting_of_which_nothing_is_said_is_refused() -> None:
    assert reference.meanings("    # it is\n    a: int = 1\n    b: str = ''  # so\n") == {"a": "it is", "b": "so"}
    with pytest.raises(ValueError, match="setting b"):
        reference.meanings("    a: int = 1  # known\n    b: int = 2\n")


def test_the_page_of_metrics_has_every_metric_of_the_code() -> None:
    """Each module that makes one is named in PROGRAMS; what the code makes by hand is the page's own affair."""
    code = ROOT / "central/fieldstream_central"
    makers = {
        ".".join(file.relative_to(code).with_suffix("").parts)
        for file in code.rglob("*.py")
        if re.search(r"^\w+ = (Counter|Gauge|Histogram|Summary)\(", file.read_text(), re.MULTILINE)
    }
    assert makers == {name for modules in metrics.PROGRAMS.values() for name in modules}


def test_a_tier_has_twice_the_cores_that_its_rate_needs() -> None:
    assert Tier("any", 50_000).cores("taskmanager") == pytest.approx(2 * 0.05 * 43)


def test_partitions_leave_room_to_double_the_slots() -> None:
    for tier in TIERS:
        assert tier.partitions >= 2 * tier.slots


def test_no_shard_is_larger_than_may_be_copied_in_a_day() -> None:
    for tier in TIERS:
        assert tier.stored_bytes / tier.shards <= 8e12


@pytest.fixture
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    return services


def test_compose_publishes_the_declared_ports_on_loopback(services: dict[str, Any]) -> None:
    for name, service in compose.SERVICES.items():
        for published in services[service].get("ports", []):
            host, outside, inside = published.split(":")
            assert (host, outside) == ("127.0.0.1", inside)
            assert int(inside) in {DEFAULT_PORTS[n] for n, s in compose.SERVICES.items() if s == service}, name


def test_the_programs_take_composes_settings(monkeypatch: pytest.MonkeyPatch, services: dict[str, Any]) -> None:
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "secret")
    settings = load_settings(ROOT / compose.FOLDER / "fieldstream.toml")
    for address in (settings.kafka, settings.clickhouse, settings.api, settings.flink, *settings.registry):
        assert address.rpartition("@")[2].rpartition("//")[2].partition(":")[0] in services
    parse((ROOT / compose.FOLDER / "gateway.toml").read_text())


def test_no_service_may_write_its_image_or_gain_privileges(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name


def test_the_job_manager_may_use_what_flink_is_told_to(services: dict[str, Any]) -> None:
    flink = yaml.safe_load((ROOT / compose.FOLDER / "flink/config.yaml").read_text())
    assert services["jobmanager"]["mem_limit"] == flink["jobmanager.memory.process.size"]


def test_a_missing_password_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLICKHOUSE_PASSWORD", raising=False)
    with pytest.raises(SettingsError, match="CLICKHOUSE_PASSWORD"):
        load_settings(ROOT / compose.FOLDER / "fieldstream.toml")
