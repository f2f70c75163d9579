"""A folder of recorded data: readings.csv or readings.parquet, optional assets.csv and maintenance.csv.

Readings have device_id, metric, ts and value, ordered by ts; further columns are left alone. truth.csv is never opened.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldstream_central.detect.config import Maintenance, contradictory
from fieldstream_central.detect.windows import Key, SensorEntry

LIMITS = ("low_low", "low", "high", "high_high")
_READING = ("device_id", "metric", "ts", "value")
Reading = tuple[Key, int, float]


class DatasetError(Exception):
    """A dataset that cannot be read; names file, line and remedy."""


@dataclass
class Dataset:
    """A folder of recorded data."""

    readings_file: Path
    registry: dict[Key, SensorEntry]
    maintenance: tuple[Maintenance, ...] = ()

    def readings(self) -> Iterator[Reading]:
        """Readings in file order, NaN where the value is empty. Raises DatasetError."""
        read = _read_parquet if self.readings_file.suffix == ".parquet" else _read_csv
        return read(self.readings_file)


def open_dataset(folder: Path) -> Dataset:
    """Dataset of a folder. Raises DatasetError."""
    found = [folder / name for name in ("readings.csv", "readings.parquet") if (folder / name).exists()]
    if not found:
        raise DatasetError(f"{folder}: no readings.csv or readings.parquet there: name the folder that holds it")
    if len(found) > 1:
        raise DatasetError(f"{folder}: readings.csv and readings.parquet are both there: remove one")
    assets = folder / "assets.csv"
    registry = read_assets(assets) if assets.exists() else {}
    maintenance = folder / "maintenance.csv"
    return Dataset(found[0], registry, read_maintenance(maintenance) if maintenance.exists() else ())


def _columns(path: Path, header: list[str], wanted: Iterable[str]) -> list[int]:
    missing = [name for name in wanted if name not in header]
    if missing:
        raise DatasetError(f"{path}: line 1: no column {', '.join(missing)}: the header must name it")
    return [header.index(name) for name in wanted]


def _read_csv(path: Path) -> Iterator[Reading]:
    keys: dict[Key, Key] = {}
    number = 1
    try:
        with path.open(newline="", encoding="utf-8-sig", buffering=1 << 20) as file:
            rows = csv.reader(file)
            device, metric, at, measured = _columns(path, next(rows, []), _READING)
            for row in rows:
                number += 1
                if not row:
                    continue
                key = (row[device], row[metric])
                yield keys.get(key) or _named(keys, key), int(row[at]), float(row[measured] or "nan")
    except (ValueError, IndexError, csv.Error) as error:
        raise DatasetError(
            f"{path}: line {number}: {error}: device_id and metric must be given, ts be epoch milliseconds, value a "
            "number, all in UTF-8; mend the line"
        ) from error


def _named(keys: dict[Key, Key], key: Key) -> Key:
    if "" in key:
        raise ValueError("a name is empty")
    keys[key] = key
    return key


def _read_parquet(path: Path) -> Iterator[Reading]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    keys: dict[Key, Key] = {}
    number = 0
    try:
        file = pq.ParquetFile(path)
        _columns(path, file.schema_arrow.names, _READING)
        for batch in file.iter_batches(columns=list(_READING)):
            devices, metrics, times, values = (_plain(pa, name, batch.column(name)) for name in _READING)
            for device, metric, ts, value in zip(devices, metrics, times, values, strict=True):
                number += 1
                if ts is None:
                    raise ValueError("ts is empty")
                key = (device or "", metric or "")
                yield keys.get(key) or _named(keys, key), ts, math.nan if value is None else value
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DatasetError(
            f"{path}: after row {number}: {error}: device_id and metric must be text, ts epoch milliseconds or a "
            "timestamp, value a number; mend the row, or write readings.csv"
        ) from error


def _plain(pa: Any, name: str, column: Any) -> list[Any]:
    """A column as Python values: text, epoch milliseconds, or numbers."""
    kind = column.type
    if name == "ts" and pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("ms", kind.tz), safe=False).cast(pa.int64())
    elif name == "ts" and not pa.types.is_integer(kind):
        raise ValueError(f"ts is of type {kind}")
    elif name == "value":
        column = column.cast(pa.float64())
    elif name != "ts":
        column = column.cast(pa.string())
    found: list[Any] = column.to_pylist()
    return found


def read_assets(path: Path) -> dict[Key, SensorEntry]:
    """Registry of assets.csv. Raises DatasetError, also for limits that contradict each other."""
    registry: dict[Key, SensorEntry] = {}
    for number, row in _rows(path, ("device_id", "metric", "asset_id")):
        try:
            limits = [float(row[name]) if row.get(name) else None for name in LIMITS]
        except ValueError as error:
            raise DatasetError(f"{path}: line {number}: {error}: a limit is a number or empty") from error
        if contradictory((limits[0], limits[1], limits[2], limits[3])):
            raise DatasetError(
                f"{path}: line {number}: limits of {row['device_id']}/{row['metric']} contradict each other "
                f"({', '.join(f'{name}={row.get(name)}' for name in LIMITS)}): they must rise from low_low to high_high"
            )
        registry[row["device_id"], row["metric"]] = SensorEntry(
            row["asset_id"] or "", row.get("asset_type") or "", row.get("unit") or None, *limits
        )
    return registry


def read_maintenance(path: Path) -> tuple[Maintenance, ...]:
    """Planned maintenance: asset_id, device_id, metric (each may be empty), start, end. Raises DatasetError."""
    found = []
    for number, row in _rows(path, ("start", "end")):
        try:
            start, end = int(row["start"]), int(row["end"])
        except ValueError as error:
            raise DatasetError(f"{path}: line {number}: {error}: start and end are epoch milliseconds") from error
        names = [row.get(name) or "" for name in ("asset_id", "device_id", "metric")]
        found.append(Maintenance(start, end, *names))
    return tuple(found)


def _rows(path: Path, wanted: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: {error}: write it in UTF-8") from error
    rows = csv.DictReader(io.StringIO(text))
    _columns(path, list(rows.fieldnames or []), wanted)
    for row in rows:
        yield rows.line_num, {name: value or "" for name, value in row.items() if name}
