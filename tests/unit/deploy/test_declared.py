"""What the deployments say is what is declared once."""

import pytest
from declared import write
from declared.tiers import TIERS, Tier
from local.layout import ROOT


@pytest.mark.parametrize(("path", "text"), write.files().items())
def test_what_is_made_from_the_declarations_is_up_to_date(path: str, text: str) -> None:
    assert (ROOT / path).read_text() == text, "run `PYTHONPATH=deploy .venv/bin/python -m declared.write`"


def test_a_tier_has_twice_the_cores_that_its_rate_needs() -> None:
    assert Tier("any", 50_000).cores("taskmanager") == pytest.approx(2 * 0.05 * 43)


def test_partitions_leave_room_to_double_the_slots() -> None:
    for tier in TIERS:
        assert tier.partitions >= 2 * tier.slots


def test_no_shard_is_larger_than_may_be_copied_in_a_day() -> None:
    for tier in TIERS:
        assert tier.stored_bytes / tier.shards <= 8e12
