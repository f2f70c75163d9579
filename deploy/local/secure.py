"""`make up SECURE=1`: the same stack with every link authenticated and encrypted, and with least rights.

Three authorities: that of the centre in var/pki, that of gateways and devices in var/pki/field, that of the Flink
cluster in var/pki/flink. What listens over HTTP in the centre takes certificates of the first alone, so a device cannot
open it; Flink takes those of the third, so only the keeper of the jobs and the operator can. Configuration files are
the plain stack's, changed.
"""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

import yaml
from fieldstream_central.kafka_access import grant
from fieldstream_central.pki import authority
from fieldstream_central.pki.java_store import make_pem, make_store
from fieldstream_central.serve.api.access import add_token
from fieldstream_central.settings import load_settings
from fieldstream_central.stream.cluster import cluster_options
from fieldstream_schemas.rights import COMPONENTS

from local.layout import Layout

HOSTS = ("127.0.0.1", "localhost")
SERVERS = ("kafka", "mosquitto", "registry", "clickhouse", "jobs", "loader", "alerter", "tracer", "api", "console",
           "prometheus", "alertmanager")  # fmt: skip
CLIENTS = ("setup", "admin", "pipeline", "detect")
OURS = ("setup", "clickhouse", "jobs", "loader", "alerter", "api", "console", "tracer")
GATEWAY = "gateway-local"
# Kafka puts it before every name that the field's authority has signed.
FIELD = "field-"
# A principal's name is the certificate's common name.
NAMED = "RULE:^.*CN=([^,]+).*$/$1/"
DAYS = 90
LOOPBACK = ["127.0.0.0/8"]
# ClickHouse's users, by the programs that ask it. Who reads only is named with the tables that it may fill.
READERS: dict[str, list[str]] = {
    "api": ["fieldstream.dead_letter_handling_data"],
    "console": [],
    "alerter": [],
    "tracer": [],
    "grafana": [],
    "superset": [],
}
WRITERS = {"setup": [], "loader": ["SELECT", "WITH", "INSERT", "ALTER", "OPTIMIZE", "DELETE"]}
REGISTRY_ROLES = ("reader", "writer")
# Tokens of the API by name: role, and the sites that it sees; none: all.
TOKENS: dict[str, tuple[str, list[str]]] = {
    "viewer": ("viewer", []),
    "operator": ("operator", []),
    "admin": ("admin", []),
    "elsewhere": ("admin", ["elsewhere"]),
}


def make_certificates(layout: Layout) -> None:
    """Both authorities and every certificate that is missing; what Java reads is made anew."""
    pki, field, flink = layout.pki, layout.pki / "field", layout.pki / "flink"
    for folder in (pki, field, flink):
        if not (folder / "ca.key").exists():
            authority.create_authority(folder, days=3650)
    for name in (*SERVERS, *CLIENTS):
        if not (pki / f"{name}.key").exists():
            authority.issue(pki, name, HOSTS if name in SERVERS else (), days=DAYS)
    if not (field / f"{GATEWAY}.key").exists():
        authority.issue(field, GATEWAY, days=DAYS)
    if not (flink / "flink.key").exists():
        authority.issue(flink, "flink", HOSTS, days=DAYS)
    make_java_files(pki)


def make_java_files(pki: Path) -> None:
    """What Kafka, Flink, the registry and the jobs read; to be made again after a renewal."""
    for name in ("kafka", "registry", "pipeline", "detect"):
        make_pem(pki, name)
    make_store(pki / "flink", "flink", ["ca"])
    (pki / "all.pem").write_bytes((pki / "ca.crt").read_bytes() + (pki / "field/ca.crt").read_bytes())


def make_passwords(layout: Layout) -> None:
    """A password for each user of ClickHouse and of the registry, tokens of the API."""
    folder = layout.var / "secrets"
    for name in (*READERS, *WRITERS, "registry-reader", "registry-writer"):
        file = folder / f"{name}.password"
        if not file.exists():
            authority.write_file(file, secrets.token_hex(16).encode(), mode=0o600)
    for name, (role, sites) in TOKENS.items():
        file = folder / f"{name}.token"
        if not file.exists():
            token = add_token(folder / "api-tokens.toml", name, role, sites=sites)
            authority.write_file(file, token.encode(), mode=0o600)


def secret(layout: Layout, name: str) -> str:
    """A password or a token by its file's name."""
    return (layout.var / "secrets" / name).read_text()


def write(layout: Layout, plain: dict[Path, str]) -> None:
    """Changes the plain stack's configuration files, and adds those that it has none of."""
    make_certificates(layout)
    make_passwords(layout)
    config = layout.config
    files = {
        config / "kafka.properties": kafka(layout, plain[config / "kafka.properties"]),
        config / "mosquitto.conf": mosquitto(layout, plain[config / "mosquitto.conf"]),
        config / "mosquitto.acl": MQTT_RIGHTS,
        config / "gateway.toml": gateway(layout, plain[config / "gateway.toml"]),
        config / "prometheus.yml": prometheus(layout, plain[config / "prometheus.yml"]),
        config / "alertmanager.yml": alertmanager(layout, plain[config / "alertmanager.yml"]),
        config / "users.toml": users(layout),
        config / "registry.properties": registry(layout),
        layout.var / "flink/conf/config.yaml": flink(layout, plain[layout.var / "flink/conf/config.yaml"]),
    }
    files |= {config / f"web-{name}.yml": web(layout, name) for name in ("prometheus", "alertmanager")}
    files |= {
        layout.settings_of(name): settings(layout, plain[layout.settings_file], name) for name in (*OURS, "admin")
    }
    for path, text in files.items():
        path.unlink(missing_ok=True)
        authority.write_file(path, text.encode(), mode=0o600)


def settings(layout: Layout, plain: str, name: str) -> str:
    """A program's own settings: its certificate, its password in ClickHouse, its role in the registry."""
    role = "writer" if name == "setup" else "reader"
    registry = f"https://registry-{role}:{secret(layout, f'registry-{role}.password')}@"
    text = plain.replace('registry = ["https://', f'registry = ["{registry}').replace("mqtt://", "mqtts://")
    if name in READERS or name in WRITERS:
        who = f"https://{name}:{secret(layout, f'{name}.password')}@"
        text = text.replace('clickhouse = "https://', f'clickhouse = "{who}')
    text += f"""\
tls_ca_file = "{layout.pki}/ca.crt"
tls_cert_file = "{layout.pki}/{name}.crt"
tls_key_file = "{layout.pki}/{name}.key"
api_tokens_file = "{layout.var}/secrets/api-tokens.toml"
"""
    return text + (
        f'job_certificates = "{layout.pki}"\nflink_store = "{layout.pki}/flink/flink"\n'
        if name in ("jobs", "setup")
        else ""
    )


def kafka(layout: Layout, plain: str) -> str:
    """Mutual TLS on all listeners, names from certificates, nothing allowed that is not granted."""
    own, pki = f"SSL://{layout.address('kafka')}", layout.pki
    text = plain.replace("PLAINTEXT", "SSL").replace(own, f"{own},FIELD://{layout.address('kafka_field')}")
    text = text.replace(",SSL:SSL", ",SSL:SSL,FIELD:SSL")
    return text + kafka_security(pki / "kafka.pem", pki / "ca.crt", "kafka", field=pki / "field" / "ca.crt")


def kafka_security(own: Path, believed: Path, name: str, *, field: Path) -> str:
    """A broker's own key and certificate in one file, the authority it believes, and its name as a principal.

    Listener FIELD believes the authority `field` alone and marks its names, or that one could sign an `admin`. A name
    that cannot be marked is refused: the rule has no DEFAULT.
    """
    return f"""\
listener.name.field.ssl.truststore.type=PEM
listener.name.field.ssl.truststore.location={field}
listener.name.field.ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*$/{FIELD}$1/
inter.broker.listener.name=SSL
ssl.keystore.type=PEM
ssl.keystore.location={own}
ssl.truststore.type=PEM
ssl.truststore.location={believed}
ssl.client.auth=required
ssl.principal.mapping.rules={NAMED},DEFAULT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{name};User:admin
allow.everyone.if.no.acl.found=false
"""


# A device writes below its own name; the gateway reads, and says how it is; the API sends dead letters again.
MQTT_RIGHTS = f"""\
pattern write sensors/%u/#

user {GATEWAY}
topic read sensors/#
topic write fieldstream/gateways/{GATEWAY}

user api
topic write sensors/#
"""


def mosquitto(layout: Layout, plain: str) -> str:
    """Mutual TLS; the certificate's name is the user."""
    return f"""\
{plain.replace("allow_anonymous true", "allow_anonymous false")}
cafile {layout.pki}/all.pem
certfile {layout.pki}/mosquitto.crt
keyfile {layout.pki}/mosquitto.key
require_certificate true
use_identity_as_username true
acl_file {layout.config}/mosquitto.acl
"""


def gateway(layout: Layout, plain: str) -> str:
    """The gateway's certificate towards broker and Kafka, and its role in the registry."""
    own = f"{layout.pki}/field/{GATEWAY}"
    registry = f"https://registry-reader:{secret(layout, 'registry-reader.password')}@"
    text = plain.replace("mqtt://", "mqtts://").replace('urls = ["https://', f'urls = ["{registry}')
    text = text.replace(layout.address("kafka"), layout.address("kafka_field"))
    return f"""\
{text}
[mqtt.tls]
ca_file = "{layout.pki}/ca.crt"
cert_file = "{own}.crt"
key_file = "{own}.key"

[kafka.properties]
"security.protocol" = "ssl"
"ssl.ca.location" = "{layout.pki}/ca.crt"
"ssl.certificate.location" = "{own}.crt"
"ssl.key.location" = "{own}.key"
"""


def flink(layout: Layout, plain: str) -> str:
    """REST by mutual TLS with two known certificates, and the cluster's own links likewise."""
    store = layout.pki / "flink" / "flink"
    return plain + yaml.safe_dump(cluster_options(store, store.with_suffix(".password").read_text()))


def client_tls(layout: Layout, name: str) -> dict[str, str]:
    """How Prometheus and Alertmanager name their certificate towards what they ask."""
    files = {"ca_file": "ca.crt", "cert_file": f"{name}.crt", "key_file": f"{name}.key"}
    return {key: f"{layout.pki}/{file}" for key, file in files.items()}


def prometheus(layout: Layout, plain: str) -> str:
    """Everything but the gateway is asked by mutual TLS."""
    config: dict[str, Any] = yaml.safe_load(plain)
    tls = {"scheme": "https", "tls_config": client_tls(layout, "prometheus")}
    for job in config["scrape_configs"]:
        job |= tls if job["job_name"] in layout.ENCRYPTED else {}
    config["alerting"]["alertmanagers"][0] |= tls
    return yaml.safe_dump(config, sort_keys=False)


def alertmanager(layout: Layout, plain: str) -> str:
    """The alerter is told by mutual TLS."""
    config: dict[str, Any] = yaml.safe_load(plain)
    for receiver in config["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook["http_config"] = {"tls_config": client_tls(layout, "alertmanager")}
    return yaml.safe_dump(config, sort_keys=False)


def web(layout: Layout, name: str) -> str:
    """web.config of Prometheus and Alertmanager: only to those that show a certificate of the centre."""
    own = client_tls(layout, name)
    server = {key: own[key] for key in ("cert_file", "key_file")}
    server |= {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": own["ca_file"]}
    return yaml.safe_dump({"tls_server_config": server})


def users(layout: Layout) -> str:
    """ClickHouse's users."""

    def table(name: str, **more: Any) -> str:
        digest = hashlib.sha256(secret(layout, f"{name}.password").encode()).hexdigest()
        lines = {"password_sha256": digest, "addresses": LOOPBACK} | more
        return f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in lines.items())

    tables = [table(name, readonly=True, inserts=inserts) for name, inserts in READERS.items()]
    return "\n".join([*tables, *(table(name, statements=verbs) for name, verbs in WRITERS.items())])


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


def registry(layout: Layout) -> str:
    """The registry's own properties."""
    pki = layout.pki
    passwords = {role: secret(layout, f"registry-{role}.password") for role in REGISTRY_ROLES}
    files = pki / "registry.crt", pki / "registry.key", pki / "registry.pem", pki / "ca.crt"
    return registry_properties(layout.ports["registry"], files, passwords)


def registry_properties(port: int, files: tuple[Path, Path, Path, Path], passwords: dict[str, str]) -> str:
    """TLS; who reads and who writes, each with a password; Kafka by its own certificate.

    `files`: certificate, key, both in one, the authority. Readers may also ask for the id of a schema, which is a POST.
    """
    certificate, key, both, believed = files
    subjects = "/apis/ccompat/v7/subjects/*"
    lines = {
        "quarkus.http.insecure-requests": "disabled",
        "quarkus.http.ssl-port": port,
        "quarkus.http.ssl.certificate.files": certificate,
        "quarkus.http.ssl.certificate.key-files": key,
        "quarkus.http.auth.policy.writer.roles-allowed": "writer",
        "quarkus.http.auth.basic": "true",
        "quarkus.security.users.embedded.plain-text": "true",
        "apicurio.kafka.common.security.protocol": "SSL",
        "apicurio.kafka.common.ssl.keystore.type": "PEM",
        "apicurio.kafka.common.ssl.keystore.location": both,
        "apicurio.kafka.common.ssl.truststore.type": "PEM",
        "apicurio.kafka.common.ssl.truststore.location": believed,
    }
    for rule, paths, methods, policy in (
        ("look", "/*", "GET,HEAD", "authenticated"),
        ("change", "/*", "POST,PUT,PATCH,DELETE", "writer"),
        ("ask", subjects, "POST", "authenticated"),
        ("see", subjects, "GET,HEAD", "authenticated"),
        ("add", f"{subjects}/versions", "POST", "writer"),
        ("list", f"{subjects}/versions", "GET,HEAD", "authenticated"),
    ):
        name = f"quarkus.http.auth.permission.{rule}"
        lines |= {f"{name}.paths": paths, f"{name}.methods": methods, f"{name}.policy": policy}
    for role, password in passwords.items():
        who = f"registry-{role}"
        lines[f'quarkus.security.users.embedded.users."{who}"'] = password
        lines[f'quarkus.security.users.embedded.roles."{who}"'] = role
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def grant_rights(layout: Layout) -> None:
    """Every component's rights in Kafka, given by the administrator."""
    admin = load_settings(layout.settings_of("admin"))
    for name, component in COMPONENTS.items():
        grant(admin, FIELD + GATEWAY if name == "gateway" else name, component)


def trust(layout: Layout) -> None:
    """For this process: https:// is believed when the centre's authority signed it."""
    os.environ["SSL_CERT_FILE"] = str(layout.pki / "ca.crt")
