"""What the doctor found, for people and for programs."""

import json

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn

from fieldstream_central.doctor import ours, outside
from fieldstream_central.doctor.finding import Finding, examine
from fieldstream_central.settings import Settings

CHECKS = (*outside.CHECKS, *ours.CHECKS)


def report(settings: Settings, *, as_json: bool) -> int:
    """Prints the findings, faults last so that they stand above the prompt. Returns the exit status."""
    progress = Progress(SpinnerColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True)
    found: list[Finding] = []
    with progress:
        task = progress.add_task("looking ...")
        for finding in examine(settings, CHECKS):
            found.append(finding)
            progress.update(task, description=finding.part)
    faults = [finding for finding in found if finding.remedy]
    console = Console(highlight=False, markup=not as_json, emoji=False, soft_wrap=True)
    if as_json:
        console.print(json.dumps([finding.as_row() for finding in found]))
        return 1 if faults else 0
    for finding in found:
        if not finding.remedy:
            word = "[green]well[/green] " if finding.well else "[yellow]later[/yellow]"
            console.print(f"{word} {finding.part:<13} {escape(finding.said)}")
    for finding in faults:
        console.print(
            f"[bold red]fault[/bold red] {finding.part:<13} {escape(finding.said)}\n      -> {escape(finding.remedy)}"
        )
    console.print(f"{len(faults)} faults" if faults else "All is well.")
    return 1 if faults else 0
