"""The commands: what they print and their exit status."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fieldstream_edge.cli import main
from fieldstream_edge.commands.settings_page import reference, template
from fieldstream_edge.config import parse
from fieldstream_edge.settings import SpoolSettings
from fieldstream_schemas.reasons import REASONS
from integration.edge.parts import ROOT
from unit.edge.gateway_rig import NOW, Rig


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(template("g1", str(tmp_path / "state")))
    return path


@pytest.fixture
def rig(tmp_path: Path, config: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "state" / "spool", spool=SpoolSettings(segment_bytes=1 << 16))
    for number in range(50):
        made.send("sensors/d/t", json.dumps({"ts": NOW - 10_000 + number, "value": number}))
    made.send("sensors/d/t", "nonsense")
    yield made


def run(*arguments: object) -> int:
    return main([str(each) for each in arguments])


def test_template_is_a_valid_configuration() -> None:
    assert parse(template("hall-3", "/var/lib/fieldstream")).gateway_id == "hall-3"


def test_init_never_overwrites(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "init", "--config", config) == 1
    assert "exists already" in capsys.readouterr().out


def test_check_names_line_and_remedy(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--config", config) == 0
    config.write_text(config.read_text() + "[kafka]\n".replace("kafka", "kafca"))
    assert run("check", "--config", config) == 2
    assert "Did you mean `kafka`" in capsys.readouterr().err


def test_reference_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "reference") == 0
    for name in ("commit_interval_ms", "when_full", "receive_maximum", "identity_window_s", "ts_unit"):
        assert f"`{name}`" in reference()


def test_show_hides_secrets(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    properties = '[kafka.properties]\n"sasl.password" = "geheim"\n[kafka]'  # pragma: allowlist secret
    config.write_text(config.read_text().replace("[kafka]", properties))
    assert run("config", "show", "--config", config) == 0
    shown = capsys.readouterr().out
    assert "geheim" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    ("topic", "payload", "status", "words"),
    [
        (
            "sensors/d/t",
            '{"ts": 1795514400000, "value": 21.5, "unit": "Cel"}',
            0,
            "d t = 21.5 Cel at 2026-11-24T10:00:00",
        ),
        ("sensors/d/t", "21", 0, "receive time (TS_ABSENT)"),
        ("sensors/d", '{"metrics": {"a": 1}}', 0, "d a = 1.0"),
        ("sensors/d/t", "x", 1, "dead letter not-json"),
        ("sensors/d/t", "hex:3231", 0, "d t = 21.0"),
        ("other", "x", 1, "dead letter bad-topic"),
    ],
)
def test_map_shows_what_a_message_becomes(  # noqa: PLR0917
    config: Path, capsys: pytest.CaptureFixture[str], topic: str, payload: str, status: int, words: str
) -> None:
    assert run("map", "--config", config, "--try", topic, payload) == status
    assert words in capsys.readouterr().out


def test_status_without_gateway_says_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text() + "[http]\nport = 21999\n")
    assert run("status", "--config", config) == 1
    assert "is it running" in capsys.readouterr().out


def test_spool_can_be_listed_verified_and_exported_while_it_is_used(
    config: Path, rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("spool", "ls", "--config", config) == 0
    assert "open" in capsys.readouterr().out
    assert run("spool", "verify", "--config", config) == 0
    assert run("spool", "export", "--config", config) == 0
    exported = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [row["seq"] for row in exported] == list(range(1, 52))
    assert exported[3]["value"] == 3.0
    assert bytes.fromhex(exported[-1]["dead_letter"]["payload"]) == b"nonsense"
    assert run("spool", "repair", "--config", config) == 1, "another process owns it"
    assert "in use" in capsys.readouterr().err


def test_export_and_import_carry_entries_to_another_spool(
    config: Path, rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.spool.close()
    out = tmp_path / "export.jsonl"
    assert run("spool", "export", "--config", config, "--file", out) == 0
    other = tmp_path / "other.toml"
    other.write_text(template("g2", str(tmp_path / "other")))
    (tmp_path / "other" / "spool").mkdir(parents=True)
    assert run("spool", "import", "--config", other, "--file", out) == 0
    assert "51 entries imported" in capsys.readouterr().out
    assert run("spool", "verify", "--config", other) == 0


def test_repair_keeps_the_damaged_original_and_what_is_readable(
    config: Path, rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.spool.close()
    (path,) = (tmp_path / "state" / "spool").glob("*.seg")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert run("spool", "verify", "--config", config) == 1
    assert "cannot be read" in capsys.readouterr().out
    assert run("spool", "repair", "--config", config) == 0
    assert list((tmp_path / "state" / "spool").glob("damaged-*/*.seg"))


def test_table_of_bad_input_names_exactly_the_reasons() -> None:
    text = (ROOT / "docs" / "bad-input.md").read_text()
    for reason in REASONS:
        assert f"`{reason}`" in text
