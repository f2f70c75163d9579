"""Lag in records and in seconds."""

from fieldstream_central.store.lag import LagMeter


def test_nothing_known_is_no_lag() -> None:
    meter = LagMeter()
    assert (meter.records(), meter.seconds(100.0)) == (0, 0.0)


def test_seconds_count_from_when_the_oldest_unread_record_was_seen() -> None:
    meter = LagMeter()
    meter.ended_at(0, 10, now_s=100.0)
    meter.ended_at(0, 20, now_s=110.0)
    assert (meter.records(), meter.seconds(115.0)) == (20, 15.0)
    meter.read_to(0, 10)
    assert (meter.records(), meter.seconds(115.0)) == (10, 5.0)
    meter.read_to(0, 20)
    assert (meter.records(), meter.seconds(500.0)) == (0, 0.0)


def test_partitions_add_up_and_the_oldest_decides() -> None:
    meter = LagMeter()
    meter.ended_at(0, 10, now_s=50.0)
    meter.ended_at(1, 5, now_s=90.0)
    meter.read_to(1, 2)
    assert (meter.records(), meter.seconds(100.0)) == (13, 50.0)


def test_a_steady_flow_that_is_kept_up_with_never_ages() -> None:
    meter = LagMeter()
    for second in range(1000):
        meter.ended_at(0, 100 * (second + 1), now_s=float(second))
        meter.read_to(0, 100 * second)
    assert meter.seconds(1000.0) <= 2.0


def test_a_topic_made_anew_starts_anew() -> None:
    meter = LagMeter()
    meter.ended_at(0, 1000, now_s=1.0)
    meter.read_to(0, 1000)
    meter.ended_at(0, 5, now_s=2.0)
    meter.read_to(0, 0)
    assert meter.records() == 5
