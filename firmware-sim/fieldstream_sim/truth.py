"""The truth folder: what was really sent, what went wrong on purpose, and what the broker acknowledged.

    sent.csv       one row per reading, written before it is published; removed at a clean end
    published.csv  one row per reading, written when its PUBACK came, or at the end with acked_at_ms empty
    faults.csv     labelled faults with event times
    events.csv     legitimate events that must raise no alarm
    rejects.csv    deliberately bad messages with the dead-letter reason they should meet, or accepted:FLAG
    summary.json   counts, written at a clean end

After a kill, sent.csv holds every reading that may have reached the broker; published.csv those that did.
"""

import base64
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO

PAYLOAD_BYTES_KEPT = 256


class Reading(NamedTuple):
    """One reading as a device means it."""

    device_id: str
    metric: str
    ts: int
    value: float


@dataclass(frozen=True)
class FaultRow:
    """One labelled fault; times in epoch milliseconds."""

    device_id: str
    metric: str
    asset_id: str
    kind: str
    amplitude_sigma: float
    start: int
    end: int


def now_ms() -> int:
    """Wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


class TruthFolder:
    """Writes one run's truth. Use as a context manager; without a folder it only counts."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.counts: dict[str, int] = {}
        self._files: dict[str, TextIO] = {}
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").unlink(missing_ok=True)
        self._open(folder, "sent", "device_id,metric,ts,value,published_at_ms")
        self._open(folder, "published", "device_id,metric,ts,value,published_at_ms,acked_at_ms")
        self._open(folder, "faults", "device_id,metric,asset_id,kind,amplitude_sigma,start,end")
        self._open(folder, "events", "asset_id,kind,start,end")
        self._open(folder, "rejects", "topic,reason,payload_base64,published_at_ms,acked_at_ms")

    def _open(self, folder: Path, name: str, header: str) -> None:
        file = (folder / f"{name}.csv").open("w", encoding="utf-8", newline="")
        file.write(header + "\n")
        file.flush()
        self._files[name] = file

    def _write(self, name: str, lines: Iterable[str]) -> None:
        file = self._files.get(name)
        if file:
            file.writelines(lines)

    def count(self, name: str, by: int = 1) -> None:
        """Adds to a figure of the summary."""
        self.counts[name] = self.counts.get(name, 0) + by

    def sent(self, readings: Iterable[Reading], at_ms: int) -> None:
        """To be called before the broker can see the readings."""
        self._write("sent", (f"{r.device_id},{r.metric},{r.ts},{r.value!r},{at_ms}\n" for r in readings))

    def published(self, readings: Iterable[Reading], sent_ms: int, acked_ms: int | None) -> None:
        """The fate of readings: acknowledged at that time, or (None) not by the end of the run."""
        acked = "" if acked_ms is None else str(acked_ms)
        lines = [f"{r.device_id},{r.metric},{r.ts},{r.value!r},{sent_ms},{acked}\n" for r in readings]
        self.count("published", len(lines))
        self.count("acknowledged" if acked else "unacknowledged", len(lines))
        self._write("published", lines)

    def faults(self, rows: Sequence[FaultRow]) -> None:
        """Labels of all faults of the run; replaces those written before."""
        if self.folder:
            self._files.pop("faults").close()
            self._open(self.folder, "faults", "device_id,metric,asset_id,kind,amplitude_sigma,start,end")
        self._write(
            "faults",
            (f"{f.device_id},{f.metric},{f.asset_id},{f.kind},{f.amplitude_sigma:g},{f.start},{f.end}\n" for f in rows),
        )
        self.counts["faults"] = len(rows)

    def event(self, asset_id: str, kind: str, start: int, end: int) -> None:
        """A legitimate event."""
        self._write("events", [f"{asset_id},{kind},{start},{end}\n"])
        self.count("events")

    def rejected(self, topic: str, reason: str, payload: bytes, sent_ms: int, acked_ms: int | None) -> None:
        """The fate of a deliberately bad message."""
        cut = base64.b64encode(payload[:PAYLOAD_BYTES_KEPT]).decode()
        self._write("rejects", [f"{topic},{reason},{cut},{sent_ms},{'' if acked_ms is None else acked_ms}\n"])
        self.count("malformed")

    def flush(self) -> None:
        """Hands everything written so far to the operating system."""
        for file in self._files.values():
            file.flush()

    def finish(self, **figures: Any) -> dict[str, Any]:
        """Ends the run cleanly: writes summary.json and returns it."""
        summary = {**self.counts, **figures}
        self.flush()
        if self.folder:
            self._files.pop("sent").close()
            (self.folder / "sent.csv").unlink()
            (self.folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        return summary

    def __enter__(self) -> "TruthFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
