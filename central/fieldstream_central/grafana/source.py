"""The two data sources, and a question to one of them as the data source's plugin stores it in a dashboard."""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import prometheus as prometheus_builder
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

CLICKHOUSE_TYPE = "grafana-clickhouse-datasource"
CLICKHOUSE = DataSourceRef(type_val=CLICKHOUSE_TYPE, uid="fieldstream-clickhouse")
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="fieldstream-prometheus")

# `format` and `queryType` of the plugin's own query model (its src/types/sql.ts).
_TIME_SERIES, _TABLE = 0, 1


@dataclass(frozen=True)
class ClickHouseQuery(Dataquery):
    """SQL for the official ClickHouse data source. `series`: one line per label column over `time`, else a table."""

    sql: str
    series: bool = False
    ref_id: str = "A"

    def to_json(self) -> dict[str, object]:
        """As the plugin stores it."""
        return {
            "refId": self.ref_id,
            "datasource": CLICKHOUSE.to_json(),
            "pluginVersion": "4.0.0",
            "editorType": "sql",
            "queryType": "timeseries" if self.series else "table",
            "format": _TIME_SERIES if self.series else _TABLE,
            "rawSql": self.sql,
        }


@dataclass(frozen=True)
class Sql(Builder[Dataquery]):
    """A ClickHouse question as the SDK's builders take it."""

    query: ClickHouseQuery

    def build(self) -> Dataquery:
        """The question."""
        return self.query


def promql(expr: str, legend: str, ref_id: str = "A") -> Builder[Dataquery]:
    """A question to Prometheus over the dashboard's range."""
    return prometheus_builder.Dataquery().expr(expr).legend_format(legend).range().ref_id(ref_id).datasource(PROMETHEUS)
