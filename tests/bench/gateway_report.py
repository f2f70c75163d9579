"""Table, JSON and plot of the gateway's bench."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_OUT = Path(__file__).resolve().parents[2] / "var" / "bench"


@dataclass(frozen=True)
class Figure:
    """One measured figure with what it must be and what it should be."""

    name: str
    value: float
    must: float
    goal: float
    unit: str
    lower: bool = False

    def meets(self, bound: float) -> bool:
        """Whether the value is as good as the bound."""
        return self.value <= bound if self.lower else self.value >= bound

    def times_better(self, value: float) -> float:
        """How many times better than the must a value is."""
        if not value or not self.must:
            return 1.0 if value == self.must else 0.0
        return self.must / value if self.lower else value / self.must

    def plain(self) -> dict[str, float | bool]:
        """As the summary has it."""
        value = round(self.value, 4)
        return {"value": value, "must": self.must, "goal": self.goal, "reached": self.meets(self.must)}

    @property
    def verdict(self) -> str:
        """In words."""
        return "goal" if self.meets(self.goal) else "must" if self.meets(self.must) else "NOT REACHED"


@dataclass
class Report:
    """Collects figures; `finish` prints and keeps them."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    runs: dict[str, Any] = field(default_factory=dict)

    def add(self, figure: Figure) -> None:
        """Adds a figure."""
        self.figures.append(figure)

    def finish(self) -> None:
        """Prints the table, writes var/bench/NAME.json and .svg, prints the JSON as the last line."""
        print(f"\n{'figure':42} {'must':>10} {'goal':>10} {'measured':>12}  verdict")
        for each in self.figures:
            print(f"{each.name:42} {each.must:10,g} {each.goal:10,g} {each.value:12,.4g}  {each.verdict} ({each.unit})")
        summary = {"figures": {each.name: each.plain() for each in self.figures}}
        _OUT.mkdir(parents=True, exist_ok=True)
        (_OUT / f"{self.name}.json").write_text(json.dumps(summary | {"runs": self.runs}, indent=2))
        (_OUT / f"{self.name}.svg").write_text(self._plot())
        print(f"kept in {_OUT}/{self.name}.json and .svg")
        print(json.dumps(summary))

    def _plot(self) -> str:
        """A bar per figure: how far it is from its must (1.0) towards better."""
        rows = []
        for number, each in enumerate(self.figures):
            better, goal = each.times_better(each.value), each.times_better(each.goal)
            y, width = 40 + number * 34, min(better, 8) * 70
            colour = "#1a7f4b" if each.meets(each.goal) else "#c98a00" if each.meets(each.must) else "#b3261e"
            dashed = f'x1="{320 + goal * 70:.0f}" x2="{320 + goal * 70:.0f}" y1="{y - 3}" y2="{y + 23}"'
            rows += [
                f'<text x="10" y="{y + 14}">{each.name}</text>',
                f'<rect x="320" y="{y}" width="{width:.0f}" height="20" fill="{colour}"/>',
                f'<line {dashed} stroke="#444" stroke-dasharray="3"/>',
                f'<text x="{326 + width:.0f}" y="{y + 14}">{each.value:,.4g} {each.unit}</text>',
            ]
        height = 60 + 34 * len(self.figures)
        size = f'width="1000" height="{height}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
            f'<rect {size} fill="white"/><text x="10" y="22">times better than the must (solid line); dashed: goal'
            f'</text><line x1="390" x2="390" y1="30" y2="{height}" stroke="#444"/>{"".join(rows)}</svg>\n'
        )
