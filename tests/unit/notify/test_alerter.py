"""Episodes to alerts: a stable identity from opening to close, and a resolution that Alertmanager understands."""

from typing import Any

from fieldstream_central.notify.notices import TELLING_S, Notices, alert, labels

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


def steps(*states: str) -> list[dict[str, Any]]:
    return [EPISODE | {"state": state, "revision": number} for number, state in enumerate(states, 1)]


def test_an_incident_that_is_over_when_it_arrives_is_told_before_it_is_resolved() -> None:
    notices = Notices("http://console")
    arrived = steps("open", "close")
    fired = notices.openings(arrived)
    assert fired
    assert all("endsAt" not in entry for entry in fired)
    notices.told(arrived, 100.0)
    assert notices.closings(100.0 + TELLING_S / 2, 1) == []
    [resolved] = notices.closings(100.0 + TELLING_S, 1_700_000_000_000)
    assert resolved["endsAt"].startswith("2023-11-14")
    assert resolved["labels"] == fired[0]["labels"]
    assert notices.closings(1000.0, 1) == []


def test_an_incident_that_was_told_long_ago_is_resolved_at_once() -> None:
    notices = Notices("http://console")
    opened, closed = steps("open", "close")
    notices.told([opened], 0.0)
    assert notices.openings([closed]) == []
    notices.told([closed], 300.0)
    assert len(notices.closings(300.0, 1)) == 1


def test_after_a_restart_a_close_whose_opening_was_told_before_is_still_resolved() -> None:
    notices = Notices("http://console")
    [closed] = steps("close")
    notices.told([closed], 50.0)
    assert len(notices.closings(50.0 + TELLING_S, 1)) == 1
