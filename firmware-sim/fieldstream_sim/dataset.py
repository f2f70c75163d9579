"""A labelled dataset without any broker, faster than real time.

readings.csv     device_id, metric, ts (epoch ms), value; ordered by ts; a few readings doubled
assets.csv       device_id, metric, asset_id, asset_type, unit, low_low, low, high, high_high
maintenance.csv  asset_id, device_id, metric, start, end: planned, so a detector may know
truth.csv        device_id, metric, asset_id, kind, amplitude_sigma, start, end
events.csv       asset_id, kind, start, end: legitimate, nothing to alarm
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fieldstream_sim.fleet import Fleet
from fieldstream_sim.plant import Plant
from fieldstream_sim.random_plant import Schedule, random_events, random_faults, random_plant

START_MS = 1_767_225_600_000  # 1 January 2026 UTC
SLICE_MS = 3_600_000
DOUBLED_SHARE = 0.0005
SETTLE_MS = 7_200_000


def labelled_plant(seed: int, sensors: int, period_ms: int, schedule: Schedule) -> Plant:
    """A random plant with its faults and events."""
    plant = random_plant(seed, sensors, period_ms)
    faults = random_faults(plant, seed, schedule)
    return replace(plant, faults=faults, events=random_events(plant, seed, schedule, faults))


def write_dataset(
    plant: Plant, seed: int, days: float, folder: Path, *, progress: Callable[[float], None] = lambda _: None
) -> dict[str, int]:
    """Writes the dataset folder; returns how many readings, faults and events it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    period_ms = min(sensor.period_ms for sensor in plant.sensors)
    fleet = Fleet(plant, seed, START_MS, grid_s=min(max(period_ms / 1000, 1.0), 60.0))
    count = 0
    with (folder / "readings.csv").open("w", encoding="utf-8", buffering=1 << 20) as file:
        file.write("device_id,metric,ts,value\n")
        for share, lines in _slices(fleet, seed, days):
            file.writelines(lines)
            count += len(lines)
            progress(share)
    faults = fleet.fault_rows()
    _write(
        folder / "truth.csv",
        "device_id,metric,asset_id,kind,amplitude_sigma,start,end",
        [
            f"{f.device_id},{f.metric},{f.asset_id},{f.kind},{f.amplitude_sigma:g},{f.start},{f.end}"
            for f in sorted(faults, key=lambda row: row.start)
        ],
    )
    _write_assets(folder / "assets.csv", plant)
    times = [(e, START_MS + round(e.start_s * 1000), round(e.duration_s * 1000)) for e in plant.events]
    _write(
        folder / "events.csv",
        "asset_id,kind,start,end",
        [f"{event.asset_id},{event.kind},{start},{start + lasts}" for event, start, lasts in times],
    )
    # Planned work is announced with a margin: machines take time to settle.
    _write(
        folder / "maintenance.csv",
        "asset_id,device_id,metric,start,end",
        [
            f"{event.asset_id},,,{start - 300_000},{start + lasts + SETTLE_MS}"
            for event, start, lasts in times
            if event.kind == "maintenance"
        ],
    )
    return {"readings": count, "faults": len(faults), "events": len(plant.events)}


def _slices(fleet: Fleet, seed: int, days: float) -> Iterator[tuple[float, list[str]]]:
    rng = np.random.default_rng([seed, 13])
    end_ms = START_MS + round(days * 86_400_000)
    streams = [(f"{key[0]},{key[1]},", stream) for key, stream in fleet.streams.items()]
    for begin in range(START_MS, end_ms, SLICE_MS):
        until = min(begin + SLICE_MS, end_ms)
        times, values, owners = [], [], []
        for number, (_, stream) in enumerate(streams):
            ts, measured = stream.slice(begin, until)
            times.append(ts)
            values.append(measured)
            owners.append(np.full(len(ts), number))
        ts_all, value_all, owner_all = np.concatenate(times), np.concatenate(values), np.concatenate(owners)
        order = np.argsort(ts_all, kind="stable")
        doubled = order[rng.uniform(size=len(order)) < DOUBLED_SHARE]
        order = np.concatenate([order, doubled])
        order = order[np.argsort(ts_all[order], kind="stable")]
        yield (
            (until - START_MS) / (end_ms - START_MS),
            [
                f"{streams[owner][0]}{at},{value!r}\n"
                for owner, at, value in zip(
                    owner_all[order].tolist(), ts_all[order].tolist(), value_all[order].tolist(), strict=True
                )
            ],
        )
        fleet.forget_before(begin)


def _write_assets(path: Path, plant: Plant) -> None:
    def text(limit: float | None) -> str:
        return "" if limit is None else f"{limit:g}"

    _write(
        path,
        "device_id,metric,asset_id,asset_type,unit,low_low,low,high,high_high",
        [
            f"{s.device_id},{s.metric},{s.asset_id},{s.asset_type},{s.unit},"
            f"{text(s.low_low)},{text(s.low)},{text(s.high)},{text(s.high_high)}"
            for s in plant.sensors
        ],
    )


def _write(path: Path, header: str, lines: list[str]) -> None:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
