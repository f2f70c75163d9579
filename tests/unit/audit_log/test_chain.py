"""The hash chain: whatever is done to the log shows."""

import json
from dataclasses import replace
from typing import Any

import pytest
from fieldstream_central.audit_log.chain import Head, Stored, tampering
from fieldstream_central.audit_log.cli import NOTED, NOTED_ALONE
from fieldstream_central.cli import app
from typer.main import get_group


def written(lags: list[int]) -> list[Stored]:
    """A log whose writers each saw what was there some records earlier."""
    heads, records = [Head()], []
    for number, lag in enumerate(lags):
        seen = heads[max(0, len(heads) - 1 - lag)]
        entry = {"act": f"act {number}", "upto": seen.offset, "chain": seen.chain}
        records.append(stored(number, entry))
        heads.append(heads[-1].after(records[-1].value))
    return records


def stored(offset: int, entry: dict[str, Any]) -> Stored:
    return Stored(offset, json.dumps(entry).encode(), entry)


LOG = written([0, 0, 1, 0, 2, 0, 0, 0])


def test_writers_that_did_not_see_each_other_are_no_tampering() -> None:
    problems, head = tampering(LOG)
    assert (problems, head.offset) == ([], len(LOG) - 1)
    assert tampering(LOG, noted=head)[0] == []
    assert tampering(written([0] * 12)[:8], noted=tampering(written([0] * 5))[1])[0] == []


@pytest.mark.parametrize("at", range(len(LOG) - 1))
def test_a_changed_record_is_found_whichever_it_is(at: int) -> None:
    changed = list(LOG)
    changed[at] = stored(at, {**(LOG[at].entry or {}), "act": "something else"})
    assert tampering(changed)[0]


@pytest.mark.parametrize("at", range(len(LOG) - 1))
def test_a_record_taken_out_is_found_also_when_the_others_close_up(at: int) -> None:
    left = LOG[:at] + LOG[at + 1 :]
    assert tampering(left)[0]
    assert tampering([replace(record, offset=number) for number, record in enumerate(left)])[0]


def test_what_only_a_noted_head_finds() -> None:
    _, noted = tampering(LOG)
    for forged in (LOG[:-1], written([0] * 20), []):
        assert tampering(forged)[0] == []
        [problem] = tampering(forged, noted=noted)[0]
        assert "cut or written anew" in problem


def test_a_record_that_is_no_entry_is_reported_and_covered() -> None:
    problems, head = tampering([*LOG, Stored(len(LOG), b"noise", None)])
    assert [problem.partition(":")[0] for problem in problems] == [f"offset {len(LOG)}"]
    assert head.offset == len(LOG)


def test_every_noted_command_exists() -> None:
    commands: Any = get_group(app).commands
    assert set(NOTED_ALONE) <= set(commands)
    for group, names in NOTED.items():
        assert set(names) <= set(commands[group].commands), group
