"""Messages to text by Jinja templates, which can be replaced one by one from a folder, without code.

Everything in a message is somebody else's text: HTML is escaped by Jinja, JSON by `tojson`, the marks of the chats by
the filters `slack` and `plain`, and a subject is one line whatever is in it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    TemplateError,
    select_autoescape,
)

from fieldstream_central.notify.config import NotifyError
from fieldstream_central.notify.message import Message

TEMPLATES = ("subject.txt", "message.txt", "message.html", "slack.json", "teams.json")
_LONGEST_SUBJECT = 200
_COLOURS = {"critical": "#b3261e", "warning": "#8a5300", "info": "#0b57b0"}
_RESOLVED = "#1a6b35"


@dataclass(frozen=True)
class Rendered:
    """One message in every form."""

    subject: str
    text: str
    html: str
    slack: dict[str, Any]
    teams: dict[str, Any]
    webhook: dict[str, Any]


class Renderer:
    """Ours, or the templates of the same name in `folder`, read again at every message. All raise NotifyError."""

    def __init__(self, folder: Path | None) -> None:
        ours = PackageLoader("fieldstream_central.notify", "templates")
        loader = ChoiceLoader([FileSystemLoader(folder), ours]) if folder else ours
        if folder and not folder.is_dir():
            raise NotifyError(f"the folder of templates {folder} is not there")
        self._jinja = Environment(
            loader=loader,
            autoescape=select_autoescape(("html",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.filters |= {"slack": _slack, "plain": _plain}

    def render(self, message: Message) -> Rendered:
        """The message in every form. Raises NotifyError that names the template and its line."""
        given: dict[str, Any] = {"message": message, "facts": _facts(message), "links": _links(message)}
        given["colour"] = _RESOLVED if message.status == "resolved" else _COLOURS.get(message.severity, "#566072")
        given["subject"] = " ".join(self._text("subject.txt", given).split())[:_LONGEST_SUBJECT]
        return Rendered(
            subject=given["subject"],
            text=self._text("message.txt", given),
            html=self._text("message.html", given),
            slack=self._json("slack.json", given),
            teams=self._json("teams.json", given),
            webhook={**asdict(message), "subject": given["subject"]},
        )

    def _text(self, name: str, given: dict[str, Any]) -> str:
        try:
            return self._jinja.get_template(name).render(given)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise NotifyError(f"template {name}{f', line {line}' if line else ''}: {error}") from error

    def _json(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        text = self._text(name, given)
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise NotifyError(f"template {name} does not give JSON: {error}") from error
        return found


def _facts(message: Message) -> list[tuple[str, str]]:
    """What is known, as name and value, in the order in which one asks."""
    found = [
        ("Where", " · ".join(filter(None, (message.place, message.asset)))),
        ("Sensor", message.sensor),
        ("Observed", message.observed),
        ("Expected", message.expected),
        ("Since", f"{message.since} ({message.lasted})" if message.lasted else message.since),
        ("Ended", message.ended),
        ("Certainty", message.certainty),
        ("Marked", message.marks),
    ]
    return [(name, value) for name, value in found if value]


def _links(message: Message) -> list[tuple[str, str]]:
    links = message.links
    found = [
        ("Acknowledge", links.acknowledge),
        ("Incident", links.incident),
        ("Grafana", links.grafana),
        ("Runbook", links.runbook),
        ("Plot", links.plot),
    ]
    return [(name, link) for name, link in found if link]


def _slack(text: str) -> str:
    """Slack's three characters (api.slack.com, "Escaping text"): a text cannot mention a channel or hide a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> str:
    """No Markdown for Teams: brackets make links, stars and underscores letters of other shapes."""
    return "".join(f"\\{one}" if one in "\\[]()*_`#" else one for one in text)
