"""The settings file: unknown keys are refused with a guess, types fit."""

from pathlib import Path

import pytest
from fieldstream_central.settings import SettingsError, load_settings


def test_a_misspelt_key_is_refused_with_a_guess(tmp_path: Path) -> None:
    file = tmp_path / "fieldstream.toml"
    file.write_text('kafak = "127.0.0.1:9092"')
    with pytest.raises(SettingsError, match="unknown setting 'kafak'; did you mean 'kafka'"):
        load_settings(file)


def test_values_have_their_types(tmp_path: Path) -> None:
    file = tmp_path / "fieldstream.toml"
    file.write_text('registry = ["http://a", "http://b"]\nschema_cache = "x"\ndetection_file = "d.toml"')
    settings = load_settings(file)
    assert settings.registry == ("http://a", "http://b")
    assert settings.schema_cache == Path("x")
    assert settings.detection_file == Path("d.toml")
