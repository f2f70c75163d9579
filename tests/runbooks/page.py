"""A page of docs/runbooks: its sections and the commands in them."""

import re
from dataclasses import dataclass

from local.layout import ROOT

PAGES = ROOT / "docs/runbooks"
QUOTED = re.compile(r"`([^`\n]+)`")
OURS = ("fieldstream ", "fieldstream-gateway ", "make ")
SQL = "system "  # begins what ClickHouse is told
FIGURE = re.compile(r"`(fieldstream[_:][a-z_]+|up)`")
NOT_GIVEN = {  # commands that no drill gives, and why
    "fieldstream jobs run": "the stack's own program, which never ends: the page sends to its log",
    "kubectl get pods": "there is no cluster here",
    "timedatectl": "there is no systemd here, and the clocks that a drill moves are its devices'",
    "chronyc tracking": "the host's time service is none of the drill's",
    "systemctl reload fieldstream-gateway": "there is no systemd here: the drill sends the signal that this sends",
}


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
        """The commands to give in a section, as they stand there, each once."""
        quoted = dict.fromkeys(QUOTED.findall(self.sections[section]))
        return [one for one in quoted if one.startswith((*OURS, SQL)) and one not in NOT_GIVEN]

    def figure(self) -> str:
        """The metric by which one sees that it is over."""
        return str(FIGURE.findall(self.sections["It is over when"])[0])


def filled(command: str, words: dict[str, str]) -> str:
    """The command with its placeholders, words in capitals, replaced."""
    return re.sub(r"\b[A-Z]+\b", lambda found: words[found[0]], command)
