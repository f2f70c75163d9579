"""The documents that are written from the code."""

from pathlib import Path

from fieldstream_central.serve.api.reference import reference

ROOT = Path(__file__).parents[3]


def test_the_api_reference_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "api.md").read_text() == reference(), "run: fieldstream api --reference > docs/api.md"
