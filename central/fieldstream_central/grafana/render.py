"""Plain plots of what the panels show, for where no Grafana runs: one PNG per dashboard. Not Grafana's look."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import httpx
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldstream_central.grafana.macros import TimeRange
from fieldstream_central.grafana.panels import LEVELS
from fieldstream_central.grafana.queries import Question, all_queries
from fieldstream_central.store.clickhouse import ClickHouse

Rows = list[dict[str, Any]]
_COLORS = {"fine": "#56a64b", "info": "#5794f2", "warning": "#ff9830", "critical": "#e02f44"}
_SHOWN_ROWS, _SHOWN_COLUMNS, _COLUMNS = 8, 9, 24
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Sources:
    """Where the panels' questions are asked."""

    clickhouse: ClickHouse
    prometheus: str

    def answer(self, question: Question, span: TimeRange, variables: Mapping[str, Sequence[str]]) -> Rows:
        """Rows of one question, of Prometheus as time, label and value. Raises ClickHouseError, httpx.HTTPError."""
        if question.sql:
            return self.clickhouse.rows(question.expanded(span, variables))
        params: dict[str, str | float] = {"query": question.promql, "step": max(span.interval_s, 5)}
        params |= {"start": span.from_ms / 1000, "end": span.to_ms / 1000}
        answer = httpx.get(f"{self.prometheus}/api/v1/query_range", params=params)
        return [
            {"time": datetime.fromtimestamp(at, UTC).isoformat(), "label": " ".join(series["metric"].values())}
            | {"value": float(value)}
            for series in answer.raise_for_status().json()["data"]["result"]
            for at, value in series["values"]
        ]


def render(sources: Sources, folder: Path, span: TimeRange, variables: Mapping[str, Sequence[str]]) -> list[Path]:
    """Draws every dashboard's panels over `span`; `variables` as chosen at the top. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    panels = [question for question in all_queries() if question.part == "panel"]
    for title, of_board in groupby(panels, key=lambda question: question.dashboard):
        by_panel = [list(group) for _, group in groupby(of_board, key=lambda question: question.name)]
        places = [questions[0].panel["gridPos"] for questions in by_panel]
        height = max(place["y"] + place["h"] for place in places)
        figure = Figure(figsize=(18, height * 0.36 + 0.5))
        figure.suptitle(f"{title}: what the panels show (plain plot)", fontsize=13, y=0.995)
        grid = figure.add_gridspec(height, _COLUMNS, left=0.07, right=0.99, top=0.96, bottom=0.03)
        for place, questions in zip(places, by_panel, strict=True):
            # A free row above and a column left of each panel hold its title and labels.
            cell = grid[
                place["y"] + 1 : place["y"] + place["h"], place["x"] + (place["x"] > 0) : place["x"] + place["w"]
            ]
            answers = [sources.answer(question, span, variables) for question in questions]
            _draw(figure.add_subplot(cell), questions[0].panel, answers, span)
        path = folder / f"{title.lower().replace(' ', '-')}.png"
        figure.savefig(path, dpi=80)
        made.append(path)
    return made


def _draw(axes: Axes, panel: dict[str, Any], answers: list[Rows], span: TimeRange) -> None:
    axes.set_title(panel["title"], fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    kind = panel["type"]
    if not any(answers):
        axes.text(0.5, 0.5, "no rows", ha="center", va="center")
        axes.set_axis_off()
    elif kind == "timeseries":
        for rows in answers:
            _lines(axes, rows, bars=panel["fieldConfig"]["defaults"]["custom"].get("drawStyle") == "bars")
        axes.set_xlim(span.from_ms / _DAY_MS, span.to_ms / _DAY_MS)
    elif kind == "state-timeline":
        _states(axes, answers[0])
    elif kind in ("bargauge", "barchart"):
        label, figure = list(answers[0][0])[:2]
        names, values = [str(row[label]) for row in answers[0]], [row[figure] for row in answers[0]]
        if kind == "bargauge":
            axes.barh(names[::-1], values[::-1])
        else:
            axes.bar(names, values)
            axes.tick_params(axis="x", rotation=60)
    elif kind == "stat":
        axes.text(0.5, 0.5, _text(next(iter(answers[0][0].values()))), ha="center", va="center", fontsize=26)
        axes.set_axis_off()
    else:
        _table(axes, answers[0])


def _time(value: Any) -> float:
    """Days since the epoch, as matplotlib's date axes count."""
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC).timestamp() * 1000 / _DAY_MS


def _lines(axes: Axes, rows: Rows, *, bars: bool) -> None:
    """One line per label and figure, as the data source splits them; a pair low/high is a band."""
    names = [name for name in rows[0] if name != "time"] if rows else []
    axes.xaxis_date()
    labels = [name for name in names if all(isinstance(row[name], str) for row in rows)]
    for key in sorted({tuple(row[name] for name in labels) for row in rows}):
        mine = [row for row in rows if tuple(row[name] for name in labels) == key]
        times = [_time(row["time"]) for row in mine]
        figures = {
            name: [math.nan if row[name] is None else row[name] for row in mine] for name in names if name not in labels
        }
        for low, high, color in (("lowest", "highest", "#5794f2"), ("usual_low", "usual_high", "#56a64b")):
            if low in figures and high in figures:
                axes.fill_between(times, figures.pop(low), figures.pop(high), alpha=0.25, color=color, lw=0)
        for name, values in figures.items():
            if all(math.isnan(value) for value in values):
                continue
            label = " ".join([*key, name] if len(figures) > 1 or not key else key)
            if bars:
                width = min((later - sooner for sooner, later in pairwise(times)), default=1 / 1440)
                axes.bar(times, values, width=0.9 * width, label=label, alpha=0.7)
            else:
                axes.plot(times, values, lw=1, label=label, ls="--" if re.fullmatch("HH?|LL?", name) else "-")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=6, loc="upper left")


def _states(axes: Axes, rows: Rows) -> None:
    names = sorted({row["asset_id"] for row in rows}, reverse=True)
    times = sorted({_time(row["time"]) for row in rows})
    width = times[1] - times[0] if len(times) > 1 else 1 / 1440
    axes.xaxis_date()
    for row in rows:
        color = _COLORS[LEVELS[str(row["level"])][0]]
        axes.barh(names.index(row["asset_id"]), width, left=_time(row["time"]), color=color, height=0.8)
    axes.set_yticks(range(len(names)), names)


def _table(axes: Axes, rows: Rows) -> None:
    columns = list(rows[0])[:_SHOWN_COLUMNS]
    cells = [[_text(row[name])[:34] for name in columns] for row in rows[:_SHOWN_ROWS]]
    axes.set_axis_off()
    drawn = axes.table(cells, colLabels=columns, loc="upper center", cellLoc="left")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(6)
    axes.set_title(f"{axes.get_title(loc='left')}  ({len(rows)} rows, {len(rows[0])} columns)", fontsize=9, loc="left")


def _text(value: Any) -> str:
    if isinstance(value, int) and value > 1_500_000_000_000:
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%H:%M:%S")
    return f"{value:,.3g}" if isinstance(value, float) else str(value)
