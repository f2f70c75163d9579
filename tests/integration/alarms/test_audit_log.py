"""Acts through API, link and command line are in the log, in their order, and a forged record is found."""

import getpass
from pathlib import Path

import pytest
from confluent_kafka import Producer
from fieldstream_central.audit_log.chain import tampering
from fieldstream_central.audit_log.cli import note_command
from fieldstream_central.audit_log.log import AuditLog, AuditLogError
from fieldstream_central.settings import Settings
from fieldstream_schemas.topics import AUDIT_LOG
from integration.alarms.conftest import Plant
from integration.alarms.test_alarms_api import Api


def acts(log: AuditLog) -> list[tuple[str, ...]]:
    entries = [record.entry for record in log.records() if record.entry]
    return [(entry["who"], entry["via"], entry["act"], entry["outcome"]) for entry in entries]


def test_who_did_what_is_noted_before_it_is_done_and_forgery_shows(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(plant.settings)
    before = len(acts(log))
    api = Api(plant, tmp_path / "tokens.toml")
    try:
        api.call("GET", "/alarms")
        api.call("POST", "/dead-letters/actions", json={"action": "discard", "letter_ids": ["x"], "note": "done"})
        api.call(
            "POST", "/alarms/actions", role="viewer", json={"action": "acknowledge", "alarms": [{"alarm_id": "a"}]}
        )
    finally:
        api.close()
    settings = tmp_path / "settings.toml"
    settings.write_text(f'kafka = "{plant.settings.kafka}"\nschema_cache = "{plant.settings.schema_cache}"\n')
    monkeypatch.setenv("FIELDSTREAM_CONFIG", str(settings))
    note_command(["jobs", "stop", "pipeline"])
    note_command(["privacy", "forget", "Ada Lovelace", "--yes"])
    note_command(["jobs", "status"])

    me = getpass.getuser()
    assert acts(log)[before:] == [
        ("the-operator", "api", "POST /api/v1/dead-letters/actions", ""),
        ("the-viewer", "api", "POST /api/v1/alarms/actions", ""),
        ("the-viewer", "api", "POST /api/v1/alarms/actions", "403 Not allowed"),
        (me, "command", "fieldstream jobs stop pipeline", ""),
        (me, "command", "fieldstream privacy forget", ""),
    ]
    problems, head = tampering(log.records())
    assert problems == []

    # A second writer with a memory of its own goes on where the log is, whatever came between.
    AuditLog(plant.settings).note(who="b", via="api", act="one")
    log.note(who="a", via="api", act="two")
    assert tampering(log.records(), noted=head)[0] == []

    forger = Producer({"bootstrap.servers": plant.settings.kafka})
    true = list(log.records())[-1].value
    forger.produce(AUDIT_LOG.name, true.replace(b"two", b"six"), "a")
    forger.produce(AUDIT_LOG.name, b"noise", "a")
    forger.flush(10)
    log.note(who="a", via="api", act="three")
    problems, _ = tampering(log.records(), noted=head)
    assert [problem.partition(":")[0] for problem in problems] == [f"offset {head.offset + 4}"]


def test_an_act_that_cannot_be_noted_is_refused(tmp_path: Path) -> None:
    log = AuditLog(Settings(kafka="127.0.0.1:9", schema_cache=tmp_path))
    with pytest.raises(AuditLogError, match="cannot be read"):
        log.note(who="a", via="api", act="one")
