"""The audit against gaps made on purpose."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fieldstream_central.grafana.gateways import AUDIT
from fieldstream_central.store.audit import audit, audit_period
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.migrate import migrate
from integration.store.rig import Store


@pytest.fixture
def clickhouse(store: Store) -> Iterator[ClickHouse]:
    migrate(store.url)
    with store.client() as client:
        for table in ("readings_data", "gateways_data", "arrived_data", "dead_letters_data"):
            client.execute(f"TRUNCATE TABLE fieldstream.{table}")
        yield client


def put(clickhouse: ClickHouse, numbers: str, where: str = "1", *, gateway: str = "g", epoch: int = 7) -> None:
    """Readings whose seq is `number` of `numbers`."""
    clickhouse.execute(
        "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, gateway_id, epoch, seq, received_at) "
        f"SELECT 'd', 'm', now64(3) - toIntervalMillisecond(number), 1, '{gateway}', {epoch}, number, now64(3) "
        f"FROM {numbers} WHERE {where} "
        # In small blocks: the engine that all of these tests share has a gigabyte.
        "SETTINGS min_insert_block_size_rows = 200000, min_insert_block_size_bytes = 0"
    )


def put_dead(clickhouse: ClickHouse, seqs: list[int]) -> None:
    rows = ", ".join(f"('not-json', 'gateway', 'sensors/d/m', '?', 'g', 7, {seq}, now64(3))" for seq in seqs)
    clickhouse.execute(
        "INSERT INTO fieldstream.dead_letters_data (reason, origin, source, payload, gateway_id, epoch, seq, "
        f"received_at) VALUES {rows}"
    )


def beat(clickhouse: ClickHouse, last: int, sent: int, *, age_s: int = 60, epoch: int = 7) -> None:
    clickhouse.execute(
        "INSERT INTO fieldstream.gateways_data (gateway_id, epoch, ts, state, last_seq, last_sent_seq) "
        f"VALUES ('g', {epoch}, now64(3) - INTERVAL {age_s} SECOND, 'running', {last}, {sent})"
    )


def test_all_there_is_complete(clickhouse: ClickHouse) -> None:
    put(clickhouse, "numbers(1, 990)")
    put_dead(clickhouse, list(range(991, 1001)))
    beat(clickhouse, 1000, 1000)
    (found,) = audit(clickhouse)
    assert found.sentence() == "accepted 1,000, stored 990, dead letters 10, missing 0, duplicates 0"
    assert found.complete


def test_gaps_are_found_with_their_ranges_also_at_the_ends(clickhouse: ClickHouse) -> None:
    put(clickhouse, "numbers(1, 100)", "number NOT IN (1, 2, 50, 99, 100)")
    put_dead(clickhouse, [50])
    beat(clickhouse, 100, 100)
    (found,) = audit(clickhouse)
    assert found.missing_ranges == [(1, 2), (99, 100)]
    assert (found.accepted, found.stored, found.dead_lettered, found.missing) == (100, 95, 1, 4)
    assert not found.complete


def test_random_gaps_over_several_buckets_are_found_exactly(clickhouse: ClickHouse) -> None:
    rng = random.Random(5)
    last = 3_300_000
    missing = {rng.randrange(1, last + 1) for _ in range(20)} | {1_048_575, 1_048_576, 2_097_152, last}
    put(clickhouse, f"numbers(1, {last})", f"number NOT IN ({','.join(map(str, missing))})")
    beat(clickhouse, last, last)
    (found,) = audit(clickhouse)
    listed = {seq for first, until in found.missing_ranges for seq in range(first, until + 1)}
    assert listed == missing
    assert found.missing == len(missing)


def test_a_bucket_that_is_gone_altogether_is_one_range(clickhouse: ClickHouse) -> None:
    put(clickhouse, "numbers(1, 3000000)", "number < 1000000 OR number > 2200000")
    beat(clickhouse, 3_000_000, 3_000_000)
    (found,) = audit(clickhouse)
    assert found.missing_ranges == [(1_000_000, 2_200_000)]


def test_what_the_gateway_has_not_sent_is_underway_not_missing(clickhouse: ClickHouse) -> None:
    put(clickhouse, "numbers(1, 60)")
    beat(clickhouse, 100, 60)
    beat(clickhouse, 120, 110, age_s=1)  # too fresh to judge by
    (found,) = audit(clickhouse)
    assert (found.accepted, found.missing, found.underway) == (120, 0, 60)


def test_delivering_again_changes_nothing_and_a_new_epoch_counts_anew(clickhouse: ClickHouse) -> None:
    for _ in range(2):
        put(clickhouse, "numbers(1, 10)")
    put(clickhouse, "numbers(1, 5)", epoch=8)
    beat(clickhouse, 10, 10)
    beat(clickhouse, 5, 5, epoch=8)
    first, second = audit(clickhouse)
    assert (first.epoch, first.stored, first.missing) == (7, 10, 0)
    assert (second.epoch, second.stored, second.missing) == (8, 5, 0)


def test_one_place_shown_twice_is_a_duplicate(clickhouse: ClickHouse) -> None:
    put(clickhouse, "numbers(1, 10)")
    clickhouse.execute(
        "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, gateway_id, epoch, seq, received_at) "
        "VALUES ('other', 'm', now64(3), 1, 'g', 7, 3, now64(3))"
    )
    beat(clickhouse, 10, 10)
    (found,) = audit(clickhouse)
    assert found.duplicates == 1
    assert not found.complete


@pytest.mark.parametrize(
    "where",
    ["1", "number NOT IN (1, 2, 50, 1048575, 1048576, 2097152, 2499999, 2500000)", "number < 500 OR number > 2200000"],
)
def test_the_dashboards_audit_tells_the_same(clickhouse: ClickHouse, where: str) -> None:
    put(clickhouse, "numbers(1, 2500000)", where)
    put_dead(clickhouse, [50])
    put(clickhouse, "numbers(1, 5)", epoch=8)
    put(clickhouse, "numbers(3, 1)", "1", epoch=8)
    beat(clickhouse, 2_500_010, 2_500_000)
    beat(clickhouse, 5, 5, epoch=8)
    rows = clickhouse.rows(AUDIT)
    for shown, found in zip(rows, audit(clickhouse), strict=True):
        names = ("epoch", "accepted", "stored", "missing", "duplicates")
        assert [shown[name] for name in names] == [getattr(found, name) for name in names]
        assert shown["dead_letters"] == found.dead_lettered
        assert places(shown["missing_places"]) == places(
            ", ".join(f"{first}-{last}" for first, last in found.missing_ranges)
        )


def places(text: str) -> set[int]:
    ends = [[int(end) for end in one.split("-")] for one in text.split(", ") if one]
    return {seq for end in ends for seq in range(end[0], end[-1] + 1)}


def test_a_past_period_is_judged_by_itself(clickhouse: ClickHouse) -> None:
    put(clickhouse, "numbers(1, 3000000)", "number NOT IN (500, 1500000, 1500001, 2900000)")
    put_dead(clickhouse, [500])
    for last, minutes in ((1_000_000, 30), (2_000_000, 20), (3_000_000, 10)):
        beat(clickhouse, last, last, age_s=minutes * 60)
    now = datetime.now(UTC)
    (found,) = audit_period(clickhouse, now - timedelta(minutes=25), now - timedelta(minutes=15))
    assert (found.accepted, found.stored, found.missing) == (1_000_000, 999_998, 2)
    assert found.missing_ranges == [(1_500_000, 1_500_001)]
    (found,) = audit_period(clickhouse, now - timedelta(days=1), now - timedelta(minutes=25))
    assert (found.accepted, found.stored, found.dead_lettered, found.missing) == (1_000_000, 999_999, 1, 0)
