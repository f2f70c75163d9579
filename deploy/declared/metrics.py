"""docs/metrics.md: every metric that a program of ours shows to Prometheus, from the programs themselves."""

import importlib
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

from fieldstream_central.store.watch import LatenessCollector
from fieldstream_edge.counters import Counters
from fieldstream_edge.metrics import render
from fieldstream_edge.spool.ledger import Spool, SpoolCounters
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

# Program -> the modules that declare what it shows.
PROGRAMS = {
    "loader": ("store.loader_metrics", "store.watch", "certificate"),
    "jobs": ("stream.job_metrics", "stream.keeper", "stream.group_lag", "certificate"),
    "assets follow": ("asset_changes", "certificate"),
    "tracer": ("tracer", "certificate"),
    "api": ("serve.api.access", "serve.api.errors", "alarms.log", "certificate"),
    "alerter": (
        "notify.feed",
        "notify.alertmanager",
        "notify.receiver",
        "notify.alerter",
        "alarms.log",
        "certificate",
    ),
}
# What has no child yet says nothing of its labels.
_LABELS = {f"fieldstream_gateway_mqtt_{what}_total": {"broker"} for what in ("connects", "disconnects")}
Row = tuple[str, str, str, str]  # name, type, labels, meaning
HEAD = """# Metrics

Each program shows them at `/metrics` on its own port: the gateway at its `status` address, the API at its own, the
others at `*_metrics_port` of the settings. `fieldstream:lag_seconds` is made of them in
`deploy/prometheus/fieldstream-rules.yml`; the alerts there have a page each in [runbooks](runbooks). ClickHouse, Kafka,
Flink, Prometheus and Alertmanager have metrics of their own. This page is made by `python -m declared.write`.
"""


def text() -> str:
    """The page."""
    parts = [HEAD, _table("gateway", list(_of_gateway()))]
    for program, modules in PROGRAMS.items():
        parts.append(_table(program, sorted({row for name in modules for row in _of_module(name)})))
    return "\n".join(parts)


def _table(program: str, rows: list[Row]) -> str:
    lines = [f"## {program}\n", "| metric | type | labels | meaning |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {labels} | {doc} |" for name, kind, labels, doc in rows]
    return "\n".join(lines) + "\n"


def _of_module(name: str) -> Iterator[Row]:
    module = importlib.import_module(f"fieldstream_central.{name}")
    for one in vars(module).values():
        if isinstance(one, MetricWrapperBase):
            [family] = one.describe()
            yield _name(family), family.type, ", ".join(one._labelnames), family.documentation
    if name == "store.watch":
        for family in LatenessCollector().collect():
            yield family.name, family.type, "gateway", family.documentation


def _of_gateway() -> Iterator[Row]:
    # Its text needs nothing of the spool but its counters, and of the status any figures.
    spool = cast(Spool, SimpleNamespace(counters=SpoolCounters()))
    for family in text_string_to_metric_families(render(Counters(), spool, defaultdict(int))):
        labels = {label for sample in family.samples for label in sample.labels} or _LABELS.get(_name(family), set())
        yield _name(family), family.type, ", ".join(sorted(labels)), family.documentation


def _name(family: Metric) -> str:
    return family.name + ("_total" if family.type == "counter" else "")
