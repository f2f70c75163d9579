"""Plain tables: one element each however many rows, readable on paper and by a screen reader."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from nicegui import ui

from fieldstream_central.serve.console import texts


@dataclass(frozen=True)
class Link:
    """A cell that leads somewhere."""

    text: str
    target: str


@dataclass(frozen=True)
class Sign:
    """A cell in the colour of a state: ok, warn, bad, unknown; or of a severity."""

    text: str
    state: str


Cell = str | Link | Sign
_STATES = {"critical": "bad", "warning": "warn", "info": "info"}


class Table:
    """A table with its words for when there is nothing in it."""

    def __init__(self, columns: Sequence[str], empty: str, caption: str) -> None:
        self._head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
        self._columns = columns
        self._caption = escape(caption)
        self._empty = empty
        with ui.element("div").classes("fs-scroll"):
            self._html = ui.html("", sanitize=False).classes("fs-table")

    def show(self, rows: Sequence[Sequence[Cell]]) -> None:
        """The rows, sent only when they differ."""
        if not rows:
            self._html.content = f'<p class="fs-empty">{escape(self._empty)}</p>'
            return
        body = "".join(f"<tr>{self._cells(row)}</tr>" for row in rows)
        self._html.content = (
            f'<table><caption class="fs-hidden">{self._caption}</caption>'
            f"<thead><tr>{self._head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _cells(self, row: Sequence[Cell]) -> str:
        named = zip(self._columns, row, strict=True)
        return "".join(f'<td data-label="{escape(name)}">{_shown(cell)}</td>' for name, cell in named)


def _shown(cell: Cell) -> str:
    if isinstance(cell, Link):
        return f'<a class="fs-ref" href="{escape(cell.target)}">{escape(cell.text)}</a>'
    if isinstance(cell, Sign):
        return f'<span class="fs-sign is-{escape(_STATES.get(cell.state, cell.state))}">{escape(cell.text)}</span>'
    return escape(cell)


def quoted(alarm_id: str) -> str:
    """An alarm's name for an address; its parts stay visible."""
    return quote(alarm_id, safe="/")


def incident(alarm_id: str, text: str = "") -> Link:
    """A link to the page of an alarm."""
    return Link(text or alarm_id, f"/incident/{quoted(alarm_id)}")


def state_of(severity_name: str) -> str:
    """The colour's name of a severity."""
    return _STATES.get(severity_name, "info")


def severity(name: str) -> Sign:
    """A severity in words and colour."""
    return Sign(texts.SEVERITIES.get(name, name), name)
