"""The configuration files of deploy/compose: those of the local stack, with services where it has loopback."""

import re
from pathlib import Path

from local import configs
from local.layout import DEFAULT_PORTS, ROOT, Layout

FOLDER = "deploy/compose/config"
STATE = Path("/var/lib/fieldstream")
KEYS = "/run/privacy"  # a folder: its key file is replaced by a rename
# Port -> service that listens there. Redpanda is its own schema registry.
SERVICES = {
    "mqtt": "mosquitto",
    "kafka": "redpanda",
    "registry": "redpanda",
    "flink": "jobmanager",
    "clickhouse": "clickhouse",
    "api": "api",
    "console": "console",
    "prometheus": "prometheus",
    "alertmanager": "alertmanager",
    "gateway": "gateway",
    "loader": "loader",
    "alerter": "alerter",
    "jobs": "jobs",
    "assets": "assets",
    "mailbox": "mailbox",
    "smtp": "mailbox",
    "grafana": "grafana",
}


def files() -> dict[str, str]:
    """Path below the root -> what stands there."""
    layout = Layout(STATE)
    settings = configs.settings(layout) + 'api_tokens_file = "/run/secrets/api-tokens.toml"\nlisten = "0.0.0.0"\n'
    settings = settings.replace(f"{ROOT}/var/java", "/opt/fieldstream").replace(
        f"{STATE}/secrets/link", "/run/secrets/link"
    )
    settings = settings.replace(f"{STATE}/secrets", KEYS)
    settings = settings.replace(f"{STATE}/config/notify.toml", "/etc/fieldstream/notify.toml")
    settings = settings.replace("//127.0.0.1:8123", "//fieldstream:${CLICKHOUSE_PASSWORD}@127.0.0.1:8123")
    # A mailbox for trials stands for people; a dead man's switch belongs on another machine.
    notify = _with_services(configs.notify(layout)).replace('"127.0.0.1"', '"mailbox"')
    notify = re.sub(r"heartbeat_url.*\n", "", notify)
    flink = configs.flink(layout).replace("jobmanager.rpc.address: 127.0.0.1", "jobmanager.rpc.address: jobmanager")
    flink = re.sub(r"(bind-host|bind-address): 127\.0\.0\.1", r"\1: 0.0.0.0", flink)
    flink = re.sub(r"taskmanager\.host: .*\n", "", flink).replace("rest.address: 127.0.0.1", "rest.address: jobmanager")
    flink = re.sub(r"python\.executable: .*", "python.executable: /opt/fieldstream/bin/python", flink)
    mosquitto = configs.mosquitto(layout).replace(f"{STATE}/mosquitto", "/mosquitto/data")
    return {
        f"{FOLDER}/fieldstream.toml": _with_services(settings),
        f"{FOLDER}/notify.toml": notify,
        f"{FOLDER}/gateway.toml": _with_services(configs.gateway(layout)).replace(f"{STATE}/secrets", KEYS)
        + 'host = "0.0.0.0"\n',
        f"{FOLDER}/prometheus.yml": _with_services(configs.prometheus(layout)).replace(
            f"{ROOT}/deploy/prometheus", "/etc/prometheus"
        ),
        f"{FOLDER}/alertmanager.yml": _with_services(configs.alertmanager(layout)),
        f"{FOLDER}/flink/config.yaml": flink.replace(f"{STATE}/flink/tmp", "/tmp"),  # noqa: S108 - its own tmpfs
        f"{FOLDER}/mosquitto.conf": re.sub(r" 127\.0\.0\.1|user root\n", "", mosquitto).rstrip() + "\n",
    }


def _with_services(text: str) -> str:
    for name, service in SERVICES.items():
        text = text.replace(f"127.0.0.1:{DEFAULT_PORTS[name]}", f"{service}:{DEFAULT_PORTS[name]}")
    return text.replace("/apis/ccompat/v7", "")
