"""Counts what arrived against a truth folder of the simulator. Shares no code with the pipeline.

The truth names every reading and whether the broker acknowledged it. From that alone follows what ClickHouse
must hold: each acknowledged reading once, and per sensor and 10 s the statistics that Python's `statistics`
module gives.
"""

import csv
import json
import math
import statistics
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WINDOW_MS = 10_000
# A fault counts as found by an alarm on its sensor or asset until this long after its end.
GRACE_MS = 30 * 60 * 1000
TOLERANCE = 1e-9

Series = tuple[str, str]  # device_id, metric
Identity = tuple[str, str, int]  # device_id, metric, ts in epoch ms


@dataclass(frozen=True)
class Fault:
    """One labelled fault; times in epoch ms."""

    device_id: str
    metric: str
    asset_id: str
    kind: str
    start: int
    end: int

    def matches(self, anomaly: dict[str, Any]) -> bool:
        """Whether the anomaly is on the fault's sensor or asset, within the fault and its grace."""
        same_sensor = anomaly["device_id"] == self.device_id and anomaly["metric"] in ("", self.metric)
        same_asset = bool(self.asset_id) and anomaly["asset_id"] == self.asset_id and not anomaly["metric"]
        near = self.start <= anomaly["detected"] and anomaly["started"] <= self.end + GRACE_MS
        return (same_sensor or same_asset) and near


@dataclass(frozen=True)
class Reject:
    """A bad message that was acknowledged: it must become a dead letter with this reason, or, where the reason is
    `accepted:FLAG`, a flagged reading under the time at which it was received."""

    topic: str
    reason: str
    published_ms: int


@dataclass
class Truth:
    """What one or more truth folders say."""

    values: dict[Identity, float] = field(default_factory=dict)
    acknowledged: set[Identity] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    published: int = 0

    @classmethod
    def read(cls, folders: Iterable[Path]) -> "Truth":
        """Reads the folders' CSV files; readings still in flight at a kill count as published, unacknowledged."""
        truth = cls()
        for folder in folders:
            for name in ("sent.csv", "published.csv"):
                for row in rows(folder / name):
                    identity = (row["device_id"], row["metric"], int(row["ts"]))
                    truth.values[identity] = float(row["value"])
                    if row.get("acked_at_ms"):
                        truth.acknowledged.add(identity)
            for row in rows(folder / "faults.csv"):
                place = (row["device_id"], row["metric"], row["asset_id"], row["kind"])
                truth.faults.append(Fault(*place, int(row["start"]), int(row["end"])))
            for row in rows(folder / "rejects.csv"):
                if row["acked_at_ms"]:
                    truth.rejects.append(Reject(row["topic"], row["reason"], int(row["published_at_ms"])))
        truth.published = len(truth.values)
        return truth

    @property
    def devices(self) -> set[str]:
        """All devices that published."""
        return {identity[0] for identity in self.values}

    @property
    def span(self) -> tuple[int, int]:
        """Smallest and largest event time."""
        times = [identity[2] for identity in self.values]
        return min(times), max(times)


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file; none if the file is missing. A last line that a kill cut short is left out."""
    if path.exists():
        with path.open(newline="") as file:
            yield from (row for row in csv.DictReader(file) if None not in row.values())


class Store:
    """ClickHouse over HTTP, asked in plain SQL by the contract's table names."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows as dictionaries."""
        body = f"{sql} FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0".encode()
        with urllib.request.urlopen(self._url, data=body, timeout=60) as answer:  # noqa: S310 - loopback
            return [json.loads(line) for line in answer]


def where(truth: Truth, column: str, *, slack_ms: int = 0) -> str:
    """Condition that selects the truth's devices and span of event time."""
    first, last = truth.span
    devices = ", ".join("'" + device.replace("'", "\\'") + "'" for device in sorted(truth.devices))
    return (
        f"device_id IN ({devices}) AND {column} BETWEEN fromUnixTimestamp64Milli({first - slack_ms}) "
        f"AND fromUnixTimestamp64Milli({last + slack_ms})"
    )


def check_rejects(truth: Truth, store: Store) -> int:
    """Bad messages that met neither the dead letter nor the flag they should have.

    Readings that were rightly accepted under another time are added to the truth, so that later checks expect them.
    """
    unaccounted = 0
    for reject in truth.rejects:
        near = (
            f"received_at BETWEEN fromUnixTimestamp64Milli({reject.published_ms - GRACE_MS}) AND "
            f"fromUnixTimestamp64Milli({reject.published_ms + GRACE_MS})"
        )
        if reject.reason.startswith("accepted:"):
            _, device, metric = reject.topic.split("/")
            found = store.query(
                f"SELECT toUnixTimestamp64Milli(ts) AS t, value FROM fieldstream.readings WHERE device_id = '{device}' "
                f"AND metric = '{metric}' AND has(flag_names, '{reject.reason.removeprefix('accepted:')}') AND {near}"
            )
            truth.values |= {(device, metric, row["t"]): row["value"] for row in found}
        else:
            found = store.query(
                f"SELECT 1 FROM fieldstream.dead_letters WHERE source = '{reject.topic}' "
                f"AND reason = '{reject.reason}' AND {near}"
            )
        unaccounted += not found
    return unaccounted


def check_readings(truth: Truth, store: Store) -> dict[str, int]:
    """stored, missing, duplicates, unexpected (never published) and altered (another value) readings."""
    found: dict[Identity, list[float]] = defaultdict(list)
    for row in store.query(
        f"SELECT device_id, metric, toUnixTimestamp64Milli(ts) AS t, value FROM fieldstream.readings "
        f"WHERE {where(truth, 'ts')}"
    ):
        found[row["device_id"], row["metric"], row["t"]].append(row["value"])
    return {
        "stored": len(found),
        "missing": len(truth.acknowledged - found.keys()),
        "duplicates": sum(len(values) - 1 for values in found.values()),
        "unexpected": len(found.keys() - truth.values.keys()),
        "altered": sum(1 for i, values in found.items() if i in truth.values and values[0] != truth.values[i]),
    }


def expected_windows(truth: Truth, stored: set[Identity]) -> dict[tuple[str, str, int], dict[str, float]]:
    """Statistics per sensor and window of the readings that are stored."""
    members: dict[tuple[str, str, int], list[tuple[int, float]]] = defaultdict(list)
    for device, metric, ts in stored:
        members[device, metric, ts // WINDOW_MS * WINDOW_MS].append((ts, truth.values[device, metric, ts]))
    windows = {}
    for key, readings in members.items():
        readings.sort()
        values = [value for _, value in readings]
        windows[key] = {
            "count": len(values),
            "mean": statistics.fmean(values),
            "stddev": statistics.pstdev(values),
            "min": min(values),
            "max": max(values),
            "first": values[0],
            "last": values[-1],
        }
    return windows


def check_windows(truth: Truth, store: Store) -> dict[str, int]:
    """windows_checked, windows_wrong (missing, surplus or with another figure), corrected ones among them."""
    stored = {
        (row["device_id"], row["metric"], row["t"])
        for row in store.query(
            f"SELECT device_id, metric, toUnixTimestamp64Milli(ts) AS t FROM fieldstream.readings "
            f"WHERE {where(truth, 'ts')}"
        )
    }
    expected = expected_windows(truth, stored & truth.values.keys())
    actual = {
        (row["device_id"], row["metric"], row["t"]): row
        for row in store.query(
            "SELECT device_id, metric, toUnixTimestamp64Milli(window_start) AS t, count, mean, stddev, min, max, "
            f"first, last FROM fieldstream.windows WHERE {where(truth, 'window_start', slack_ms=WINDOW_MS)}"
        )
    }
    wrong = sum(1 for key, figures in expected.items() if key not in actual or differs(figures, actual[key]))
    return {"windows_checked": len(expected), "windows_wrong": wrong + len(actual.keys() - expected.keys())}


def differs(expected: dict[str, float], actual: dict[str, Any]) -> bool:
    """Whether any figure differs beyond floating point's rounding."""
    scale = max(abs(expected["min"]), abs(expected["max"]), 1e-300)
    return any(
        not math.isclose(actual[name], value, rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale)
        for name, value in expected.items()
    )


def check_anomalies(truth: Truth, store: Store) -> dict[str, Any]:
    """faults_injected, faults_found, false_alarms, and the kinds missed; shadow findings do not count."""
    anomalies = store.query(
        "SELECT anomaly_id, device_id, metric, asset_id, kind, reason, toUnixTimestamp64Milli(started_at) AS started, "
        "toUnixTimestamp64Milli(detected_at) AS detected FROM fieldstream.anomalies "
        f"WHERE NOT shadow AND NOT startsWith(detector, 'incident') "  # an incident is its members
        f"AND {where(truth, 'detected_at', slack_ms=WINDOW_MS)}"
    )
    found = [fault for fault in truth.faults if any(fault.matches(anomaly) for anomaly in anomalies)]
    false = [anomaly for anomaly in anomalies if not any(fault.matches(anomaly) for fault in truth.faults)]
    return {
        "faults_injected": len(truth.faults),
        "faults_found": len(found),
        "faults_missed": [f"{f.device_id}/{f.metric} {f.kind}" for f in truth.faults if f not in found],
        "false_alarms": len(false),
        "false_alarm_reasons": [f"{a['device_id']}/{a['metric']} {a['kind']}: {a['reason']}" for a in false],
    }
