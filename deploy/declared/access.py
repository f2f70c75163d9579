"""Who may do what on Kubernetes, from the same tables as the local secure stack: Kafka, ClickHouse, registry, Flink."""

from pathlib import Path

from fieldstream_central.store.embedded.access import DEFAULT_LIMITS
from fieldstream_central.stream.cluster import cluster_options
from fieldstream_schemas.rights import COMPONENTS, Component, rights
from local.layout import DEFAULT_PORTS
from local.secure import NAMED, READERS, REGISTRY_ROLES, WRITERS, registry_properties

# Where a pod has its own files: settings, certificate, keys. templates/_helpers.tpl mounts them.
MOUNT = Path("/etc/fieldstream")
TLS = MOUNT / "tls"
# The chart puts its value flink.store in its place: no secret, for the store's Secret holds the key in plain beside it.
STORE = "<store>"
# What the verbs of the embedded ClickHouse's users are as grants.
_GRANTS = {"SELECT": "SELECT", "INSERT": "INSERT", "ALTER": "ALTER UPDATE, ALTER DELETE", "OPTIMIZE": "OPTIMIZE"}
# Users of people who ask what they like: none of their questions may go beyond these limits.
EXPLORERS = ("grafana", "superset")
LIMITS = {name: int(DEFAULT_LIMITS[name]) for name in ("max_execution_time", "max_memory_usage")}
# Tables of the system that a user asks, beside those that show anybody what he may see.
_SYSTEM = {"grafana": ["parts"], "loader": ["parts", "disks"]}


def access() -> dict[str, object]:
    """As the chart reads it."""
    return {
        "rights": {name: strimzi_acls(one) for name, one in COMPONENTS.items()},
        # The principal is the bare common name, that of Strimzi's own users CN=...: none of them is a program.
        "kafkaListener": {
            "ssl.client.auth": "required",
            "ssl.principal.mapping.rules": NAMED,
            "ssl.truststore.type": "PEM",
        },
        "clickhouseGrants": {name: grants(name) for name in (*READERS, *WRITERS)},
        "explorers": list(EXPLORERS),
        "clickhouseLimits": LIMITS,
        "flinkTls": cluster_options(MOUNT / "flink" / "flink", STORE),
    }


def strimzi_acls(component: Component) -> list[dict[str, object]]:
    """A component's rights as a KafkaUser of Strimzi has them."""
    return [
        {
            "resource": {
                "type": right.resource,
                "name": right.name,
                "patternType": "prefix" if right.prefixed else "literal",
            },
            "operations": list(right.operations),
        }
        for right in rights(component)
    ]


def grants(user: str) -> list[str]:
    """A user's grants in a real ClickHouse: with them he has no others. The cluster's tables are T and T_local."""
    if user in READERS:
        made = ["GRANT SELECT ON fieldstream.*"]
        made += [f"GRANT INSERT ON {table}{suffix}" for table in READERS[user] for suffix in ("", "_local")]
    elif verbs := WRITERS[user]:
        held = [_GRANTS[verb] for verb in verbs if verb in _GRANTS]
        made = [f"GRANT {', '.join(held)} ON fieldstream.*", "GRANT CLUSTER ON *.*"]
    else:
        made = ["GRANT ALL ON fieldstream.*", "GRANT CLUSTER ON *.*", "GRANT TABLE ENGINE ON *"]
        made += ["GRANT SELECT ON system.*"]
    return made + [f"GRANT SELECT ON system.{table}" for table in _SYSTEM.get(user, [])]


def registry() -> str:
    """The registry's properties. Passwords come from its environment."""
    passwords = {role: f"${{REGISTRY_{role.upper()}}}" for role in REGISTRY_ROLES}
    files = TLS / "tls.crt", TLS / "tls.key", TLS / "tls-combined.pem", TLS / "ca.crt"
    return registry_properties(DEFAULT_PORTS["registry"], files, passwords)
