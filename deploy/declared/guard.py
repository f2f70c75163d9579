"""What the chart must keep to: every link encrypted, nobody with more rights or secrets than declared."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fieldstream_schemas.rights import COMPONENTS
from local.secure import READERS, WRITERS

from declared.access import EXPLORERS, LIMITS, grants, strimzi_acls

Manifest = dict[str, Any]
# Who has which secret. A certificate NAME-tls that is not here is for the component NAME alone.
HOLDERS = {
    **{f"clickhouse-{user}": {user, "clickhouse"} for user in (*READERS, *WRITERS)},
    "clickhouse-setup": {"setup", "tools", "clickhouse"},
    "clickhouse-interserver": {"clickhouse"},
    "registry-reader": {"loader", "alerter", "tracer", "api", "assets", "pipeline", "detect", "registry"},
    "registry-writer": {"setup", "tools", "registry"},
    "pseudonym.key": {"pipeline", "loader", "api", "console", "tools"},
    "dead-letters.key": {"api", "console", "tools"},
    "dead-letters.pub": {"pipeline", "loader", "assets"},
    "signing.key": {"tools"},
    "api-tokens.toml": {"api", "console"},
    "link.key": {"alerter", "api"},
    "notify.toml": {"alerter"},
    "smtp-password": {"alerter"},
    "assets-password": {"connect"},
    "ca.crt": {"connect"},  # Postgres' authority: its Secret is no certificate of ours
    "access-key": {"pipeline", "detect"},
    "secret-key": {"pipeline", "detect"},
    "setup-tls": {"setup", "tools"},
    "flink-tls": {"pipeline", "detect", "jobs"},
    "prometheus-tls": {"monitoring"},
}
PUBLIC = {"ca.crt", "tls.crt"}
# The cluster's own, which are not ours to encrypt.
OUTSIDE = ("prometheus", "alertmanager")


def faults(manifests: list[Manifest]) -> list[str]:
    """A line for each place where it does not."""
    return [
        *_kafka(manifests),
        *_users(manifests),
        *_clickhouse(manifests),
        *_secrets(manifests),
        *_addresses(manifests),
        *_assets(manifests),
        *_network(manifests),
    ]


def _kafka(manifests: list[Manifest]) -> Iterator[str]:
    for kafka in _of(manifests, "Kafka"):
        spec = kafka["spec"]["kafka"]
        for listener in spec["listeners"]:
            how = listener.get("authentication", {})
            asks = how.get("type") == "tls" or how.get("listenerConfig", {}).get("ssl.client.auth") == "required"
            if not (listener["tls"] and asks):
                yield f"Kafka: listener {listener['name']} takes who shows no certificate"
        if spec.get("authorization", {}).get("type") != "simple":
            yield "Kafka: everybody may everything"
        if "superUsers" in spec.get("authorization", {}):
            yield f"Kafka: super users {spec['authorization']['superUsers']}"


def _users(manifests: list[Manifest]) -> Iterator[str]:
    wanted = {name: (False, strimzi_acls(one)) for name, one in COMPONENTS.items() if name != "gateway"}
    of_gateway = True, strimzi_acls(COMPONENTS["gateway"])
    found = {
        user["metadata"]["name"]: (
            user["spec"].get("authentication") == {"type": "tls"},
            user["spec"]["authorization"]["acls"],
        )
        for user in _of(manifests, "KafkaUser")
    }
    for name in wanted.keys() | found.keys():
        if found.get(name) != wanted.get(name, of_gateway):
            yield f"KafkaUser {name}: not the rights of fieldstream_schemas.rights"
    for certificate in _of(manifests, "Certificate"):
        spec = certificate["spec"]
        if not spec.get("isCA") and spec["secretName"] != f"fieldstream-{spec['commonName']}-tls":
            yield f"Certificate {certificate['metadata']['name']}: its name is not whose it is"


def _clickhouse(manifests: list[Manifest]) -> Iterator[str]:
    for installation in _of(manifests, "ClickHouseInstallation"):
        configuration = installation["spec"]["configuration"]
        users: dict[str, Manifest] = defaultdict(dict)
        for key, value in configuration["users"].items():
            user, _, setting = key.partition("/")
            users[user][setting] = value
        for name, user in users.items():
            known = name in READERS or name in WRITERS
            if not known or user.get("grants/query") != grants(name) or "valueFrom" not in user.get("password", ""):
                yield f"ClickHouse: user {name} has other grants than declared, or no password"
            most = {
                limit: configuration["profiles"].get(f"{user['profile']}/constraints/{limit}/max") for limit in LIMITS
            }
            if name in EXPLORERS and most != LIMITS:
                yield f"ClickHouse: user {name} may take all memory and time"
        for cluster in configuration["clusters"]:
            if (cluster.get("secure"), cluster.get("insecure")) != ("yes", "no"):
                yield "ClickHouse: the cluster's links are not encrypted"
        if not all(node.get("secure") == "yes" for node in configuration["zookeeper"]["nodes"]):
            yield "ClickHouse: Keeper is reached in plain"
        closed = set(re.findall(r'<(\w+) remove="1"/>', configuration["files"].get("z-tls-only.xml", "")))
        for port in {"http_port", "tcp_port", "interserver_http_port", "mysql_port", "postgresql_port"} - closed:
            yield f"ClickHouse: {port} is open"


def _secrets(manifests: list[Manifest]) -> Iterator[str]:
    held: dict[str, set[str]] = defaultdict(set)
    for manifest in manifests:
        for component, node in components(manifest):
            for name, key in references(node):
                own = re.fullmatch(r"fieldstream-(\w+-tls)", name)
                secret = own[1] if own else key or f"all of {name}"
                if not (own and key in PUBLIC):
                    held[secret].add(component)
    for secret in held.keys() | HOLDERS.keys():
        holders = HOLDERS.get(secret) or {secret.removesuffix("-tls")}
        # A user of ClickHouse that is no program of the chart (Grafana) has its password elsewhere.
        if too_many := held[secret] - holders:
            yield f"{', '.join(sorted(too_many))}: may not have {secret}"
        if missing := holders - held[secret] - {"grafana", "superset"}:
            yield f"{', '.join(sorted(missing))}: has no {secret}"


def components(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    """Parts of a manifest, and whose they are."""
    own = {"Kafka": "kafka", "ScaledObject": "scaler", "TriggerAuthentication": "scaler", "KafkaConnect": "connect"}
    own |= {"ClickHouseInstallation": "clickhouse", "ClickHouseKeeperInstallation": "keeper"}
    if manifest["kind"] in ("Certificate", "Issuer", "Role"):
        return
    labels = manifest["metadata"].get("labels", {})
    yield own.get(manifest["kind"]) or labels.get("app.kubernetes.io/component", manifest["kind"]), manifest


def references(node: Any) -> Iterator[tuple[str, str]]:
    """Every Secret that is named below a node, with the key, empty for all of it."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        name = node.get("secretName") or (node.get("name") if {"name", "key"} <= node.keys() else "")
        if name:
            keys = [item["key"] for item in node.get("items", [])]
            keys += [node[key] for key in ("key", "certificate") if key in node]
            yield from ((name, key) for key in keys or [""])
        if isinstance(secret := node.get("secret"), dict) and "items" in secret and "name" in secret:
            yield from ((secret["name"], item["key"]) for item in secret["items"])
        for value in node.values():
            yield from references(value)


def _addresses(manifests: list[Manifest]) -> Iterator[str]:
    for settings in _of(manifests, "ConfigMap"):
        for file, text in settings["data"].items():
            for name, address in re.findall(r'(\w*) ?=? ?"(http://[^"]*)"', text):
                if name not in OUTSIDE:
                    yield f"{file}: {name} is asked in plain: {address}"


def _assets(manifests: list[Manifest]) -> Iterator[str]:
    for connector in _of(manifests, "KafkaConnector"):
        config = connector["spec"]["config"]
        if config.get("database.sslmode") != "verify-full" or not config.get("database.sslrootcert"):
            yield "KafkaConnector: Postgres may be anybody who answers"


def _network(manifests: list[Manifest]) -> Iterator[str]:
    for policy in _of(manifests, "NetworkPolicy"):
        name = policy["metadata"]["name"]
        for rule in policy["spec"].get("ingress") or []:
            if not rule.get("from"):
                yield f"NetworkPolicy {name}: lets everybody in"
            elsewhere = [peer for peer in rule.get("from", []) if peer.keys() - {"podSelector"}]
            if any(_is_operator(peer) for peer in elsewhere):
                continue
            if elsewhere and (len(rule.get("ports", [])) != 1 or any(_is_everybody(peer) for peer in elsewhere)):
                yield f"NetworkPolicy {name}: from other namespaces comes who is not named, or to other ports"


def _is_operator(peer: Manifest) -> bool:
    labels = peer.get("podSelector", {}).get("matchLabels", {})
    return labels.get("app.kubernetes.io/name") in ("altinity-clickhouse-operator", "flink-kubernetes-operator")


def _is_everybody(peer: Manifest) -> bool:
    return not any(peer.get(selector) for selector in ("namespaceSelector", "podSelector", "ipBlock"))


def _of(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]
