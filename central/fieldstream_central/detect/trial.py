"""Other settings tried on stored windows: which alarms would have come, which not, and what people thought of those.

`python -m fieldstream_central.detect.trial`: a Trial as JSON on standard input, the result as JSON on standard output.
A process of its own, as low in priority as can be: it must not hold up whoever asked.
"""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fieldstream_central.detect.compare import SAME_MS, Change, compare_episodes
from fieldstream_central.detect.config import DetectionConfig
from fieldstream_central.detect.model import Anomaly
from fieldstream_central.detect.replay import replay_windows
from fieldstream_central.detect.stored import StoredRange
from fieldstream_central.store.clickhouse import ClickHouse

# A million windows take one to two minutes, twice; who wants more should name an asset or a shorter time.
MOST_WINDOWS = 2_000_000
_LISTED = 100

_COUNT = """
SELECT count() AS n FROM fieldstream.windows_data WHERE window_start >= {from:DateTime64(3)}
    AND window_start < {to:DateTime64(3)} AND {asset:String} IN ('', asset_id)
"""
# What people think of the episodes of this time: of each person's marks the newest.
_MARKED = """
SELECT e.device_id AS device_id, e.metric AS metric, toUnixTimestamp64Milli(e.started_at) AS started_at,
    toUnixTimestamp64Milli(ifNull(e.ended_at, e.evidence_end)) AS ended_at, groupUniqArray(m.mark) AS marks
FROM fieldstream.anomalies AS e
INNER JOIN (SELECT anomaly_id, who, argMax(v.mark, v.revision) AS mark FROM fieldstream.alarm_events AS v
    WHERE v.holds AND v.action = 'mark' GROUP BY anomaly_id, who) AS m ON m.anomaly_id = e.anomaly_id
WHERE NOT e.shadow AND e.started_at >= {from:DateTime64(3)} AND e.started_at < {to:DateTime64(3)}
    AND {asset:String} IN ('', e.asset_id)
GROUP BY e.anomaly_id, device_id, metric, started_at, ended_at
"""


class TrialError(Exception):
    """A trial that cannot be made; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Settings of one layer against those in force, over [start, end) in epoch milliseconds.

    `layer` is all, asset_type, metric or sensor; `name` is what the layer is about, empty for all.
    """

    clickhouse: str
    detection_file: str
    layer: str
    name: str
    settings: dict[str, Any]
    start: int
    end: int
    asset_id: str = ""


@dataclass(frozen=True)
class Verdict:
    """What would have changed. `missed`: of `useful`, alarms that people marked useful; `avoided`: of `unwanted`, those
    that they marked false or expected."""

    windows: int
    before: int
    after: int
    added: int
    removed: int
    useful: int
    missed: int
    unwanted: int
    avoided: int
    changes: list[dict[str, Any]]


def settings_in_force(detection_file: Path | None) -> DetectionConfig:
    """The settings that detection runs with. Raises DetectionConfigError."""
    return DetectionConfig.load(detection_file) if detection_file else DetectionConfig()


def candidate(live: DetectionConfig, layer: str, name: str, settings: dict[str, Any]) -> DetectionConfig:
    """The settings in force with some of one layer replaced. Raises DetectionConfigError."""
    table: dict[str, Any] = {"all": settings} if layer == "all" else {layer: {name: settings}}
    change = DetectionConfig.from_table(table, "the settings to try")
    layers = {kind: {key: dict(values) for key, values in its.items()} for kind, its in live.layers.items()}
    changed = {key: getattr(change.all, key) for key in settings} if layer == "all" else {}
    if layer != "all":
        layers[layer].setdefault(name, {}).update({key: change.layers[layer][name][key] for key in settings})
    return DetectionConfig(
        all=type(live.all)(**asdict(live.all) | changed),
        layers=layers,
        maintenance=live.maintenance,
        plug_ins=live.plug_ins,
    )


def judge(change: Change, marked: Iterable[dict[str, Any]], *, windows: int) -> Verdict:
    """The verdict from what changed and what people marked."""
    counts = {"useful": 0, "missed": 0, "unwanted": 0, "avoided": 0}
    for episode in marked:
        gone = any(_overlap(episode, other) for other in change.removed)
        if "useful" in episode["marks"]:
            counts["useful"] += 1
            counts["missed"] += gone
        else:
            counts["unwanted"] += 1
            counts["avoided"] += gone
    listed = [_row("removed", one) for one in change.removed] + [_row("added", one) for one in change.added]
    return Verdict(
        windows=windows,
        before=change.kept + len(change.removed),
        after=change.kept + len(change.added),
        added=len(change.added),
        removed=len(change.removed),
        changes=listed[:_LISTED],
        **counts,
    )


def run(trial: Trial) -> Verdict:
    """Runs detection twice. Raises TrialError, DetectionConfigError or ClickHouseError."""
    span = [datetime.fromtimestamp(at / 1000, UTC) for at in (trial.start, trial.end)]
    params = {"from": span[0], "to": span[1], "asset": trial.asset_id}
    with ClickHouse(trial.clickhouse) as clickhouse:
        windows = clickhouse.value(_COUNT, params)
        if windows > MOST_WINDOWS:
            raise TrialError(
                f"{windows:,} windows are too many to try at once (at most {MOST_WINDOWS:,}); "
                "name an asset or a shorter time"
            )
        marked = clickhouse.rows(_MARKED, params, {"output_format_json_quote_64bit_integers": 0})
    live = settings_in_force(Path(trial.detection_file) if trial.detection_file else None)
    other = candidate(live, trial.layer, trial.name, trial.settings)
    live.shadow = None
    stored = StoredRange(trial.clickhouse, span[0], span[1], trial.asset_id)
    before, after = (replay_windows(stored.windows(), config).episodes.values() for config in (live, other))
    return judge(compare_episodes(before, after), marked, windows=windows)


def _overlap(episode: dict[str, Any], other: Anomaly) -> bool:
    if (episode["device_id"], episode["metric"]) != (other.device_id, other.metric):
        return False
    ended = other.ended_at or other.detected_at
    return bool(other.started_at - SAME_MS <= episode["ended_at"] and episode["started_at"] <= ended + SAME_MS)


def _row(change: str, episode: Anomaly) -> dict[str, Any]:
    names = ("device_id", "metric", "kind", "severity", "detected_at", "reason")
    return {"change": change} | {name: getattr(episode, name) for name in names}


if __name__ == "__main__":
    os.nice(19)
    sys.stdout.write(json.dumps(asdict(run(Trial(**json.load(sys.stdin))))))
