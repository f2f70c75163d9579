"""Sensors that go beyond a limit, one after the other all the time: the latest message says how long alarms stood."""

import csv
import statistics
from pathlib import Path

from chaos.verdict import notifications
from chaos.world import World
from local import oracle

PROBES = 240
EVERY_S = 5.0
FIRST_S = 15.0
FAULT_S = 25


def write_probes(path: Path, name: str) -> Path:
    """A plant file: PROBES sensors at 1 Hz, each beyond its limit once."""
    parts = [f'site = "{name}"\n']
    for number in range(PROBES):
        probe = f"{name}-{number:03}"
        parts.append(
            f'[[asset]]\nid = "{probe}"\ntype = "probe"\narea = "{probe}"\n[[asset.device]]\nid = "{probe}"\n'
            '[[asset.device.sensor]]\nmetric = "m0"\nperiod_ms = 1000\nbase = 50.0\nnoise = 0.5\nhigh_high = 100.0\n'
        )
    parts += [
        f'[[fault]]\ndevice = "{name}-{number:03}"\nmetric = "m0"\nkind = "range"\n'
        f"start_s = {FIRST_S + EVERY_S * number}\nduration_s = {FAULT_S}\n"
        for number in range(PROBES)
    ]
    path.write_text("\n".join(parts))
    return path


def leave_out_cut_faults(truth: Path) -> None:
    """Takes faults out of a truth folder that the end of the fleet cut short: no whole window saw them."""
    path = truth / "faults.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if int(row["end"]) - int(row["start"]) >= FAULT_S * 1000)


def delays_s(world: World, truth: str) -> list[float]:
    """From each probe's first reading beyond its limit to the message about it, seconds."""
    told: dict[str, int] = {}
    for entry in notifications(world):
        if any(alert["status"] == "firing" for alert in entry["alerts"]):
            told.setdefault(entry["labels"].get("asset", ""), entry["received_at_ms"])
    faults = oracle.Truth.read([world.drill_folder / truth]).faults
    return [(told[fault.asset_id] - fault.start) / 1000 for fault in faults if fault.asset_id in told]


def gap_s(delays: list[float]) -> float:
    """By how much the latest message was later than messages are."""
    return max(delays) - statistics.median(delays)
