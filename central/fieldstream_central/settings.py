"""Where the centre's programs find each other: one TOML file, one dataclass.

The file is named by the environment variable FIELDSTREAM_CONFIG; without it the addresses of the
local stack hold. Keys are the fields below; unknown keys are refused by name. `${NAME}` in the file is filled in from
the environment: that is how a password gets in.
"""

import os
import tomllib
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from string import Template
from typing import Any

from fieldstream_central.store.retention import Retention, RetentionError

ROLES = ("viewer", "operator", "admin")  # of the API's callers, each may what those before it may

_KINDS: dict[Any, str] = {str: "a text", int: "a whole number", dict: "a table"}


class SettingsError(Exception):
    """The settings file has a key or value that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Oidc:
    """An OpenID Connect provider that signs people in. `roles` maps values of the claim to viewer, operator, admin;
    `sites` to the sites that who has it sees, together; who has none of these values sees all."""

    issuer: str
    client_id: str
    roles: dict[str, str]
    sites: dict[str, list[str]] = field(default_factory=dict)
    claim: str = "groups"  # with dots where it lies deeper: realm_access.roles
    audiences: tuple[str, ...] = ()  # of access tokens that the API takes too, beside the client's own tokens
    client_secret_file: Path | None = None  # absent: a public client, PKCE alone


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Addresses of every part. Ports named `*_port` are where our own programs show metrics, at `listen`."""

    site: str = "local"  # the plant's name in receipts of forgetting
    listen: str = "127.0.0.1"  # address at which our own programs show metrics; 0.0.0.0: all
    mqtt: str = "mqtt://127.0.0.1:1883"  # where gateways listen; dead letters are replayed to it
    kafka: str = "127.0.0.1:9092"  # bootstrap servers, HOST:PORT, several with commas
    tls_ca_file: Path | None = None  # authorities that sign the certificates of all parts (PEM); see certificate.py
    tls_cert_file: Path | None = None  # our own; its common name is who we are, in Kafka and to whatever we ask
    tls_key_file: Path | None = None  # the key of tls_cert_file
    # folder with ca.crt, pipeline.pem and detect.pem, by which the jobs reach Kafka
    job_certificates: Path | None = None
    flink_store: Path | None = None  # who we are to Flink at https://: PATH.crt, .key, .p12 ..., see pki.java_store
    # schema registries, asked one after the other until one answers; user and password before the host
    registry: tuple[str, ...] = ("http://127.0.0.1:8085/apis/ccompat/v7",)
    schema_cache: Path = Path("var/schemas")  # folder of schemas; what is in it is not asked for again
    flink: str = "http://127.0.0.1:8082"  # with {job} in it: each job runs in a cluster of its own, which keeps it
    flink_checkpoints: str = "var/flink/checkpoints"  # folder of checkpoints, or s3://BUCKET/PREFIX
    parallelism: int = 1  # of each job; Flink needs as many free slots, and a rehearsed upgrade once more
    flink_function_jar: Path = Path("var/java/fieldstream-functions.jar")  # the jobs' functions in Java
    clickhouse: str = "http://127.0.0.1:8123"  # its address, user and password before the host
    clickhouse_cluster: str = ""  # ClickHouse's own name of the cluster, on which tables are made; empty: one server
    clickhouse_path: Path = Path("var/clickhouse")  # folder of the embedded ClickHouse
    retention_days: Retention = field(default_factory=Retention)  # days that each kind of row is kept
    prometheus: str = "http://127.0.0.1:9090"  # asked by API, console and doctor
    alertmanager: str = "http://127.0.0.1:9093"  # told by the alerter
    mailbox: str = "http://127.0.0.1:9112"  # the local stand-in for people's mail, which the console shows
    grafana: str = "http://127.0.0.1:3000"  # where people reach it: links in messages and of the console
    # asked by the console; for the alerter, where people reach it: links in messages
    api: str = "http://127.0.0.1:8000"
    console: str = "http://127.0.0.1:8080"  # where people reach it: links in messages, the way back from a sign-in
    loader_metrics_port: int = 9109  # where the loader shows metrics
    alerter_metrics_port: int = 9110  # where the alerter shows metrics, and Alertmanager tells it what is due
    jobs_metrics_port: int = 9111  # where the keeper of the jobs shows metrics
    assets_metrics_port: int = 9114  # where `assets follow` shows metrics
    tracer_metrics_port: int = 9115  # where the tracer shows metrics
    pseudonym_key_file: Path = Path("var/secrets/pseudonym.key")  # keys of pseudonyms (privacy.md)
    pseudonym_key_secret: str = ""  # NAMESPACE/NAME of the Secret that the file is mounted from, on Kubernetes
    letter_public_key_file: Path | None = None  # seals dead letters' original bytes; absent: kept in plain
    letter_key_file: Path | None = None  # opens what letter_public_key_file has sealed
    signing_key_file: Path = Path("var/secrets/signing.key")  # signs receipts of forgetting
    api_tokens_file: Path = Path("var/secrets/api-tokens.toml")  # who may use the API; no such file: everybody may
    oidc: Oidc | None = None  # an OpenID provider that signs people in
    detection_file: Path | None = None  # settings of detection (detection.md); absent: its defaults
    latching: tuple[str, ...] = ()  # severities of alarms that stay, once over and acknowledged, until they are reset
    notify_file: Path | None = None  # who is told how (alarms.md); absent: on-call@localhost, which is nobody
    notify_templates: Path | None = None  # templates in this folder replace ours of the same name
    notify_ledger: Path = Path("var/alerter/told.sqlite")  # what was told; lost, a message may come twice
    link_key_file: Path = Path("var/secrets/link.key")  # signs links that acknowledge; no such file: messages have none

    @property
    def own_clusters(self) -> bool:
        """Whether each job runs in a cluster of its own, which knows its checkpoints."""
        return "{job}" in self.flink


def load_settings(path: Path | None = None) -> Settings:
    """Settings from `path`, else from the file FIELDSTREAM_CONFIG names, else the local stack's.

    Raises SettingsError naming the file and the key at fault.
    """
    if path is None:
        named = os.environ.get("FIELDSTREAM_CONFIG")
        if not named:
            return Settings()
        path = Path(named)
    try:
        table = tomllib.loads(Template(path.read_text()).substitute(os.environ))
    except KeyError as error:
        raise SettingsError(f"{path}: the environment has no variable {error}") from error
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    known = {one.name: one.type for one in fields(Settings)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            guess = get_close_matches(key, known, n=1)
            raise SettingsError(f"{path}: unknown setting {key!r}" + (f"; did you mean {guess[0]!r}?" if guess else ""))
        kind = str if known[key] in (Path, Path | None) else known[key]
        kind = dict if key in ("retention_days", "oidc") else kind
        if kind in _KINDS and type(value) is not kind:
            raise SettingsError(f"{path}: {key} must be {_KINDS[kind]}")
        if known[key] in (Path, Path | None):
            value = Path(value)
        elif key == "retention_days":
            value = _retention(path, value)
        elif key == "oidc":
            value = _oidc(path, value)
        elif isinstance(value, list):
            value = tuple(value)
        values[key] = value
    return Settings(**values)


def _retention(path: Path, table: dict[str, int]) -> Retention:
    unknown = sorted(set(table) - {one.name for one in fields(Retention)})
    if unknown:
        raise SettingsError(f"{path}: unknown setting 'retention_days.{unknown[0]}'")
    try:
        return Retention(**table)
    except RetentionError as error:
        raise SettingsError(f"{path}: {error}") from error


def _oidc(path: Path, table: dict[str, Any]) -> Oidc:
    if "client_secret_file" in table:
        table["client_secret_file"] = Path(table["client_secret_file"])
    try:
        found = Oidc(**table | {"audiences": tuple(table.get("audiences", ()))})
    except TypeError as error:
        raise SettingsError(f"{path}: [oidc] {str(error).removeprefix('Oidc.__init__() ')}") from error
    roles = list(found.roles.values()) if isinstance(found.roles, dict) else [found.roles]
    if wrong := [role for role in roles if role not in ROLES]:
        raise SettingsError(f"{path}: [oidc] roles: {wrong[0]!r} is none of {', '.join(ROLES)}")
    if not (isinstance(found.sites, dict) and all(isinstance(one, list) and one for one in found.sites.values())):
        raise SettingsError(f"{path}: [oidc] sites: each value of the claim needs a list of sites")
    return found
