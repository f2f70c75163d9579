"""docs/settings.md: every key of the centre's settings file, from the dataclass and the comments in it."""

import inspect
import re
from dataclasses import MISSING, fields

from fieldstream_central.settings import Settings

# A field of the dataclass, and the comment beside it.
_FIELD = re.compile(r"    (\w+): .*?(?:  # (.+))?$")
HEAD = """# Settings of the centre

One TOML file, named by the environment variable FIELDSTREAM_CONFIG; without it the defaults hold, which are the local
stack's. `${NAME}` in it is filled in from the environment. Unknown keys are refused by name. Relative paths begin where
a program runs. A program reads the file at its start. The tables `retention_days` and `oidc` are in [store](store.md)
and [console](console.md); gateways have a file of their own ([gateway](gateway.md)). This page is made by
`python -m declared.write` from `fieldstream_central/settings.py`.

| key | default | meaning |
|---|---|---|
"""


def text() -> str:
    """The page."""
    said = meanings(inspect.getsource(Settings))
    return HEAD + "".join(
        f"| `{one.name}` | {_default(one.default)} | {said[one.name]} |\n" for one in fields(Settings)
    )


def _default(value: object) -> str:
    shown = ", ".join(value) if isinstance(value, tuple) else value
    return "-" if shown in (None, "", MISSING) else f"`{shown}`"


def meanings(source: str) -> dict[str, str]:
    """Field -> what its comment says, beside it or above it. Raises ValueError for a field that has none."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in source.splitlines():
        if line.startswith("    # "):
            above.append(line[6:])
        elif match := _FIELD.match(line):
            if not (said := match[2] or " ".join(above)):
                raise ValueError(f"setting {match[1]} has no comment that says what it is")
            found[match[1]], above = said, []
        elif line.startswith("    @"):  # methods: no field comes any more
            break
    return found
