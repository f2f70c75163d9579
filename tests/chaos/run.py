"""`make chaos`: breaks things on purpose and counts; one table, one JSON line.

The drills follow each other on one stack, each with a fleet and a truth of its own; a drill that needs it, and the
one after a red one, gets a new stack. DRILL=name[,name] runs some, STORM=n runs n random combinations, SEED=n fixes
what is random.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldstream_central.stream.cluster import JobError
from local import stack
from local.layout import ROOT
from rich.console import Console
from rich.table import Table

from chaos.drills import DRILLS
from chaos.harm import Drill, DrillError
from chaos.plant import write_plant
from chaos.verdict import SETTLE_S, settled, whole
from chaos.world import Fleet, World

FLEET_S = 45
CALM_S = 10
HEALTHY_S = 300
STORM_DRILLS = 4
COLUMNS = {"drill": "drill", "published": "published", "acknowledged": "acknowledged", "stored": "stored",
           "missing": "missing", "duplicates": "duplicates", "windows_wrong": "wrong windows",
           "notifications_lost": "lost", "notifications_doubled": "doubled", "healthy_s": "healthy s",
           "caught_up_s": "caught up s", "passed": "passed"}  # fmt: skip
console = Console(width=160)


@dataclass
class Report:
    """What one drill showed: healthy_s counts from the end of the harm, caught_up_s from the end of the fleet."""

    drill: str
    figures: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Nothing missing, doubled, altered or wrong, and healthy again by itself."""
        return bool(self.figures["passed"])

    @property
    def skipped(self) -> str:
        """Why it was not done; empty if it was."""
        return str(self.figures.get("skipped", ""))


def run(name: str, drills: Sequence[Drill], seed: int, world: World, *, settle_s: float = SETTLE_S) -> Report:
    """Breaks what the drills break on a running stack, one after the other, while a fleet sends; then counts."""
    chance = random.Random(seed)
    options = [option for drill in drills for option in drill.fleet]
    silent = next((drill.silent_from_s for drill in drills if drill.silent_from_s is not None), None)
    world.drill_folder = world.folder / "truth" / name
    world.drill_folder.mkdir(parents=True)
    began_ms = time.time_ns() // 1_000_000
    plant = write_plant(world.drill_folder / "plant.toml", name, silent_from_s=silent)
    fleet = Fleet(world, plant, "--seed", str(seed), *options)
    fleet_until = time.monotonic() + FLEET_S
    try:
        time.sleep(CALM_S)
        for drill in drills:
            if drill.calm:
                seconds_until_healthy(world)
            drill.hurt(world, chance)
        healthy_s = seconds_until_healthy(world)
        time.sleep(max(0.0, fleet_until - time.monotonic()))
    finally:
        fleet.stop()
    truth, verdict, caught_up_s = settled(world, began_ms, settle_s)
    figures: dict[str, Any] = {"drill": name, "published": truth.published, "acknowledged": len(truth.acknowledged)}
    figures |= verdict | {"healthy_s": healthy_s, "caught_up_s": round(caught_up_s, 1), "seed": seed}
    enough = len(truth.acknowledged) + len(world.removed) > 0.9 * truth.published > 0
    figures["passed"] = whole(verdict) and healthy_s is not None and enough
    return Report(name, figures)


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
    """What the environment asks for: some drills, random combinations, or all."""
    if names := os.environ.get("DRILL"):
        known = {drill.name: drill for drill in DRILLS}
        if unknown := [name for name in names.split(",") if name not in known]:
            raise SystemExit(f"no drill {unknown[0]!r}; there are: {', '.join(known)}")
        return [(name, [known[name]]) for name in names.split(",")]
    if storms := int(os.environ.get("STORM") or 0):
        breaking = [drill for drill in DRILLS if drill.storm]
        return [(f"storm-{seed + n}", random.Random(seed + n).sample(breaking, STORM_DRILLS)) for n in range(storms)]
    return [(drill.name, [drill]) for drill in DRILLS]


class Stacks:
    """The stack that drills share, and those that a drill has to itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shared: World | None = None

    def run(self, name: str, drills: list[Drill], seed: int) -> Report:
        """One drill, on a stack that is whole."""
        alone = next((drill.alone for drill in drills if drill.alone is not None), None)
        if alone is not None or self._shared is None:
            self.stop()
            settings = dict(alone or {})
            if make := settings.pop("code", None):
                settings["code"] = make(self._folder / f"code-{name}")
            self._shared = World(self._folder / "stack", **settings)
            self._shared.start()
        world = self._shared
        if lacks := next((reason for drill in drills if (reason := drill.lacks(world))), ""):
            return Report(name, {"drill": name, "passed": True, "skipped": lacks})
        try:
            report = run(name, drills, seed, world)
        except (stack.StackError, DrillError, JobError, OSError, subprocess.SubprocessError) as error:
            report = Report(name, {"drill": name, "passed": False, "error": f"{type(error).__name__}: {error}"})
        if alone is not None or not report.passed:
            self.stop()
        return report

    def stop(self) -> None:
        """Ends the stack, if there is one."""
        if self._shared:
            self._shared.stop()
        self._shared = None


def main() -> int:
    """Runs what was asked for. Exit status 0 only if every drill passed."""
    seed = int(os.environ.get("SEED") or 1)
    plan = chosen(seed)
    out = ROOT / "var" / "chaos"
    stacks = Stacks(out)
    reports: list[Report] = []
    try:
        for number, (name, drills) in enumerate(plan, 1):
            console.print(f"[{number}/{len(plan)}] [bold]{name}[/bold]: {'; '.join(drill.what for drill in drills)}")
            report = stacks.run(name, drills, seed + number - 1 if name.startswith("storm") else seed)
            reports.append(report)
            state = f"not done: {report.skipped}" if report.skipped else "green" if report.passed else "RED"
            console.print(f"    {state} {report.figures}", highlight=False, markup=False)
    finally:
        stacks.stop()
    table = Table(*COLUMNS.values())
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
        "passed": sum(report.passed and not report.skipped for report in reports),
        "skipped": [report.drill for report in reports if report.skipped],
        "missing": total("missing"),
        "duplicates": total("duplicates"),
        "wrong_windows": total("windows_wrong"),
        "notifications_lost": total("notifications_lost"),
        "notifications_doubled": total("notifications_doubled"),
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
