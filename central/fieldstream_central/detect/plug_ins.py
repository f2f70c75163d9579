"""Detectors of your own, loaded by entry point `fieldstream.detectors`.

The entry point names a class without arguments in its constructor. One instance serves all series; what it must
remember about a series goes into `state`, a dict of JSON values that is kept, at most 4 KB, with that series.
"""

from importlib.metadata import entry_points
from typing import Any, Protocol

from fieldstream_central.detect.model import Finding, Window

GROUP = "fieldstream.detectors"


class Detector(Protocol):
    """What a plug-in is.

    `on_window` is called once per window and series, in order of event time, never for a correction; a Finding means
    the condition holds, None that it does not. It may raise: that is counted and shown, and others go on.
    """

    name: str
    version: str

    def on_window(self, window: Window, state: dict[str, Any]) -> Finding | None:
        """Judges one window of one series."""


class PlugInError(Exception):
    """A named plug-in is not installed or cannot be loaded."""


def load_plug_ins(names: tuple[str, ...] | None = None) -> tuple[Detector, ...]:
    """The installed plug-ins of these names; None: all. Raises PlugInError for a name that is not there."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    wanted = sorted(found) if names is None else list(names)
    loaded = []
    for name in wanted:
        if name not in found:
            raise PlugInError(f"no detector {name!r} is installed; known are {', '.join(sorted(found)) or 'none'}")
        try:
            loaded.append(found[name].load()())
        except Exception as error:
            raise PlugInError(f"detector {name!r} from {found[name].value} cannot be loaded: {error}") from error
    return tuple(loaded)
