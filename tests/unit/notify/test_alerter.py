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


def test_an_incident_keeps_its_labels_but_for_its_severity() -> None:
    risen = EPISODE | {"kind": "limit-high-high", "severity": "critical", "state": "update", "detected_at": 9}
    assert labels(risen) == labels(EPISODE) | {"severity": "critical"}
    parent = EPISODE | {"anomaly_id": "a1~1700000010000", "detector": "incident", "kind": "process-incident"}
    assert labels(parent) == labels(EPISODE)


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
    notices = Notices()
    [over] = steps("close")
    assert notices.openings([over]) == [over]
    notices.told([over], 100.0)
    notices.over([over])
    assert notices.closings(100.0 + TELLING_S / 2) == []
    assert notices.closings(100.0 + TELLING_S) == [over]
    assert notices.closings(1000.0) == []


def test_an_incident_that_was_told_long_ago_is_resolved_at_once() -> None:
    notices = Notices()
    opened, closed = steps("open", "close")
    notices.told([opened], 0.0)
    assert notices.openings([closed]) == []
    notices.over([closed])
    assert notices.closings(300.0) == [closed]


def test_what_got_worse_is_told_again_and_what_got_better_is_not() -> None:
    notices = Notices()
    notices.told([EPISODE], 0.0)
    worse = EPISODE | {"severity": "critical"}
    assert notices.openings([worse]) == [worse]
    notices.told([worse], 1.0)
    assert notices.openings([EPISODE]) == []
    notices.over([EPISODE | {"state": "close"}])
    assert notices.closings(99.0)[0]["severity"] == "critical"  # as Alertmanager knows it


def test_after_a_restart_of_alertmanager_all_is_told_again_and_recent_ends_are_looked_at() -> None:
    notices = Notices()
    other = EPISODE | {"anomaly_id": "a2"}
    notices.told([EPISODE, other], 0.0)
    notices.over([other])
    assert notices.closings(20.0) == [other]
    assert notices.forgotten() == [other]
    assert notices.openings([EPISODE]) == [EPISODE]
