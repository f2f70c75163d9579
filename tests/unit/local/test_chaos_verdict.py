"""What the drills count as a lost and as a doubled notification."""

from typing import Any

from chaos.verdict import check_notifications
from local.oracle import Fault, Truth

TRUTH = Truth(faults=[Fault(f"d{n}", "m0", f"d{n}", "range", 0, 1) for n in (1, 2)])


def sent(asset: str, *alerts: tuple[str, str], at_ms: int = 100) -> dict[str, Any]:
    return {
        "received_at_ms": at_ms,
        "labels": {"asset": asset},
        "alerts": [{"labels": {"incident": anomaly}, "status": status} for anomaly, status in alerts],
    }


def test_each_told_once_is_neither_lost_nor_doubled() -> None:
    received = [sent("d1", ("a", "firing")), sent("d2", ("b", "firing")), sent("d1", ("a", "resolved"))]
    assert check_notifications(TRUTH, received, 0) == {"notifications_lost": 0, "notifications_doubled": 0}


def test_a_fault_that_nobody_was_told_is_lost() -> None:
    early, resolved_only = sent("d1", ("a", "firing"), at_ms=1), sent("d2", ("b", "resolved"))
    assert check_notifications(TRUTH, [early, resolved_only], 50)["notifications_lost"] == 2


def test_a_message_that_says_nothing_new_is_doubled_and_one_that_adds_an_incident_is_not() -> None:
    once, both = ("a", "firing"), (("a", "firing"), ("c", "firing"))
    received = [sent("d1", once), sent("d1", once), sent("d1", *both), sent("d2", ("b", "firing"))]
    assert check_notifications(TRUTH, received, 0) == {"notifications_lost": 0, "notifications_doubled": 1}
