"""`make chaos`: every drill on a stack of its own, one table, one JSON line.

DRILL=name runs one, STORM=n runs n random combinations, SEED=n fixes what is random.
"""

import json
import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import stack
from local.layout import ROOT
from rich.console import Console
from rich.table import Table

from chaos.drills import DRILLS, Drill
from chaos.world import Fleet, World, settled, whole

FLEET_S = 50
CALM_S = 10
HEALTHY_S = 120
STORM_DRILLS = 4
COLUMNS = ("drill", "published", "acknowledged", "stored", "missing", "duplicates", "windows_wrong", "healthy_s",
           "caught_up_s", "passed")  # fmt: skip
console = Console()


@dataclass
class Report:
    """What one drill showed: healthy_s counts from the end of the harm, caught_up_s from the end of the fleet."""

    drill: str
    figures: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Nothing missing, doubled, altered or wrong, and healthy again by itself."""
        return bool(self.figures["passed"])


def run(name: str, drills: list[Drill], seed: int, world: World) -> Report:
    """Breaks what the drills break, one after the other, while a fleet sends; then counts."""
    chance = random.Random(seed)
    options = [option for drill in drills for option in drill.fleet]
    world.start()
    try:
        fleet = Fleet(world, "fleet", "--rate-factor", "5", "--seed", str(seed), *options)
        fleet_until = time.monotonic() + FLEET_S
        time.sleep(CALM_S)
        for drill in drills:
            drill.hurt(world, chance)
        healthy_s = seconds_until_healthy(world)
        time.sleep(max(0.0, fleet_until - time.monotonic()))
        fleet.stop()
        folders = sorted(path.parent for path in world.folder.glob("truth/*/published.csv"))
        truth, verdict, caught_up_s = settled(world, folders)
        figures: dict[str, Any] = {"drill": name, "published": truth.published, "acknowledged": len(truth.acknowledged)}
        figures |= verdict | {"healthy_s": healthy_s, "caught_up_s": round(caught_up_s, 1), "seed": seed}
        enough = len(truth.acknowledged) > 0.9 * truth.published > 0
        figures["passed"] = bool(verdict) and whole(verdict) and healthy_s is not None and enough
        return Report(name, figures)
    finally:
        world.stop()


def seconds_until_healthy(world: World) -> float | None:
    """Seconds until every program is ready, both jobs run and new readings are stored; None if that did not come."""
    started = time.monotonic()
    harm_ended_ms = time.time_ns() // 1_000_000
    while time.monotonic() - started < HEALTHY_S:
        if world.healthy(harm_ended_ms):
            return round(time.monotonic() - started, 1)
        time.sleep(0.5)
    return None


def chosen(seed: int) -> list[tuple[str, list[Drill]]]:
    """What the environment asks for: one drill, random combinations, or all."""
    if name := os.environ.get("DRILL"):
        found = [drill for drill in DRILLS if drill.name == name]
        if not found:
            raise SystemExit(f"no drill {name!r}; there are: {', '.join(drill.name for drill in DRILLS)}")
        return [(name, found)]
    if storms := int(os.environ.get("STORM") or 0):
        breaking = [drill for drill in DRILLS if not drill.fleet and drill.name not in ("poison", "late")]
        return [(f"storm-{seed + n}", random.Random(seed + n).sample(breaking, STORM_DRILLS)) for n in range(storms)]
    return [(drill.name, [drill]) for drill in DRILLS]


def main() -> int:
    """Runs what was asked for. Exit status 0 only if every drill passed."""
    seed = int(os.environ.get("SEED") or 1)
    plan = chosen(seed)
    out = ROOT / "var" / "chaos"
    reports = []
    for number, (name, drills) in enumerate(plan, 1):
        console.print(f"[{number}/{len(plan)}] [bold]{name}[/bold]: {'; '.join(drill.what for drill in drills)}")
        try:
            report = run(name, drills, seed + number - 1 if name.startswith("storm") else seed, World(out / name))
        except (stack.StackError, RuntimeError) as error:
            report = Report(name, {"drill": name, "passed": False, "error": str(error)})
        reports.append(report)
        console.print(f"    {'green' if report.passed else 'RED'}: {report.figures}", highlight=False)
    table = Table(*COLUMNS)
    for report in reports:
        table.add_row(*(str(report.figures.get(column, "")) for column in COLUMNS))
    console.print(table)
    print(json.dumps(summary(reports, out)))
    return 0 if all(report.passed for report in reports) else 1


def summary(reports: list[Report], out: Path) -> dict[str, Any]:
    """The JSON line; each drill's figures are in var/bench/chaos.json."""

    def total(name: str) -> int:
        return sum(report.figures.get(name, 0) for report in reports)

    result = {
        "drills": len(reports),
        "passed": sum(report.passed for report in reports),
        "missing": total("missing"),
        "duplicates": total("duplicates"),
        "wrong_windows": total("windows_wrong"),
        "failed": [report.drill for report in reports if not report.passed],
    }
    bench = out.parent / "bench"
    bench.mkdir(exist_ok=True)
    (bench / "chaos.json").write_text(
        json.dumps(result | {"reports": [report.figures for report in reports]}, indent=1)
    )
    return result


if __name__ == "__main__":
    sys.exit(main())
