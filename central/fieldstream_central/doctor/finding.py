"""What a look at a part finds, and how the looks are taken."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fieldstream_central.settings import Settings


@dataclass(frozen=True)
class Finding:
    """Something that was looked at, or could not be. Without `remedy` all is well with it; `said` is for people.

    `down`: what needs this part cannot be judged.
    """

    part: str
    said: str
    remedy: str = ""
    looked_at: bool = True
    down: bool = False

    @property
    def well(self) -> bool:
        """Looked at, and nothing is to be done."""
        return self.looked_at and not self.remedy

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return {"part": self.part, "well": self.well, "said": self.said, "remedy": self.remedy or None}


@dataclass(frozen=True)
class Check:
    """A look at one part. `needs`: parts without which the look says nothing; `remedy`: what to do if it fails."""

    part: str
    look: Callable[[Settings], Iterable[Finding]]
    remedy: str
    needs: tuple[str, ...] = ()


def examine(settings: Settings, checks: Iterable[Check]) -> Iterator[Finding]:
    """All findings, part by part. What needs a part that is down is not looked at: it would only repeat the fault.

    A look that raises is a finding itself, with the error's text, and its part is down.
    """
    down: set[str] = set()
    waiting = list(checks)
    with ThreadPoolExecutor(8) as pool:
        while waiting:
            parts = {check.part for check in waiting}
            now = [check for check in waiting if not parts & set(check.needs)]
            waiting = [check for check in waiting if check not in now]
            looked = pool.map(lambda check: _look(settings, check, down & set(check.needs)), now)
            for check, found in zip(now, list(looked), strict=True):
                if any(finding.down for finding in found):
                    down.add(check.part)
                yield from found


def _look(settings: Settings, check: Check, down: set[str]) -> list[Finding]:
    if down:
        return [
            Finding(check.part, f"not looked at, because of {' and '.join(sorted(down))}", looked_at=False, down=True)
        ]
    try:
        return list(check.look(settings))
    except Exception as error:  # whatever it is, it is what the part says
        return [Finding(check.part, f"{type(error).__name__}: {error}".splitlines()[0], check.remedy, down=True)]
