"""One secure stack for all tests here, in a folder of its own on the contract's ports and 20,000."""

from collections.abc import Iterator

import pytest
from local import stack
from local.layout import DEFAULT_PORTS, ROOT, Layout

from secure.tries import Plant

OFFSET = 20_000


@pytest.fixture(scope="session")
def plant() -> Iterator[Plant]:
    """The stack, empty at first; stopped at the end. Its logs stay in var/test-secure until the next time."""
    ports = {name: port + OFFSET for name, port in DEFAULT_PORTS.items()}
    layout = Layout(ROOT / "var" / "test-secure", ports, secure=True)
    stack.clean(layout)
    layout.var.mkdir(parents=True, exist_ok=True)
    try:
        stack.up(layout)
        yield Plant.with_strangers(layout, layout.var / "strangers")
    finally:
        stack.down(layout)
