"""Alert rules on the chain itself, as code: each says what is wrong, since when, and where to look.

Only what Prometheus cannot see, because it takes a question to the store: all else is in fieldstream-rules.yml, so that
nothing is said twice. Process anomalies and silent gateways are the alerter's. All reach people by one Alertmanager.
"""

from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import alerting, expr
from grafana_foundation_sdk.models.alerting import RelativeTimeRange
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from fieldstream_central.grafana.frame import RUNBOOKS
from fieldstream_central.grafana.source import CLICKHOUSE, ClickHouseQuery, Sql

FOLDER = "Fieldstream"
GROUP = "chain"
EVERY_S = 30
EXPRESSION = DataSourceRef(type_val="__expr__", uid="__expr__")


DATA_AGE = """
SELECT dateDiff('second', max(ts), now64(3)) AS age FROM fieldstream.readings_data
WHERE ts >= now64(3) - INTERVAL 1 DAY"""


@dataclass(frozen=True)
class Alert:
    """One rule: it fires when the question's figure is above `above` for `for_`."""

    name: str
    summary: str
    severity: str
    above: float
    for_: str
    sql: str


ALERTS = (Alert("data-old", "The newest stored reading is {{ $values.B }} s old.", "critical", 60, "1m", DATA_AGE),)


def rule(alert: Alert) -> alerting.Rule:
    """The rule with its question (A), the newest figure (B) and the threshold (C)."""
    question = Sql(ClickHouseQuery(alert.sql))
    past = RelativeTimeRange(from_val=600, to=0)
    return (
        alerting.Rule(alert.name)
        .uid(f"fieldstream-{alert.name}")
        .folder_uid(FOLDER)
        .rule_group(GROUP)
        .condition("C")
        .for_val(alert.for_)
        .no_data_state("OK")
        .exec_err_state("Error")
        .labels({"severity": alert.severity, "scope": "system", "source": "grafana"})
        .annotations({"summary": alert.summary, "runbook_url": f"{RUNBOOKS}/{alert.name}"})
        .with_query(alerting.Query("A").datasource_uid(CLICKHOUSE.uid or "").model(question).relative_time_range(past))
        .with_query(
            alerting.Query("B")
            .datasource_uid("__expr__")
            .model(expr.TypeReduce().datasource(EXPRESSION).ref_id("B").expression("A").reducer("last"))
            .relative_time_range(past)
        )
        .with_query(
            alerting.Query("C")
            .datasource_uid("__expr__")
            .model(
                expr.TypeThreshold()
                .datasource(EXPRESSION)
                .ref_id("C")
                .expression("B")
                .conditions(
                    [
                        expr.ExprTypeThresholdConditions().evaluator(
                            expr.ExprTypeThresholdConditionsEvaluator().type("gt").params([alert.above])
                        )
                    ]
                )
            )
            .relative_time_range(past)
        )
    )


def contact_points(alertmanager: str) -> dict[str, Any]:
    """Provisioning of the one contact point: the Alertmanager that the alerter and Prometheus use too."""
    receiver = {"uid": "fieldstream-alertmanager", "type": "prometheus-alertmanager", "settings": {"url": alertmanager}}
    return {"apiVersion": 1, "contactPoints": [{"orgId": 1, "name": "fieldstream", "receivers": [receiver]}]}


def policies() -> dict[str, Any]:
    """Provisioning of the notification policy: everything to the contact point, which groups by itself."""
    policy = {"orgId": 1, "receiver": "fieldstream", "group_by": ["..."], "group_wait": "0s", "group_interval": "10s"}
    return {"apiVersion": 1, "policies": [policy | {"repeat_interval": "5m"}]}
