"""The chart of one sensor as ECharts options: mean, band, limits, anomalies."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fieldstream_central.serve.alarm_health import BUCKET_MS
from fieldstream_central.serve.api.models import Series
from fieldstream_central.serve.console import texts, wording


@dataclass(frozen=True)
class Theme:
    """Colours that a canvas cannot take from the style sheet."""

    line: str
    band: str
    text: str
    grid: str
    critical: str
    warning: str
    info: str
    surface: str
    expected: str

    def of(self, severity: str) -> str:
        """Colour of a severity."""
        return {"critical": self.critical, "warning": self.warning}.get(severity, self.info)


DARK = Theme("#5ec8f2", "#5ec8f2", "#93a1b0", "#222c37", "#ff6b6b", "#f6b73c", "#8fa8ff", "#141b23", "#43d19e")
LIGHT = Theme("#0b6e99", "#0b6e99", "#5a6775", "#e4e9ee", "#c62f2f", "#a86400", "#4457c0", "#ffffff", "#0c7a52")

_FONT = "Roboto, system-ui, sans-serif"


def options(
    series: Series | None,
    sensor: Mapping[str, Any],
    anomalies: Sequence[Mapping[str, Any]],
    span_ms: tuple[int, int],
    theme: Theme,
) -> dict[str, Any]:
    """Everything the chart shows; `span_ms` is the time axis."""
    points = series.points if series else []
    start, end = span_ms
    rows = [(int(point.ts.timestamp() * 1000), point) for point in points]
    unit = wording.unit_name(sensor.get("unit"))
    return {
        "animation": False,
        "textStyle": {"fontFamily": _FONT},
        "grid": {"left": 8, "right": 44, "top": 26, "bottom": 8, "containLabel": True},
        "tooltip": _tooltip(theme, unit),
        "xAxis": {
            "type": "time",
            "min": start,
            "max": end,
            "axisLine": {"lineStyle": {"color": theme.grid}},
            "axisTick": {"show": False},
            "axisLabel": {"color": theme.text, "hideOverlap": True},
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "value",
            "scale": True,
            "name": unit,
            "nameTextStyle": {"color": theme.text, "align": "right"},
            "axisLabel": {"color": theme.text},
            "splitLine": {"lineStyle": {"color": theme.grid}},
        },
        "series": [
            _band([(at, point.min) for at, point in rows], "low", theme, 0.0),
            _band([(at, point.max - point.min) for at, point in rows], texts.BAND, theme, 0.22),
            {
                "name": texts.MEAN,
                "type": "line",
                "showSymbol": False,
                "data": _broken([(at, point.mean) for at, point in rows], series.resolution_s if series else 0),
                "lineStyle": {"width": 1.6, "color": theme.line},
                "itemStyle": {"color": theme.line},
                "markLine": _limits(sensor, theme),
                "markArea": _areas(anomalies, span_ms, theme),
                "markPoint": _marks(anomalies, span_ms, rows, theme),
            },
        ],
    }


def add_expected(chart_options: dict[str, Any], episode: Mapping[str, Any], theme: Theme) -> None:
    """Adds the band of what was expected over the whole axis; nothing where detection named none."""
    low, high = episode.get("expected_low"), episode.get("expected_high")
    if low is None or high is None:
        return
    label = {"formatter": texts.EXPECTED_BAND, "color": theme.text, "position": "insideTopLeft"}
    area = [{"yAxis": low, "itemStyle": {"color": theme.expected, "opacity": 0.16}, "label": label}, {"yAxis": high}]
    chart_options["series"][0]["markArea"] = {"silent": True, "data": [area], "animation": False}


def _band(data: list[tuple[int, float]], name: str, theme: Theme, opacity: float) -> dict[str, Any]:
    return {
        "name": name,
        "type": "line",
        "stack": "band",
        "stackStrategy": "all",
        "symbol": "none",
        "silent": True,
        "data": [[at, value] for at, value in data],
        "lineStyle": {"opacity": 0},
        "areaStyle": {"color": theme.band, "opacity": opacity},
    }


def _broken(data: list[tuple[int, float]], resolution_s: float) -> list[list[float | None]]:
    """The line with a break where readings are missing, instead of a straight line across the gap."""
    if len(data) < 3:
        return [[at, value] for at, value in data]
    steps = sorted(after[0] - before[0] for before, after in pairwise(data))
    widest = max(steps[len(steps) // 2] * 6, resolution_s * 3000)
    out: list[list[float | None]] = []
    for before, point in zip([data[0], *data], data, strict=False):
        if point[0] - before[0] > widest:
            out.append([before[0] + 1, None])
        out.append([point[0], point[1]])
    return out


def _tooltip(theme: Theme, unit: str) -> dict[str, Any]:
    suffix = json.dumps(f" {html.escape(unit)}" if unit else "")  # the tooltip is HTML, and a device may state any unit
    return {
        "trigger": "axis",
        "backgroundColor": theme.surface,
        "borderColor": theme.grid,
        "textStyle": {"color": theme.text, "fontFamily": _FONT},
        ":formatter": (
            "(items) => { const m = items.find((i) => i.seriesIndex === 2); if (!m || m.value[1] == null) return '';"
            " const low = items.find((i) => i.seriesIndex === 0), width = items.find((i) => i.seriesIndex === 1);"
            " const f = (v) => Number(v.toPrecision(5)) + " + suffix + ";"
            " let text = new Date(m.value[0]).toLocaleString() + '<br><b>' + f(m.value[1]) + '</b>';"
            " if (low && width && width.value[1] > 0)"
            " text += '<br>' + f(low.value[1]) + ' … ' + f(low.value[1] + width.value[1]); return text; }"
        ),
    }


def _limits(sensor: Mapping[str, Any], theme: Theme) -> dict[str, Any]:
    colours = {"high_high": theme.critical, "high": theme.warning, "low": theme.warning, "low_low": theme.critical}
    data = [
        {
            "yAxis": sensor[name],
            "lineStyle": {"color": colours[name], "type": "dashed", "width": 1, "opacity": 0.75},
            "label": {"formatter": text, "color": colours[name], "position": "end"},
        }
        for name, text in texts.LIMITS.items()
        if sensor.get(name) is not None
    ]
    return {"silent": True, "symbol": "none", "data": data, "animation": False}


def _clip(anomaly: Mapping[str, Any], span_ms: tuple[int, int]) -> tuple[int, int] | None:
    start = int(wording.moment(anomaly["started_at"]).timestamp() * 1000)
    ended = anomaly.get("ended_at")
    end = int(wording.moment(ended).timestamp() * 1000) if ended else span_ms[1]
    if end < span_ms[0] or start > span_ms[1]:
        return None
    return max(start, span_ms[0]), min(max(end, start), span_ms[1])


def _areas(anomalies: Sequence[Mapping[str, Any]], span_ms: tuple[int, int], theme: Theme) -> dict[str, Any]:
    # An episode of a moment must be seen too: at least a two-hundredth of the axis.
    least = (span_ms[1] - span_ms[0]) // 200
    data = []
    for anomaly in anomalies:
        if (clipped := _clip(anomaly, span_ms)) is None:
            continue
        start, end = clipped
        colour = {"color": theme.of(anomaly["severity"]), "opacity": 0.14}
        data.append([{"xAxis": start, "itemStyle": colour}, {"xAxis": max(end, start + least)}])
    return {"silent": True, "data": data, "animation": False}


def _marks(
    anomalies: Sequence[Mapping[str, Any]], span_ms: tuple[int, int], rows: Sequence[tuple[int, Any]], theme: Theme
) -> dict[str, Any]:
    data = []
    for anomaly in anomalies:
        clipped = _clip(anomaly, span_ms)
        if clipped is None or not rows:
            continue
        at, point = min(rows, key=lambda row: abs(row[0] - clipped[0]))
        del at
        data.append(
            {
                "coord": [clipped[0], point.max],
                "symbol": "pin",
                "symbolSize": 26,
                "itemStyle": {"color": theme.of(anomaly["severity"])},
                "label": {"formatter": "!", "color": theme.surface, "fontWeight": "bold"},
            }
        )
    return {"silent": True, "data": data, "animation": False}


def load_options(health: Mapping[str, Any], theme: Theme) -> dict[str, Any]:
    """Alarms in ten minutes over the range, with the line where a flood begins."""
    # Empty buckets too: ECharts takes the least distance between bars for their width, and widens the axis by it.
    counts = dict.fromkeys(range(health["start"] // BUCKET_MS * BUCKET_MS, health["end"], BUCKET_MS), 0)
    counts |= {bucket["start"]: bucket["alarms"] for bucket in health["buckets"]}
    axis = {"axisLabel": {"color": theme.text, "hideOverlap": True}, "axisTick": {"show": False}}
    most = max(health["peak"], 12 * health["operators"])
    limit = {"yAxis": 10 * health["operators"], "label": {"formatter": texts.FLOOD_LINE, "color": theme.warning}}
    line = {"color": theme.warning, "type": "dashed"}
    return {
        "animation": False,
        "textStyle": {"fontFamily": _FONT},
        "aria": {"enabled": True},
        "grid": {"left": 8, "right": 44, "top": 26, "bottom": 8, "containLabel": True},
        "xAxis": axis | {"type": "time", "min": health["start"], "max": health["end"], "splitLine": {"show": False}},
        "yAxis": axis
        | {
            "type": "value",
            "minInterval": 1,
            "max": most,
            "name": texts.PER_BUCKET,
            "splitLine": {"lineStyle": {"color": theme.grid}},
        }
        | {"nameTextStyle": {"color": theme.text, "align": "left"}},
        "tooltip": {"trigger": "axis"},
        "series": [
            {
                "type": "bar",
                "barMaxWidth": 8,
                "name": texts.PER_BUCKET,
                "data": [list(one) for one in counts.items()],
                "itemStyle": {"color": theme.line},
                "markLine": {"silent": True, "symbol": "none", "data": [limit], "lineStyle": line},
            }
        ],
    }
