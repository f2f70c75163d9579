"""The spool at rest: nothing readable without its key, everything with it."""

import base64
import json
from pathlib import Path

import pytest
from fieldstream_edge.cli import main
from fieldstream_edge.commands.settings_page import template
from fieldstream_edge.settings import SpoolSettings
from fieldstream_edge.spool.errors import SpoolKeyError
from fieldstream_edge.spool.format import SegmentHeader
from fieldstream_edge.spool.ledger import Spool
from unit.edge.gateway_rig import NOW, Rig


def key_file(directory: Path, *keys: int, name: str = "key") -> str:
    path = directory / name
    path.write_text("\n".join(base64.b64encode(bytes([number]) * 32).decode() for number in keys))
    path.chmod(0o640)
    return str(path)


def encrypted(directory: Path, *keys: int) -> SpoolSettings:
    return SpoolSettings(segment_bytes=1 << 16, key_file=key_file(directory, *keys))


def fill(rig: Rig, count: int = 200) -> None:
    for number in range(count):
        rig.send("sensors/secret-device/secret-metric", json.dumps({"ts": NOW - 10_000 + number, "value": number}))
    rig.send("sensors/secret-device/secret-metric", "secret-nonsense")


def on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.glob("*.seg")))


def test_neither_names_nor_payloads_can_be_read_without_the_key(tmp_path: Path) -> None:
    for name, settings, expected in (("plain", None, True), ("secret", encrypted(tmp_path, 1), False)):
        rig = Rig(tmp_path / name, spool=settings)
        fill(rig)
        assert len(rig.readings()) == 200
        rig.restart()
        assert len(rig.readings()) == 200
        assert [letter.payload for letter in rig.dead()] == [b"secret-nonsense"]
        rig.spool.close()
        assert (b"secret" in on_disk(tmp_path / name)) is expected


def test_same_readings_are_other_bytes_in_every_segment_file(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        rig = Rig(tmp_path / name, spool=encrypted(tmp_path, 1))
        fill(rig, 1)
        rig.spool.close()
        (path,) = (tmp_path / name).glob("*.seg")
        content = path.read_bytes()
        contents.append((SegmentHeader.unpack(content[:40]).random, content[80:200]))
    (one, first), (other, second) = contents
    assert one != other
    assert first != second


def test_redeliveries_are_recognised_in_encrypted_segments(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "s", spool=encrypted(tmp_path, 1))
    fill(rig)
    rig.send("sensors/d/t", "21.5", 7)
    rig.restart()
    rig.send("sensors/d/t", "21.5", 7, duplicate=True)
    fill(rig)
    assert rig.counters.readings == 0
    assert rig.counters.duplicates == 201


def test_encryption_can_be_turned_on_later_and_its_key_changed(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "s")
    rig.send("sensors/d/t", '{"ts": 1795514400000, "value": 1}')
    for value, keys in ((2, (1,)), (3, (2, 1))):
        rig._settings = encrypted(tmp_path, *keys)
        rig.restart()
        rig.send("sensors/d/t", json.dumps({"ts": 1795514400000 + value, "value": value}))
    assert [value for *_, value in rig.readings()] == [1.0, 2.0, 3.0]
    rig.spool.close()
    with pytest.raises(SpoolKeyError, match="add it there"):
        Spool(tmp_path / "s", "g1", encrypted(tmp_path, 2))


def test_missing_key_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "s", spool=encrypted(tmp_path, 1))
    fill(rig)
    rig.spool.close()
    before = on_disk(tmp_path / "s")
    with pytest.raises(SpoolKeyError, match=r"set spool\.key_file"):
        Spool(tmp_path / "s", "g1", SpoolSettings())
    assert on_disk(tmp_path / "s") == before
    Spool(tmp_path / "s", "g1", encrypted(tmp_path, 1)).close()


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, 0, "cannot be read"),
        ("", 0o600, "32 bytes"),
        ("c2hvcnQ=", 0o600, "32 bytes"),
        ("not base64!", 0o600, "no base64"),
        (base64.b64encode(bytes(32)).decode(), 0o644, "chmod o-r"),
    ],
)
def test_unusable_key_file_is_named_with_a_remedy(tmp_path: Path, content: str | None, mode: int, words: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(SpoolKeyError, match=words):
        Spool(tmp_path / "s", "g", SpoolSettings(key_file=str(path)))


def test_damaged_header_costs_its_segment_and_nothing_else(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "s", spool=encrypted(tmp_path, 1))
    fill(rig, 3)
    rig.restart()
    rig.send("sensors/d/t", '{"ts": 1795514400000, "value": 9}')
    rig.spool.close()
    first = min((tmp_path / "s").glob("*.seg"))
    content = bytearray(first.read_bytes())
    content[10] ^= 1
    first.write_bytes(content)
    rig.start()
    assert [value for *_, value in rig.readings()] == [9.0]
    assert [gap[:2] for gap in rig.spool.gaps] == [(1, 4)]


def test_commands_read_an_encrypted_spool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(template("g1", str(tmp_path)))
    rig = Rig(tmp_path / "spool", spool=encrypted(tmp_path, 1))
    fill(rig, 5)
    rig.spool.close()
    assert main(["spool", "verify", "--config", str(config)]) == 1
    assert "set spool.key_file" in capsys.readouterr().err
    config.write_text(config.read_text().replace("[spool]", f'[spool]\nkey_file = "{tmp_path / "key"}"'))
    assert main(["spool", "verify", "--config", str(config)]) == 0
    assert main(["spool", "export", "--config", str(config)]) == 0
    assert capsys.readouterr().out.count('{"seq": ') == 6
