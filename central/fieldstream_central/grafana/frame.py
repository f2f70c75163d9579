"""What all dashboards share: variables, links between them, and the conditions that the variables set."""

from typing import Protocol, Self, cast

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    AnnotationTarget,
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    Panel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from fieldstream_central.grafana.source import CLICKHOUSE, ClickHouseQuery

TAG = "fieldstream"
RUNBOOKS = "https://fieldstream.example/runbooks"

# Rows of the assets that the variables name. Sensors that no registry knows have an empty site and area.
CHOSEN = "site IN (${site:sqlstring}) AND area IN (${area:sqlstring}) AND asset_id IN (${asset:sqlstring})"
# One sensor: the variable holds device/metric. Constants to ClickHouse, so the primary index serves them.
SENSOR = "device_id = splitByChar('/', ${sensor:sqlstring})[1] AND metric = splitByChar('/', ${sensor:sqlstring})[2]"

_SITES = "SELECT DISTINCT site FROM fieldstream.assets ORDER BY site"
_AREAS = "SELECT DISTINCT area FROM fieldstream.assets WHERE site IN (${site:sqlstring}) ORDER BY area"
_ASSETS = (
    "SELECT DISTINCT asset_id FROM fieldstream.assets "
    "WHERE site IN (${site:sqlstring}) AND area IN (${area:sqlstring}) ORDER BY asset_id"
)
_SENSORS = f"SELECT concat(device_id, '/', metric) AS sensor FROM fieldstream.assets WHERE {CHOSEN} ORDER BY sensor"


def frame(uid: str, title: str, about: str, *, span: str = "now-6h", refresh: str = "5s") -> dashboard.Dashboard:
    """An empty dashboard with the links to all others."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG])
        .time(span, "now")
        .refresh(refresh)
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("Fieldstream")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .link(
            dashboard.DashboardLink("Runbooks")
            .type(DashboardLinkType.LINK)
            .url(RUNBOOKS)
            .icon("doc")
            .target_blank(True)
        )
    )


def plant_variables(
    board: dashboard.Dashboard, *, one_asset: bool = False, sensors: bool = False
) -> dashboard.Dashboard:
    """Site, area and asset, each narrowing the next; `sensors`: also one sensor, or all those of an asset."""
    board = board.with_variable(_variable("site", "Site", _SITES, many=True))
    board = board.with_variable(_variable("area", "Area", _AREAS, many=True))
    board = board.with_variable(_variable("asset", "Asset", _ASSETS, many=not one_asset))
    if sensors:
        board = board.with_variable(_variable("sensor", "Sensor", _SENSORS, many=one_asset))
    return board


def _variable(name: str, label: str, sql: str, *, many: bool) -> dashboard.QueryVariable:
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(CLICKHOUSE)
        .query(ClickHouseQuery(sql).to_json())
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(VariableSort.NATURAL_ASC)
        .multi(many)
        .include_all(many)
    )
    return variable.current(VariableOption(selected=True, text="All", value="$__all")) if many else variable


class PanelBuilder(Protocol):
    """Any of the SDK's panel builders."""

    def build(self) -> Panel: ...
    def id(self, id_val: int) -> Self: ...
    def grid_pos(self, grid_pos: GridPos) -> Self: ...


def fill(board: dashboard.Dashboard, *parts: PanelBuilder | dashboard.Row) -> dashboard.Dashboard:
    """Adds panels and rows in reading order, each as wide as it says, and numbers them."""
    x = y = tallest = 0
    for number, part in enumerate(parts, 1):
        size = part.build().grid_pos or GridPos()
        width, height = (24, 1) if isinstance(part, dashboard.Row) else (size.w, size.h)
        if x + width > 24:
            x, y, tallest = 0, y + tallest, 0
        placed = part.id(number).grid_pos(GridPos(x=x, y=y, w=width, h=height))
        board = (
            board.with_row(placed)
            if isinstance(placed, dashboard.Row)
            else board.with_panel(cast(Builder[Panel], placed))
        )
        x, tallest = x + width, max(tallest, height)
    return board


class SqlAnnotations(dashboard.AnnotationQuery):
    """Annotations from ClickHouse: `sql` gives time, timeEnd (epoch ms), text and tags."""

    def __init__(self, name: str, sql: str, color: str) -> None:
        super().__init__()
        self.name(name).datasource(CLICKHOUSE).enable(True).icon_color(color)
        self._sql = sql

    def build(self) -> AnnotationQuery:
        """The annotation query with the plugin's own target, which the SDK has no type for."""
        query = super().build()
        query.target = _SqlTarget(self._sql)
        return query


class _SqlTarget(AnnotationTarget):
    def __init__(self, sql: str = "") -> None:
        super().__init__()
        self.sql = sql

    def to_json(self) -> dict[str, object]:
        return ClickHouseQuery(self.sql).to_json()
