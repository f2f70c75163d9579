"""Alertmanager's configuration from the same file that says who is told how. It decides when, the alerter how."""

from typing import Any

from fieldstream_central.notify.config import NotifyConfig
from fieldstream_central.notify.notices import GATEWAY_OFFLINE, INCIDENT
from fieldstream_central.notify.receiver import HEARTBEAT

WATCHDOG = "FieldstreamWatchdog"
HEARTBEAT_EVERY = "30s"


def alertmanager_config(config: NotifyConfig, alerter: str, certificates: str = "") -> dict[str, Any]:
    """Alertmanager's configuration file. `alerter`: where the alerter listens, as Alertmanager sees it, and so does
    `certificates` name a folder with tls.crt, tls.key and ca.crt, by which it reaches an alerter at https://.

    A group is an incident: its alerts differ in severity alone. What nobody acknowledged is repeated; the rest is
    silent, because the alerter keeps a silence for it.
    """

    def hook(name: str) -> dict[str, Any]:
        made: dict[str, Any] = {"url": f"{alerter}/notify/{name}", "send_resolved": True}
        if certificates:
            files = {"ca_file": "ca.crt", "cert_file": "tls.crt", "key_file": "tls.key"}
            made["http_config"] = {"tls_config": {key: f"{certificates}/{file}" for key, file in files.items()}}
        return {"name": name, "webhook_configs": [made]}

    later = list(dict.fromkeys(step.receiver for step in config.escalation))
    return {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": config.first,
            "group_by": ["alertname", "gateway"],
            "group_wait": "1s",
            "group_interval": "10s",
            "repeat_interval": f"{round(config.repeat_minutes * 60)}s",
            "routes": [
                {
                    "matchers": [f'alertname = "{WATCHDOG}"'],
                    "receiver": HEARTBEAT,
                    "group_wait": "0s",
                    "repeat_interval": HEARTBEAT_EVERY,
                },
                *({"matchers": [f'receiver = "{name}"'], "receiver": name, "group_by": ["incident"]} for name in later),
                {"matchers": ['incident =~ ".+"'], "receiver": config.first, "group_by": ["incident"]},
            ],
        },
        "inhibit_rules": [
            {
                "source_matchers": [f'alertname = "{INCIDENT}"', 'severity = "critical"'],
                "target_matchers": [f'alertname = "{INCIDENT}"', 'severity != "critical"'],
                "equal": ["incident", "receiver"],
            },
            {
                "source_matchers": [f'alertname = "{GATEWAY_OFFLINE}"'],
                "target_matchers": ['alertname =~ "FieldstreamBehind|data-old"', 'hop =~ "|gateway"'],
                "equal": [],
            },
            {
                "source_matchers": ['alertname = "FieldstreamJobDown"'],
                "target_matchers": ['alertname = "FieldstreamBehind"', 'hop =~ "pipeline|detect"'],
                "equal": [],
            },
        ],
        "receivers": [hook(name) for name in dict.fromkeys((config.first, HEARTBEAT, *later))],
    }
