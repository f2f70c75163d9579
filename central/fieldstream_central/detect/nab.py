"""Replay of data in the layout of the Numenta Anomaly Benchmark: CATEGORY/FILE.csv with timestamp,value.

Each row is scored in one pass from what came before it; no label is read and no file is treated specially.
"""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fieldstream_central.detect.dataset import DatasetError
from fieldstream_central.detect.novelty import Novelty

DETECTOR = "fieldstream"


def replay_nab(source: Path, target: Path) -> int:
    """Scores every CATEGORY/FILE.csv below `source` into `target`; returns the number of files. Raises DatasetError."""
    paths = sorted(source.glob("*/*.csv"))
    if not paths:
        raise DatasetError(f"{source}: no CATEGORY/FILE.csv there: name the folder that holds the categories")
    for path in paths:
        folder = target / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{DETECTOR}_{path.name}").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("timestamp", "value", "anomaly_score"))
            novelty = Novelty()
            for stamp, at_s, text, value in _rows(path):
                writer.writerow((stamp, text, f"{novelty.score(at_s, value):.6f}"))
    return len(paths)


def _rows(path: Path) -> Iterator[tuple[str, float, str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not {"timestamp", "value"} <= set(rows.fieldnames or ()):
            raise DatasetError(f"{path}: line 1: columns timestamp,value expected: mend the header")
        for row in rows:
            try:
                moment = datetime.fromisoformat(row["timestamp"].strip())
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                yield row["timestamp"], moment.timestamp(), row["value"], float(row["value"] or "nan")
            except (ValueError, TypeError, AttributeError) as error:
                raise DatasetError(f"{path}: line {rows.line_num}: {error}: mend or remove the line") from error
