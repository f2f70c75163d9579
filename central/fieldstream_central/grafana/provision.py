"""Provisioning: files that Grafana reads at its start, and the same dashboards over its HTTP API."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from fieldstream_central.grafana.alerts import ALERTS, EVERY_S, FOLDER, GROUP, contact_points, policies, rule
from fieldstream_central.grafana.queries import dashboards
from fieldstream_central.grafana.source import CLICKHOUSE, CLICKHOUSE_TYPE, PROMETHEUS


class PushError(Exception):
    """Grafana did not take a dashboard; the message says which, why and what to do."""


@dataclass(frozen=True)
class Addresses:
    """Where Grafana finds the data. The ClickHouse password stays a variable of Grafana's environment."""

    clickhouse_host: str
    clickhouse_port: int
    prometheus: str
    alertmanager: str
    clickhouse_user: str = "grafana"
    secure: bool = False


def data_sources(at: Addresses) -> dict[str, Any]:
    """Provisioning of ClickHouse (official plugin, over HTTP) and Prometheus."""
    clickhouse = {
        "name": "Fieldstream ClickHouse",
        "type": CLICKHOUSE_TYPE,
        "uid": CLICKHOUSE.uid,
        "isDefault": True,
        "jsonData": {
            "host": at.clickhouse_host,
            "port": at.clickhouse_port,
            "protocol": "http",
            "secure": at.secure,
            "username": at.clickhouse_user,
            "defaultDatabase": "fieldstream",
            "dialTimeout": "5",
            "queryTimeout": "30",
        },
        "secureJsonData": {"password": "$FIELDSTREAM_GRAFANA_CLICKHOUSE_PASSWORD"},
    }
    prometheus = {
        "name": "Fieldstream Prometheus",
        "type": "prometheus",
        "uid": PROMETHEUS.uid,
        "url": at.prometheus,
        "access": "proxy",
        "jsonData": {"timeInterval": "2s"},
    }
    return {"apiVersion": 1, "datasources": [clickhouse, prometheus]}


def alert_rules() -> dict[str, Any]:
    """Provisioning of the alert rules: the SDK's rules in the form of Grafana's files."""
    rules = []
    for alert in ALERTS:
        built = json.loads(JSONEncoder().encode(rule(alert).build()))
        kept = ("uid", "title", "condition", "data", "noDataState", "execErrState", "for", "annotations", "labels")
        rules.append({key: built[key] for key in kept})
    group = {"orgId": 1, "name": GROUP, "folder": FOLDER, "interval": f"{EVERY_S}s", "rules": rules}
    return {"apiVersion": 1, "groups": [group]}


def write(folder: Path, at: Addresses) -> list[Path]:
    """Writes everything below `folder`, which is Grafana's `paths.provisioning`. Returns the files."""
    boards = folder / "dashboards" / "fieldstream"
    provider = {
        "name": "fieldstream",
        "folder": FOLDER,
        "type": "file",
        "allowUiUpdates": False,
        "options": {"path": str(boards.absolute())},
    }
    files = {
        folder / "datasources" / "fieldstream.yaml": data_sources(at),
        folder / "dashboards" / "fieldstream.yaml": {"apiVersion": 1, "providers": [provider]},
        folder / "alerting" / "rules.yaml": alert_rules(),
        folder / "alerting" / "contact-points.yaml": contact_points(at.alertmanager),
        folder / "alerting" / "policies.yaml": policies(),
    }
    texts = {path: yaml.safe_dump(content, sort_keys=False) for path, content in files.items()}
    texts |= {boards / f"{uid}.json": json.dumps(board, indent=1) + "\n" for uid, board in dashboards().items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return sorted(texts)


def push(url: str, token: str) -> list[str]:
    """Creates or replaces the dashboards in a running Grafana. Returns their titles. Raises PushError."""
    pushed = []
    try:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as grafana:
            grafana.post("/api/folders", json={"uid": "fieldstream", "title": FOLDER})  # there already: 409
            for board in dashboards().values():
                body = {"dashboard": board, "folderUid": "fieldstream", "overwrite": True}
                answer = grafana.post("/api/dashboards/db", json=body)
                if answer.is_error:
                    raise PushError(
                        f"Grafana refused the dashboard {board['title']!r} with status {answer.status_code}: "
                        f"{answer.text[:300]}. The token needs the role Editor."
                    )
                pushed.append(board["title"])
    except httpx.HTTPError as error:
        raise PushError(f"Grafana at {url} cannot be reached: {error}. Is the address right?") from error
    return pushed
