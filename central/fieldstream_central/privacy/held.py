"""What is held of one person: found, counted, handed out. Nothing of it is written anywhere."""

import json
from collections.abc import Iterator
from typing import Any

from fieldstream_schemas.topics import READINGS_RAW

from fieldstream_central.privacy.keyring import Keyring
from fieldstream_central.privacy.names import Opener, pseudonyms
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.dead_letters import Letter, letters

_DAY_MS = 86_400_000
_ALL_LETTERS = 4_000_000_000
_SUMMARY = """
SELECT count() AS readings, uniq(device_id) AS devices, toString(min(ts)) AS first, toString(max(ts)) AS last
FROM fieldstream.readings WHERE operator_pseudonym IN {pseudonyms:Array(String)}
"""
_READINGS = """
SELECT * FROM fieldstream.readings WHERE operator_pseudonym IN {pseudonyms:Array(String)}
ORDER BY device_id, metric, ts
"""


def letters_naming(clickhouse: ClickHouse, settings: Settings, subject: str) -> list[Letter]:
    """Dead letters whose original bytes hold the person's name, plain or as JSON escapes it. Reads every letter."""
    wanted = {subject.encode(), json.dumps(subject)[1:-1].encode()}
    found = letters(clickhouse, Opener(settings), handled=True, limit=_ALL_LETTERS)
    return [letter for letter in found if any(name in letter.payload for name in wanted)]


def report(clickhouse: ClickHouse, settings: Settings, subject: str) -> dict[str, Any]:
    """What is held of the person, and how long each place keeps it. Raises ClickHouseError, KeyringError."""
    known = pseudonyms(Keyring.load(settings.pseudonym_key_file), subject)
    kept = settings.retention_days
    return {
        "known": bool(known),  # false: forgotten, nothing stored can be traced to the name
        "pseudonyms": known,
        "readings": clickhouse.rows(_SUMMARY, {"pseudonyms": known})[0],
        "dead_letters": [letter.letter_id for letter in letters_naming(clickhouse, settings, subject)],
        "kept_days": {
            f"topic {READINGS_RAW.name} (by name, as devices sent it)": READINGS_RAW.retention_ms // _DAY_MS,
            "table readings (pseudonym)": kept.readings,
            "table dead_letters (original bytes, encrypted)": kept.dead_letters,
        },
    }


def export(clickhouse: ClickHouse, settings: Settings, subject: str) -> Iterator[dict[str, Any]]:
    """Everything that `report` counts, row by row. Raises ClickHouseError, KeyringError."""
    known = pseudonyms(Keyring.load(settings.pseudonym_key_file), subject)
    for row in clickhouse.rows(_READINGS, {"pseudonyms": known}):
        yield {"table": "readings", **row}
    for letter in letters_naming(clickhouse, settings, subject):
        yield {"table": "dead_letters", **letter.as_row()}
