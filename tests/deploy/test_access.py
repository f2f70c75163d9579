"""The chart's doors: encrypted, certificates asked for, rights as declared, each secret with its holders alone."""

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from declared import guard, lint
from fieldstream_central.certificate import client_context, server_context
from fieldstream_central.kafka_access import connection, of_job, of_worker
from fieldstream_central.pki.authority import create_authority, issue
from fieldstream_central.settings import Settings, load_settings
from fieldstream_central.stream.cluster import _context
from fieldstream_schemas.rights import COMPONENTS
from local.layout import DEFAULT_PORTS

Manifests = list[dict[str, Any]]
JOBS = ("pipeline", "detect")


@pytest.fixture(scope="module")
def chart() -> Manifests:
    lint.install()
    return lint.rendered("small")


def one(manifests: Manifests, kind: str, name: str = "") -> Any:
    return next(m for m in manifests if m["kind"] == kind and m["metadata"]["name"].endswith(name))


def kafka(manifests: Manifests) -> Any:
    return one(manifests, "Kafka")["spec"]["kafka"]


def clickhouse(manifests: Manifests) -> Any:
    return one(manifests, "ClickHouseInstallation")["spec"]["configuration"]


def pod(manifests: Manifests, name: str) -> Any:
    return one(manifests, "Deployment", f"-{name}")["spec"]["template"]["spec"]


def test_nothing_is_open(chart: Manifests) -> None:
    assert guard.faults(chart) == []


def plain_listener(manifests: Manifests) -> None:
    kafka(manifests)["listeners"].append({"name": "plain", "port": 9099, "type": "internal", "tls": False})


def listener_that_asks_nobody(manifests: Manifests) -> None:
    del kafka(manifests)["listeners"][0]["authentication"]["listenerConfig"]["ssl.client.auth"]


def anonymous_super_user(manifests: Manifests) -> None:
    kafka(manifests)["authorization"]["superUsers"] = ["ANONYMOUS"]


def no_authorizer(manifests: Manifests) -> None:
    del kafka(manifests)["authorization"]


def right_too_many(manifests: Manifests) -> None:
    acls = one(manifests, "KafkaUser", "alerter")["spec"]["authorization"]["acls"]
    acls.append({"resource": {"type": "cluster"}, "operations": ["Alter"]})


def right_too_few(manifests: Manifests) -> None:
    del one(manifests, "KafkaUser", "loader")["spec"]["authorization"]["acls"][0]


def program_by_strimzis_authority(manifests: Manifests) -> None:
    one(manifests, "KafkaUser", "api")["spec"]["authentication"] = {"type": "tls"}


def no_user(manifests: Manifests) -> None:
    manifests.remove(one(manifests, "KafkaUser", "registry"))


def grant_too_many(manifests: Manifests) -> None:
    clickhouse(manifests)["users"]["console/grants/query"].append("GRANT DROP ON fieldstream.*")


def user_without_grants(manifests: Manifests) -> None:
    del clickhouse(manifests)["users"]["loader/grants/query"]


def user_without_limits(manifests: Manifests) -> None:
    clickhouse(manifests)["users"]["superset/profile"] = "fieldstream"


def password_in_the_chart(manifests: Manifests) -> None:
    clickhouse(manifests)["users"]["api/password"] = "letmein"  # pragma: allowlist secret


def plain_clickhouse(manifests: Manifests) -> None:
    files = clickhouse(manifests)["files"]
    files["z-tls-only.xml"] = files["z-tls-only.xml"].replace('<http_port remove="1"/>', "")


def shards_in_plain(manifests: Manifests) -> None:
    clickhouse(manifests)["clusters"][0]["secure"] = "no"


def anothers_password(manifests: Manifests) -> None:
    reference = pod(manifests, "console")["containers"][0]["env"][2]["valueFrom"]["secretKeyRef"]
    reference["key"] = "clickhouse-setup"


def anothers_certificate(manifests: Manifests) -> None:
    for source in pod(manifests, "alerter")["volumes"][0]["projected"]["sources"]:
        if source.get("secret", {}).get("name") == "fieldstream-alerter-tls":
            source["secret"]["name"] = "fieldstream-loader-tls"


def every_secret(manifests: Manifests) -> None:
    whole = {"secretName": "fieldstream"}  # pragma: allowlist secret
    pod(manifests, "jobs")["volumes"].append({"name": "all", "secret": whole})


def plain_address(manifests: Manifests) -> None:
    data = one(manifests, "ConfigMap", "-settings")["data"]
    data["loader.toml"] = data["loader.toml"].replace("https://registry-reader", "http://registry-reader")


def connector(manifests: Manifests) -> Any:
    return one(manifests, "KafkaConnector")["spec"]["config"]


def postgres_as_it_likes(manifests: Manifests) -> None:
    connector(manifests)["database.sslmode"] = "prefer"


def postgres_of_any_authority(manifests: Manifests) -> None:
    del connector(manifests)["database.sslrootcert"]


def chats_for_another(manifests: Manifests) -> None:
    source = {"secret": {"name": "fieldstream-notify", "items": [{"key": "notify.toml", "path": "n"}]}}
    pod(manifests, "console")["volumes"][0]["projected"]["sources"].append(source)


def links_of_nobody(manifests: Manifests) -> None:
    for source in pod(manifests, "api")["volumes"][0]["projected"]["sources"]:
        if items := source.get("secret", {}).get("items"):
            items[:] = [item for item in items if item["key"] != "link.key"]


def way_in(manifests: Manifests, component: str = "-clickhouse") -> Any:
    """The rule of a network policy for Grafana."""
    rules = one(manifests, "NetworkPolicy", component)["spec"]["ingress"]
    return next(rule for rule in rules if rule["from"][0].get("podSelector") == GRAFANA)


GRAFANA = {"matchLabels": {"app.kubernetes.io/name": "grafana"}}


def way_in_for_everybody(manifests: Manifests) -> None:
    way_in(manifests)["from"] = []


def way_in_to_all_ports(manifests: Manifests) -> None:
    del way_in(manifests)["ports"]


def way_in_from_everywhere(manifests: Manifests) -> None:
    way_in(manifests)["from"].append({"namespaceSelector": {}, "podSelector": {}})


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (plain_listener, "listener plain"),
        (listener_that_asks_nobody, "listener programs"),
        (anonymous_super_user, "ANONYMOUS"),
        (no_authorizer, "everybody may everything"),
        (right_too_many, "KafkaUser alerter"),
        (right_too_few, "KafkaUser loader"),
        (program_by_strimzis_authority, "KafkaUser api"),
        (no_user, "KafkaUser registry"),
        (grant_too_many, "user console"),
        (user_without_grants, "user loader"),
        (user_without_limits, "user superset"),
        (password_in_the_chart, "user api"),
        (plain_clickhouse, "http_port"),
        (shards_in_plain, "links"),
        (anothers_password, "console: may not have clickhouse-setup"),
        (anothers_certificate, "alerter: may not have loader-tls"),
        (every_secret, "jobs: may not have all of fieldstream"),
        (plain_address, "loader.toml"),
        (postgres_as_it_likes, "Postgres may be anybody"),
        (postgres_of_any_authority, "Postgres may be anybody"),
        (chats_for_another, "console: may not have notify.toml"),
        (links_of_nobody, "api: has no link.key"),
        (way_in_for_everybody, "NetworkPolicy fieldstream-clickhouse: lets everybody in"),
        (way_in_to_all_ports, "NetworkPolicy fieldstream-clickhouse: from other namespaces"),
        (way_in_from_everywhere, "NetworkPolicy fieldstream-clickhouse: from other namespaces"),
    ],
)
def test_an_open_door_is_found_and_named(chart: Manifests, fault: Callable[[Manifests], None], named: str) -> None:
    broken = copy.deepcopy(chart)
    fault(broken)
    assert named in "\n".join(guard.faults(broken))


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_renewed_certificate_ends_the_container_that_read_the_old_one(
    chart: Manifests, tmp_path: Path, kind: str
) -> None:
    container = one(chart, kind)["spec"]["template"]["spec"]["containers"][0]

    def run(command: list[str]) -> int:
        here = command[2].replace("/tmp/certificates-at-start", f"{tmp_path}/at-start")  # noqa: S108
        here = here.replace("/etc/fieldstream", f"{tmp_path}/own")
        return subprocess.run([*command[:2], here], check=False).returncode

    (tmp_path / "own").mkdir()
    for version in ("old", "new"):  # as a kubelet changes a volume: by exchanging one link
        folder = tmp_path / "own" / f"..{version}" / "tls"
        folder.mkdir(parents=True)
        (folder / "tls.crt").write_text(version)
    (tmp_path / "own/..data").symlink_to("..old")
    (tmp_path / "own/tls").symlink_to("..data/tls")
    assert run(container["lifecycle"]["postStart"]["exec"]["command"]) == 0
    assert run(container["livenessProbe"]["exec"]["command"]) == 0
    (tmp_path / "own/..data").unlink()
    (tmp_path / "own/..data").symlink_to("..new")
    assert run(container["livenessProbe"]["exec"]["command"]) == 1


def test_who_is_named_reaches_clickhouse_by_https_alone_and_without_a_name_nobody_does(chart: Manifests) -> None:
    assert way_in(chart)["ports"] == [{"port": DEFAULT_PORTS["clickhouse"]}]
    assert way_in(chart)["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    closed = one(lint.rendered("small", "clickhouseClients=null"), "NetworkPolicy", "-clickhouse")["spec"]["ingress"]
    operators = [peer for rule in closed for peer in rule["from"] if "namespaceSelector" in peer]
    assert [peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for peer in operators] == [
        "altinity-clickhouse-operator"
    ]
    assert all(rule["from"] for rule in closed)


def test_postgres_is_asked_in_plain_only_by_whoever_says_so(chart: Manifests) -> None:
    assert connector(chart)["database.sslmode"] == "verify-full"
    assert connector(chart)["database.sslrootcert"] == "/mnt/assets/ca.crt"
    relaxed = lint.rendered("small", "assets.sslmode=disable")
    assert connector(relaxed)["database.sslmode"] == "disable"
    assert "database.sslrootcert" not in connector(relaxed)
    assert "ca.crt" not in str(one(relaxed, "KafkaConnect")["spec"]["template"]["pod"])


def test_a_chart_that_tells_nobody_is_refused() -> None:
    with pytest.raises(lint.LintError, match=r"notify\.secret"):
        lint.rendered("small", "notify.secret=")


def test_the_alerter_gets_out_to_people_and_the_tracer_to_its_collector(chart: Manifests) -> None:
    for name, ports in (("alerter", [443, 587, 9113]), ("tracer", [4318])):
        rules = one(chart, "NetworkPolicy", f"-{name}")["spec"]["egress"]
        assert [{"port": port} for port in ports] in [rule["ports"] for rule in rules if "to" not in rule]


def test_a_collector_without_a_port_is_refused() -> None:
    with pytest.raises(lint.LintError, match="name the port"):
        lint.rendered("small", "tracing.otlp=http://collector/v1/traces")


def test_without_a_collector_nobody_traces() -> None:
    without = lint.rendered("small", "tracing.otlp=")
    assert "fieldstream-tracer" not in [m["metadata"]["name"] for m in without if m["kind"] == "Deployment"]


def test_a_gateway_cannot_be_called_as_a_program() -> None:
    with pytest.raises(lint.LintError, match="loader is the name of a program"):
        lint.rendered("small", "gateways={loader}")


def projected(manifests: Manifests, name: str) -> Any:
    """The sources of a program's one volume."""
    if name in JOBS:
        spec = one(manifests, "FlinkDeployment", f"-{name}")["spec"]["podTemplate"]["spec"]
    elif name == "setup":
        spec = one(manifests, "Job")["spec"]["template"]["spec"]
    else:
        spec = pod(manifests, name)
    return next(v for v in spec["volumes"] if v["name"] == "own")["projected"]["sources"]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    create_authority(folder, days=2)
    issue(folder, "any", ["localhost"], days=1)
    return folder


@pytest.fixture(params=["loader", "alerter", "tracer", "jobs", "assets", "api", "console", "setup", "tools", *JOBS])
def mounted(
    request: pytest.FixtureRequest, chart: Manifests, pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Settings]:
    """A program's files as its pod has them, and its settings as it reads them, from another place."""
    certificate, key = (pki / "any.crt").read_text(), (pki / "any.key").read_text()
    known = {"ca.crt": (pki / "ca.crt").read_text(), "tls.crt": certificate, "tls.key": key}
    known["tls-combined.pem"] = key + certificate
    known |= one(chart, "ConfigMap", "-settings")["data"]
    for source in projected(chart, request.param):
        for item in source.get("configMap", source.get("secret"))["items"]:
            file = tmp_path / item["path"]
            file.parent.mkdir(exist_ok=True)
            file.write_text(known.get(item["key"], "").replace("/etc/fieldstream", str(tmp_path)))
    for name in ("CLICKHOUSE_PASSWORD", "REGISTRY_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    return request.param, load_settings(tmp_path / "fieldstream.toml")


def test_a_program_finds_its_certificate_and_its_keys_where_its_settings_say(mounted: tuple[str, Settings]) -> None:
    name, settings = mounted
    if name in JOBS:
        of = of_job(settings, name)
        assert of["security.protocol"] == "SSL"
        named = [of["ssl.keystore.location"], of["ssl.truststore.location"]]
        assert of_worker(settings, name)["security.protocol"] == "ssl"
    else:
        assert server_context(settings) and client_context(settings)
        named = []
        if name in COMPONENTS or name == "tools":
            found = connection(settings)
            assert found["security.protocol"] == "ssl"
            named = [str(found[key]) for key in ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")]
    if name == "jobs":
        assert _context(settings)
    keys = {
        "pseudonym.key": settings.pseudonym_key_file,
        "dead-letters.pub": settings.letter_public_key_file,
        "dead-letters.key": settings.letter_key_file,
        "signing.key": settings.signing_key_file,
        "api-tokens.toml": settings.api_tokens_file,
        "link.key": settings.link_key_file,
        "notify.toml": settings.notify_file,
    }
    named += [str(path) for key, path in keys.items() if name in guard.HOLDERS[key]]
    assert [path for path in named if not Path(path).is_file()] == []
