"""Times, ranges, cursors, widths: the API's arithmetic."""

from datetime import UTC, datetime, timedelta

import pytest
from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.api.params import Place, decode_cursor, encode_cursor, parse_time, span
from fieldstream_central.serve.series import bucket_seconds, level_of
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "text", ["2026-05-01T12:00:00Z", "2026-05-01T14:00:00+02:00", "2026-05-01T12:00:00", "1777636800000"]
)
def test_a_time_may_be_written_in_any_of_these_ways(text: str) -> None:
    assert parse_time(text, "from") == datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "99999999999999999", "2026-13-01", ""])
def test_what_is_no_time_is_refused_by_field(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_time(text, "to")
    assert refused.value.field == "to"


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-05-02T00:00:00Z", "2026-05-01T00:00:00Z"),
        ("2026-05-01T00:00:00Z", "2026-05-01T00:00:00Z"),
        ("2001-01-01T00:00:00Z", "2026-05-01T00:00:00Z"),
        ("1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"),
    ],
)
def test_ranges_backwards_empty_or_a_century_long_are_refused(start: str, end: str) -> None:
    with pytest.raises(ApiError) as refused:
        span(start, end)
    assert refused.value.field == "from"


def test_without_a_range_it_is_the_last_hour() -> None:
    found = span()
    assert found.end - found.start == timedelta(hours=1)


TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda when: when.replace(tzinfo=UTC))


@given(TIMES, TIMES, st.lists(st.text() | st.integers(0, 2**53), min_size=2, max_size=2))
def test_a_cursor_gives_back_its_place(start: datetime, end: datetime, key: list[object]) -> None:
    found = decode_cursor("question", encode_cursor("question", Place(start, end, key)), 2)
    assert found.key == key
    assert found.start is not None
    assert abs(found.start - start) < timedelta(milliseconds=1)


def test_a_cursor_of_another_question_or_a_damaged_one_is_refused() -> None:
    cursor = encode_cursor("one", Place(None, None, ["x"]))
    for asked, text in (("other", cursor), ("one", cursor[:-3]), ("one", "!!!"), ("one", "bm8")):
        with pytest.raises(ApiError) as refused:
            decode_cursor(asked, text, 1)
        assert refused.value.field == "cursor"


@given(st.floats(1, 10 * 366 * 86400), st.integers(2, 5000))
def test_a_range_never_gives_more_buckets_than_asked_for(span_s: float, points: int) -> None:
    width = bucket_seconds(span_s, points)
    # A grid that begins anywhere touches one bucket more than fits.
    assert span_s / width + 1 <= points + 1e-6
    assert width < 10 or width % (level_of(width) or 10) == 0
