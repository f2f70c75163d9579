"""A page of docs/runbooks: its sections and the commands of ours in them."""

import re
from dataclasses import dataclass

from local.layout import ROOT

PAGES = ROOT / "docs/runbooks"
COMMAND = re.compile(r"`((?:fieldstream|fieldstream-gateway|make) [^`\n]+)`")
FIGURE = re.compile(r"`(fieldstream[_:][a-z_]+|up)`")
MENTIONED = "fieldstream jobs run"  # a program, not a command to give: it never ends


@dataclass(frozen=True)
class Page:
    """One page, by the name of its alert."""

    sections: dict[str, str]

    @classmethod
    def read(cls, name: str) -> "Page":
        """Reads the page of an alert. Raises OSError if it has none."""
        return cls.of((PAGES / f"{name}.md").read_text())

    @classmethod
    def of(cls, text: str) -> "Page":
        """Splits a page at its headings of the second level."""
        parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
        return cls(dict(zip(parts[1::2], parts[2::2], strict=True)))

    def commands(self, section: str) -> list[str]:
        """The commands of ours in a section, as they stand there, each once."""
        return [one for one in dict.fromkeys(COMMAND.findall(self.sections[section])) if one != MENTIONED]

    def figure(self) -> str:
        """The metric by which one sees that it is over."""
        return str(FIGURE.findall(self.sections["It is over when"])[0])


def filled(command: str, words: dict[str, str]) -> str:
    """The command with its placeholders, words in capitals, replaced."""
    return re.sub(r"\b[A-Z]+\b", lambda found: words[found[0]], command)
