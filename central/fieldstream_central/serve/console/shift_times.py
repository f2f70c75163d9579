"""The range that a report is about: a shift by its length and its end."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from nicegui import ui

from fieldstream_central.serve.console import texts


class ShiftTimes:
    """The choice of a range. `query` is what the API wants; the end is now unless one is chosen."""

    def __init__(self, changed: Callable[[], Awaitable[None]], *, lengths: dict[int, str]) -> None:
        self._length = ui.select(lengths, value=next(iter(lengths)), label=texts.LENGTH, on_change=changed)
        self._length.props("dense outlined options-dense").classes("fs-length")
        self._end = ui.input(texts.UNTIL_FIELD, on_change=changed)
        self._end.props("dense outlined type=datetime-local clearable stack-label")

    def query(self) -> dict[str, str]:
        """`from` and `to`."""
        end = datetime.now(UTC)
        if self._end.value:
            end = datetime.fromisoformat(self._end.value).replace(tzinfo=UTC)
        start = end - timedelta(hours=float(self._length.value or 8))
        return {"from": start.isoformat(), "to": end.isoformat()}
