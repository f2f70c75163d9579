"""The chart of every tier passes, its programs ask what is there, and a fault in it is found."""

import copy
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from declared import lint
from declared.tiers import TIERS
from fieldstream_central.settings import load_settings
from fieldstream_schemas.topics import TOPICS
from scale.plant import MISSED_SOON


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    lint.install()


@pytest.fixture(scope="module")
def small() -> list[dict[str, Any]]:
    return lint.rendered("small")


def of_kind(manifests: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    return next(m for m in manifests if m["kind"] == kind and m["metadata"]["name"].endswith(name))


@pytest.mark.parametrize("tier", [tier.name for tier in TIERS])
def test_every_tier_passes(tier: str) -> None:
    lint.check(lint.rendered(tier), {})


def test_a_job_can_be_put_back_to_a_savepoint() -> None:
    manifests = lint.rendered("small", "flink.startFrom.pipeline=s3://bucket/before")
    job = of_kind(manifests, "FlinkDeployment", "-pipeline")["spec"]["job"]
    assert job["initialSavepointPath"] == "s3://bucket/before"
    assert isinstance(job["savepointRedeployNonce"], int)  # the operator looks at the path only when this changes
    assert "initialSavepointPath" not in of_kind(manifests, "FlinkDeployment", "-detect")["spec"]["job"]


def unknown_field(manifests: list[dict[str, Any]]) -> None:
    of_kind(manifests, "Deployment", "-loader")["spec"]["template"]["spec"]["containers"][0]["comand"] = ["x"]


def unknown_field_in_an_operators_pod(manifests: list[dict[str, Any]]) -> None:
    of_kind(manifests, "FlinkDeployment")["spec"]["podTemplate"]["spec"]["volumez"] = []


def root(manifests: list[dict[str, Any]]) -> None:
    pod = of_kind(manifests, "Deployment", "-api")["spec"]["template"]["spec"]
    pod["securityContext"] |= {"runAsUser": 0, "runAsNonRoot": False}
    pod["containers"][0]["securityContext"] |= {"runAsUser": 0, "runAsNonRoot": False}


def writable_image_in_an_operators_pod(manifests: list[dict[str, Any]]) -> None:
    template = of_kind(manifests, "ClickHouseInstallation")["spec"]["templates"]["podTemplates"][0]
    template["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = False


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (unknown_field, "comand"),
        (unknown_field_in_an_operators_pod, "volumez"),
        (root, "-api"),
        (writable_image_in_an_operators_pod, "clickhouse"),
    ],
)
def test_a_fault_is_found_and_named(
    small: list[dict[str, Any]], fault: Callable[[list[dict[str, Any]]], None], named: str
) -> None:
    broken = copy.deepcopy(small)
    fault(broken)
    with pytest.raises(lint.LintError, match=named):
        lint.check(broken, {})


def test_an_unknown_field_of_an_operators_kind_is_found(small: list[dict[str, Any]]) -> None:
    topic = copy.deepcopy(of_kind(small, "KafkaTopic"))
    spec = {"type": "object", "properties": {name: {} for name in topic["spec"]}}
    schema = lint.strict({"type": "object", "properties": {"spec": spec}}, top=True)
    key = f"{topic['apiVersion']}/KafkaTopic"
    assert lint.check([topic], {key: schema}) == set()
    topic["spec"]["partitionz"] = 4
    with pytest.raises(lint.LintError, match="partitionz"):
        lint.check([topic], {key: schema})


def test_the_programs_ask_services_that_are_there_and_have_certificates_of_these_names(
    small: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {}
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "secret")
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    for name in ("api", "jobs"):
        files[name] = tmp_path / f"{name}.toml"
        files[name].write_text(of_kind(small, "ConfigMap")["data"][f"{name}.toml"])
    settings = load_settings(files["api"])
    services = {m["metadata"]["name"]: m["spec"]["ports"][0]["port"] for m in small if m["kind"] == "Service"}
    assert len(set(settings.registry)) == of_kind(small, "StatefulSet", "-registry")["spec"]["replicas"] == 2
    for address in (settings.api, settings.console, *settings.registry):
        url = urlsplit(address)
        assert services[str(url.hostname).rpartition(".")[2]] == url.port
    assert "//api:secret@" in settings.clickhouse
    kafka = f"https://{settings.kafka}"
    flink = [load_settings(files["jobs"]).flink.replace("{job}", job) for job in ("pipeline", "detect")]
    for address in (settings.api, settings.console, *settings.registry, settings.clickhouse, kafka, *flink):
        url = urlsplit(address)
        names = [n for m in small if m["kind"] == "Certificate" for n in m["spec"].get("dnsNames", [])]
        assert url.scheme == "https"
        assert any(fnmatch(str(url.hostname), name) for name in names), address


def test_links_in_messages_are_those_that_people_reach_and_programs_ask_each_other_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [f"links.{name}=https://{name}.plant" for name in ("console", "api", "grafana")]
    data = of_kind(lint.rendered("small", *given), "ConfigMap", "-settings")["data"]
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "secret")
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    found = {}
    for name in ("alerter", "api", "console", "tools"):
        (tmp_path / name).write_text(data[f"{name}.toml"])
        settings = load_settings(tmp_path / name)
        found[name] = settings.console, settings.api, settings.grafana
    assert found["alerter"] == ("https://console.plant", "https://api.plant", "https://grafana.plant")
    assert found["console"] == ("https://console.plant", "https://fieldstream-api:8000", "https://grafana.plant")
    assert found["api"][:2] == ("https://console.plant", "https://fieldstream-api:8000")
    assert found["tools"][:2] == ("https://fieldstream-console:8080", "https://fieldstream-api:8000")


def test_a_dead_broker_is_missed_as_soon_as_in_the_scaled_stack(small: list[dict[str, Any]]) -> None:
    assert of_kind(small, "Kafka")["spec"]["kafka"]["config"].items() >= MISSED_SOON.items()


def test_every_topic_is_kept_three_times_with_its_own_settings(small: list[dict[str, Any]]) -> None:
    made = {m["metadata"]["name"]: m["spec"] for m in small if m["kind"] == "KafkaTopic"}
    assert made.keys() == TOPICS.keys() | {"kafkasql-journal", "kafkasql-snapshots", "registry-events"}
    for spec in made.values():
        assert (spec["replicas"], spec["config"]["min.insync.replicas"]) == (3, 2)
    for name, topic in TOPICS.items():
        assert topic.config.items() <= made[name]["config"].items()
        assert made[name]["partitions"] >= topic.partitions
