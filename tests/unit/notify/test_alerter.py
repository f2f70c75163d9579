"""Episodes to alerts: a stable identity from opening to close, and a resolution that Alertmanager understands."""

from typing import Any

from fieldstream_central.notify.alerter import alert, labels

EPISODE: dict[str, Any] = {
    "anomaly_id": "a1",
    "device_id": "drive",
    "metric": "temperature",
    "site": "works",
    "area": "",
    "asset_id": "pump-1",
    "detector": "limit",
    "kind": "limit-high",
    "severity": "warning",
    "reason": "above H",
    "state": "open",
    "started_at": 1_700_000_000_000,
    "detected_at": 1_700_000_010_000,
}


def test_an_episode_that_rises_keeps_its_labels() -> None:
    risen = EPISODE | {"kind": "limit-high-high", "severity": "critical", "state": "update", "detected_at": 9}
    assert labels(risen) == labels(EPISODE)


def test_an_open_alert_has_no_end_and_a_closed_one_has() -> None:
    assert "endsAt" not in alert(EPISODE, "http://console")
    assert alert(EPISODE, "http://console", ends_at_ms=1_700_000_060_000)["endsAt"] == "2023-11-14T22:14:20+00:00"


def test_a_sensor_without_asset_is_grouped_by_its_device() -> None:
    entry = alert(EPISODE | {"asset_id": ""}, "http://console")
    assert entry["labels"]["asset"] == "drive"
    assert "area" not in entry["labels"]  # Alertmanager refuses empty labels
