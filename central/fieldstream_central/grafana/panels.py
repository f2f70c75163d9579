"""Panels in one style: what a dashboard says of each is its title, its question and its unit."""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    FieldColorModeId,
    RangeMap,
    RegexMap,
    SpecialValueMap,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

from fieldstream_central.grafana.source import CLICKHOUSE, PROMETHEUS, ClickHouseQuery, Sql, promql

GREEN, BLUE, AMBER, RED, GREY = "green", "blue", "orange", "red", "text"

# A level of trouble as a number, so that a panel can take the worst: the order of the anomalies' severities.
LEVELS: dict[str, tuple[str, str]] = {
    "0": ("fine", GREEN),
    "1": ("info", BLUE),
    "2": ("warning", AMBER),
    "3": ("critical", RED),
}
LEVEL_SQL = "transform(severity, ['info', 'warning', 'critical'], [1, 2, 3], 1)"

Mapped = list[ValueMap | RangeMap | RegexMap | SpecialValueMap]
Steps = Sequence[tuple[float | None, str]]


def steps(*pairs: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Colours from each value on; the first value is None: from the lowest."""
    found = [Threshold(value=value, color=color) for value, color in pairs]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def mapping(texts: Mapping[str, tuple[str, str]]) -> Mapped:
    """Values shown as a word in a colour: value -> (word, colour)."""
    options = {}
    for value, (word, color) in texts.items():
        options[value] = ValueMappingResult(text=word, color=color)
    return [ValueMap(options=options)]


def number(
    title: str, about: str, sql: str, *, unit: str = "short", colors: Steps = ((None, GREY),), decimals: int = 0
) -> stat.Panel:
    """One big figure, coloured by its thresholds."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(CLICKHOUSE)
        .with_target(Sql(ClickHouseQuery(sql)))
        .unit(unit)
        .decimals(decimals)
        .thresholds(steps(*colors))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .no_value("no data")
        .height(4)
        .span(4)
    )


def course(title: str, about: str, *questions: str, unit: str = "short", width: int = 12) -> timeseries.Panel:
    """Lines over time; each question gives `time`, at most one label column, and its figures."""
    panel = _lines(title, about, unit, width).datasource(CLICKHOUSE)
    for letter, sql in zip("ABCDEF", questions, strict=False):
        panel = panel.with_target(Sql(ClickHouseQuery(sql, series=True, ref_id=letter)))
    return panel


def metric(title: str, about: str, expr: str, legend: str, *, unit: str = "short", width: int = 12) -> timeseries.Panel:
    """Lines over time from Prometheus."""
    return _lines(title, about, unit, width).datasource(PROMETHEUS).with_target(promql(expr, legend))


def _lines(title: str, about: str, unit: str, width: int) -> timeseries.Panel:
    return (
        timeseries.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .line_width(1)
        .fill_opacity(0)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
        .height(8)
        .span(width)
    )


def band(panel: timeseries.Panel, low: str, high: str, color: str) -> timeseries.Panel:
    """Fills between two of the panel's series, as one band without lines."""
    quiet = [
        DynamicConfigValue("custom.lineWidth", 0),
        DynamicConfigValue("color", {"mode": FieldColorModeId.FIXED, "fixedColor": color}),
        DynamicConfigValue("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False}),
    ]
    return panel.override_by_name(low, quiet).override_by_name(
        high, [*quiet, DynamicConfigValue("custom.fillBelowTo", low), DynamicConfigValue("custom.fillOpacity", 18)]
    )


def dashed(panel: timeseries.Panel, name: str, color: str) -> timeseries.Panel:
    """Shows one series as a dashed line: a limit."""
    return panel.override_by_name(
        name,
        [
            DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}),
            DynamicConfigValue("color", {"mode": FieldColorModeId.FIXED, "fixedColor": color}),
        ],
    )


def sensor_panel(title: str, course_sql: str, usual_sql: str, limits_sql: str, *, width: int = 12) -> timeseries.Panel:
    """A sensor: its mean, the band from lowest to highest (blue), the usual range (green), limits dashed."""
    about = (
        "Mean; blue: from the lowest to the highest reading; green: usual, four standard deviations around the mean "
        "of the 60 intervals before; dashed: alarm limits. Alarms are marked."
    )
    panel = course(title, about, course_sql, usual_sql, limits_sql, width=width)
    panel = band(band(panel, "usual_low", "usual_high", "green"), "lowest", "highest", "blue")
    for name, color in (("HH", RED), ("H", AMBER), ("L", AMBER), ("LL", RED)):
        panel = dashed(panel, name, color)
    return panel


def bars(title: str, about: str, sql: str, *, unit: str = "short", width: int = 12) -> timeseries.Panel:
    """Stacked bars over time."""
    return (
        course(title, about, sql, unit=unit, width=width)
        .draw_style(GraphDrawStyle.BARS)
        .fill_opacity(70)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    )


def ranking(title: str, about: str, sql: str, *, unit: str = "short", width: int = 12) -> bargauge.Panel:
    """One bar per row: a name and its figure."""
    return (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(CLICKHOUSE)
        .with_target(Sql(ClickHouseQuery(sql)))
        .unit(unit)
        .reduce_options(common.ReduceDataOptions().values(True).calcs([]).fields(""))
        .orientation(VizOrientation.HORIZONTAL)
        .height(8)
        .span(width)
    )


def histogram(title: str, about: str, sql: str, *, unit: str = "short", width: int = 12) -> barchart.Panel:
    """Bars by class; the first column names the class."""
    return (
        barchart.Panel()
        .title(title)
        .description(about)
        .datasource(CLICKHOUSE)
        .with_target(Sql(ClickHouseQuery(sql)))
        .unit(unit)
        .fill_opacity(80)
        .height(8)
        .span(width)
    )


def rows(title: str, about: str, sql: str, *, width: int = 24, height: int = 8) -> table.Panel:
    """A table."""
    return (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(CLICKHOUSE)
        .with_target(Sql(ClickHouseQuery(sql)))
        .filterable(True)
        .height(height)
        .span(width)
    )


def column(
    panel: table.Panel,
    name: str,
    *,
    unit: str = "",
    colors: Steps = (),
    link: tuple[str, str] | None = None,
    words: Mapping[str, tuple[str, str]] | None = None,
) -> table.Panel:
    """How one column of a table looks; `link` is a title and an address."""
    properties = []
    if unit:
        properties.append(DynamicConfigValue("unit", unit))
    if colors:
        properties += [
            DynamicConfigValue("thresholds", steps(*colors).build().to_json()),
            DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
        ]
    if words:
        properties += [
            DynamicConfigValue("mappings", [one.to_json() for one in mapping(words)]),
            DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
        ]
    if link:
        properties.append(DynamicConfigValue("links", [{"title": link[0], "url": link[1]}]))
    return panel.override_by_name(name, properties)


def timeline(title: str, about: str, sql: str, *, height: int = 10) -> statetimeline.Panel:
    """Levels of trouble over time, one row per asset."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(CLICKHOUSE)
        .with_target(Sql(ClickHouseQuery(sql, series=True)))
        .max_data_points(120)
        .mappings(mapping(LEVELS))
        .thresholds(steps((None, GREEN), (1, BLUE), (2, AMBER), (3, RED)))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .merge_values(True)
        .show_value(VisibilityMode.NEVER)
        .row_height(0.8)
        .fill_opacity(80)
        .height(height)
        .span(24)
    )
