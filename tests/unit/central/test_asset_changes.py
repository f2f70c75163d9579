"""A change of the Postgres registry, as Debezium writes it; and which sensors a new snapshot removes."""

import json
from typing import Any

import pytest
from fieldstream_central.asset_changes import AssetChangeError, Change, Snapshot, change_of

KEY = b'{"device_id": "pump-1", "metric": "flow"}'
ROW: dict[str, Any] = {
    **{"device_id": "pump-1", "metric": "flow", "site": "north", "area": "", "asset_id": "pump", "asset_type": "pump"},
    **{"label": "", "unit": None, "period_ms": 1000, "low_low": None, "low": 1, "high": 9.5, "high_high": None},
    **{"updated_at": 1_700_000_000_000, "__source_snapshot": "false", "of_tomorrow": True},
}


def test_a_row_becomes_a_sensor() -> None:
    change = change_of(KEY, json.dumps(ROW).encode())
    assert change.key == "pump-1/flow" and not change.snapshot
    assert change.row == {name: ROW[name] for name in ROW if not name.startswith(("__", "of_"))}


@pytest.mark.parametrize("value", [None, b"null"])
def test_no_value_is_a_removal(value: bytes | None) -> None:
    assert change_of(KEY, value) == Change("pump-1/flow", None)


@pytest.mark.parametrize(
    ("key", "changed", "told"),
    [
        (b"pump-1", {}, "Expecting value"),
        (b'{"device_id": "pump-1"}', {}, "it lacks 'metric'"),
        (KEY, {"asset_id": 7}, "asset_id is no text: 7"),
        (KEY, {"asset_type": None}, "asset_type is no text: None"),
        (KEY, {"low": 10}, "the limits must rise from low_low to high_high"),
        (KEY, {"high": "hot"}, "could not convert string to float"),
        (KEY, {"high": "Infinity"}, "a limit is no finite number"),
        (KEY, {"updated_at": None}, "int()"),
    ],
)
def test_what_is_no_sensor_is_told(key: bytes, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(AssetChangeError) as caught:
        change_of(key, json.dumps(ROW | changed).encode())
    assert told in str(caught.value)


def of(key: str, snapshot: str = "") -> Change:
    return Change(key, {}, snapshot)


def test_a_snapshot_is_told_whole_once_its_last_has_come() -> None:
    snapshot = Snapshot()
    changes = [of("z"), of("a", "first"), of("b", "true"), of("c", "last")]
    assert [snapshot.take(change) for change in changes] == [None, None, None, {"a", "b", "c"}]


def test_a_snapshot_is_open_from_its_first_to_its_last() -> None:
    snapshot = Snapshot()
    opened = []
    for change in (of("z"), of("a", "first"), of("b", "true"), of("c", "last")):
        snapshot.take(change)
        opened.append(snapshot.open)
    assert opened == [False, True, True, False]


def test_a_snapshot_that_broke_off_counts_for_nothing() -> None:
    snapshot = Snapshot()
    for change in (of("a", "first"), of("b", "true"), of("a", "first")):
        assert snapshot.take(change) is None
    assert snapshot.take(of("c", "last")) == {"a", "c"}


def test_a_table_of_one_row_has_only_a_last() -> None:
    assert Snapshot().take(of("a", "last")) == {"a"}
