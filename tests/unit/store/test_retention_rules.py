"""Which retentions make sense, and what a settings file may say of them."""

from pathlib import Path

import pytest
from fieldstream_central.settings import SettingsError, load_settings
from fieldstream_central.store.retention import Retention, RetentionError


def test_a_level_may_not_go_before_what_it_is_made_of() -> None:
    with pytest.raises(
        RetentionError, match=r"retention_days\.minutes must not be shorter than retention_days\.readings"
    ):
        Retention(readings=500, minutes=400)
    with pytest.raises(RetentionError, match=r"retention_days\.days"):
        Retention(hours=0, days=100)


def test_for_ever_is_no_ttl() -> None:
    forever = Retention(readings=0, minutes=0, ten_minutes=0, hours=0, days=0)
    assert forever.ttls()["readings_data"] == ""
    assert Retention().ttls()["windows_data"] == "toDate32(window_start) + toIntervalDay(400)"


@pytest.mark.parametrize(
    ("text", "said"),
    [("readings = -1", "retention_days.readings"), ("weeks = 3", "retention_days.weeks"), ("hours = 'x'", "'x'")],
)
def test_a_settings_file_is_told_which_retention_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f"[retention_days]\n{text}\n")
    with pytest.raises(SettingsError, match=said):
        load_settings(path)


def test_a_settings_file_changes_one_retention(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[retention_days]\nreadings = 90\n")
    assert load_settings(path).retention_days == Retention(readings=90)
