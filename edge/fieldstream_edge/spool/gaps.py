"""Known gaps: seqs that will never arrive, kept in the file `gaps` so that the centre learns of them after any stop."""

import json
import logging
from pathlib import Path
from typing import NamedTuple

from fieldstream_edge.spool.files import Files, write_whole

log = logging.getLogger(__name__)
_MOST = 100  # ranges in a heartbeat; older ones were in the heartbeats before


class Gap(NamedTuple):
    """Seqs `first` to `last`, both inclusive. `reason`: full, age (dropped by policy) or damaged."""

    first: int
    last: int
    reason: str


class Gaps:
    """The gaps of one epoch, oldest first."""

    def __init__(self, directory: Path, epoch: int, files: Files) -> None:
        self._directory = directory
        self._epoch = epoch
        self._files = files
        self._saved = True
        self.ranges: tuple[Gap, ...] = _load(directory, epoch)

    def add(self, gap: Gap) -> None:
        """Takes in a gap; one that continues or repeats a known one is joined with it."""
        joined: list[Gap] = []
        for each in sorted((*self.ranges, gap)):
            before = joined[-1] if joined else None
            if before and before.reason == each.reason and each.first <= before.last + 1:
                joined[-1] = Gap(before.first, max(before.last, each.last), each.reason)
            else:
                joined.append(each)
        self.ranges = tuple(joined[-_MOST:])
        self._saved = False

    def save(self) -> None:
        """Writes what is new. A disk that is too full for it gets another attempt at the next call."""
        if self._saved:
            return
        content = json.dumps({"epoch": self._epoch, "gaps": self.ranges}).encode()
        try:
            write_whole(self._files, self._directory / "gaps", content)
            self._saved = True
        except OSError as error:
            log.warning("%s could not be written: %s; it is tried again", self._directory / "gaps", error)


def _load(directory: Path, epoch: int) -> tuple[Gap, ...]:
    try:
        state = json.loads((directory / "gaps").read_text())
        if state["epoch"] != epoch:
            return ()
        return tuple(Gap(int(first), int(last), str(reason)) for first, last, reason in state["gaps"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError) as error:
        log.error("%s is damaged (%s): earlier gaps are not reported again", directory / "gaps", error)
        return ()
