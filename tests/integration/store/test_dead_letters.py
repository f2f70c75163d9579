"""Dead letters as people find and handle them. Their replay through the whole chain is the drill `dead-letters`."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fieldstream_central import cli
from fieldstream_central.privacy.names import Opener
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.dead_letters import Letter, Replayer, ReplayError, letters, mark
from fieldstream_central.store.migrate import migrate
from integration.store.rig import Store
from typer.testing import CliRunner

OPENER = Opener(Settings())  # none of these letters is sealed
DAMAGED = b"\x00\xff\xfe"


@pytest.fixture
def clickhouse(store: Store) -> Iterator[ClickHouse]:
    migrate(store.url)
    with store.client() as client:
        for table in ("dead_letters_data", "dead_letter_handling_data"):
            client.execute(f"TRUNCATE TABLE fieldstream.{table}")
        client.execute(
            "INSERT INTO fieldstream.dead_letters_data (reason, detail, origin, source, payload, payload_size, "
            "gateway_id, epoch, seq, received_at) VALUES "
            "('not-json', 'd', 'gateway', 'sensors/a/m', 'hot', 3, 'g1', 7, 1, now64(3) - INTERVAL 2 DAY), "
            "('not-json', 'd', 'gateway', 'sensors/b/m', 'cold', 4, 'g2', 7, 1, now64(3)), "
            "('undecodable', 'd', 'pipeline', 'readings.raw/0/5', unhex('00fffe'), 3, '', NULL, NULL, now64(3)), "
            "('too-large', 'd', 'gateway', 'sensors/c/m', 'x', 10000000, 'g1', 7, 2, now64(3))"
        )
        yield client


def by_id(clickhouse: ClickHouse) -> dict[str, Letter]:
    return {letter.letter_id: letter for letter in letters(clickhouse, OPENER)}


def test_letters_are_found_by_reason_gateway_and_time(clickhouse: ClickHouse) -> None:
    assert set(by_id(clickhouse)) == {"g1/7/1", "g2/7/1", "g1/7/2", "pipeline/readings.raw/0/5"}
    assert {letter.letter_id for letter in letters(clickhouse, OPENER, reason="not-json")} == {"g1/7/1", "g2/7/1"}
    assert {letter.letter_id for letter in letters(clickhouse, OPENER, gateway_id="g1")} == {"g1/7/1", "g1/7/2"}
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert [letter.letter_id for letter in letters(clickhouse, OPENER, until=yesterday)] == ["g1/7/1"]


def test_original_bytes_are_readable_whatever_they_are(clickhouse: ClickHouse) -> None:
    found = by_id(clickhouse)
    assert found["g1/7/1"].payload_text() == "hot"
    assert found["pipeline/readings.raw/0/5"].payload == DAMAGED
    assert found["pipeline/readings.raw/0/5"].payload_text() == "00 ff fe"


def test_what_was_dealt_with_is_listed_only_when_asked_for(clickhouse: ClickHouse) -> None:
    letter = by_id(clickhouse)["g1/7/1"]
    mark(clickhouse, letter, "discarded", by="ada", note="a test")
    assert letter.letter_id not in by_id(clickhouse)
    [kept] = letters(clickhouse, OPENER, ids=(letter.letter_id,), handled=True)
    assert (kept.action, kept.by, kept.note) == ("discarded", "ada", "a test")


def test_what_cannot_be_replayed_says_why_and_stays(clickhouse: ClickHouse, tmp_path: Path) -> None:
    found = by_id(clickhouse)
    replayer = Replayer(Settings(mqtt="mqtt://127.0.0.1:9", schema_cache=tmp_path))
    with pytest.raises(ReplayError, match="only the first 1 were kept"):
        replayer.replay(found["g1/7/2"])
    with pytest.raises(ReplayError, match=r"still no record of readings\.raw"):
        replayer.replay(found["pipeline/readings.raw/0/5"])
    with pytest.raises(ReplayError, match="does not answer"):
        replayer.replay(found["g1/7/1"])
    assert by_id(clickhouse) == found


def test_the_command_refuses_to_take_all_letters_unasked(
    clickhouse: ClickHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "fieldstream.toml"
    settings.write_text(f'clickhouse = "{clickhouse.url}"\n')
    monkeypatch.setenv("FIELDSTREAM_CONFIG", str(settings))
    run = CliRunner().invoke
    assert run(cli.app, ["dead-letters", "discard", "--note", "n"]).exit_code != 0
    assert len(by_id(clickhouse)) == 4
    assert "2 discarded" in run(cli.app, ["dead-letters", "discard", "--reason", "not-json", "--note", "n"]).output
    shown = run(cli.app, ["dead-letters", "show", "g1/7/1"]).output
    assert "hot" in shown
    assert "discarded" in shown
