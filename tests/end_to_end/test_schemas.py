"""The registry accepts our schemas and refuses what old or new readers could not read."""

import json
from pathlib import Path

from fieldstream_schemas.topics import READINGS_RAW

from end_to_end.conftest import Stack


def test_our_own_schemas_pass_the_check(stack: Stack) -> None:
    done = stack.run("fieldstream", "schemas", "check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "readings.raw-value: compatible" in done.stdout


def test_an_incompatible_schema_is_refused_with_its_reason(stack: Stack, tmp_path: Path) -> None:
    changed = json.loads(READINGS_RAW.schema_text)
    next(field for field in changed["fields"] if field["name"] == "value")["type"] = "string"
    file = tmp_path / "changed.avsc"
    file.write_text(json.dumps(changed))
    done = stack.run("fieldstream", "schemas", "check", READINGS_RAW.subject, str(file))
    assert done.returncode == 1
    assert "INCOMPATIBLE" in done.stdout


def test_a_field_with_a_default_may_be_added(stack: Stack, tmp_path: Path) -> None:
    changed = json.loads(READINGS_RAW.schema_text)
    changed["fields"].append({"name": "note", "type": ["null", "string"], "default": None})
    file = tmp_path / "changed.avsc"
    file.write_text(json.dumps(changed))
    done = stack.run("fieldstream", "schemas", "check", READINGS_RAW.subject, str(file))
    assert done.returncode == 0, done.stdout + done.stderr
