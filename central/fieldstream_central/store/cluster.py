"""The migrations' statements as a cluster needs them: on all nodes, Replicated tables behind Distributed ones.

On a cluster each table `t` of the migrations becomes two: `t_local`, replicated, on every node, and `t`, Distributed
over the shards, which every reader, writer and view uses as it uses the plain table on one node. Materialized views
work where their rows are: from local table to local table. What folds together lies on one shard, so FINAL is right.
"""

import re
from collections.abc import Callable

# By what the rows of a table are spread; all others by their device.
_SHARDED_BY = {
    "anomaly_steps_data": "anomaly_id",
    "anomalies_data": "anomaly_id",
    "alarm_events_data": "alarm_id",
    "dead_letters_data": "letter_id",
    "dead_letter_handling_data": "letter_id",
    "gateways_data": "gateway_id",
    "arrived_data": "gateway_id",
    "lateness_data": "gateway_id",
    "repair_progress": "job",
    "migrations": "name",
}
_NAME = r"fieldstream\.(\w+)"


class RenderError(Exception):
    """A statement of a kind that this module does not know; the message shows it."""


def render(statement: str, cluster: str) -> list[str]:
    """What to run on one node of `cluster` in place of `statement`. Raises RenderError."""
    on = f" ON CLUSTER '{cluster}'"
    for pattern, make in _KINDS:
        if found := pattern.match(statement):
            return make(found, on)
    raise RenderError(f"cannot be rendered for a cluster: {statement[:100]}")


def _replicated(text: str) -> str:
    # Without arguments the engine takes the server's default path, which holds the table's UUID: renames are safe.
    text = re.sub(r"ENGINE = (\w*MergeTree)", r"ENGINE = Replicated\1", text)
    return _local(text.replace("non_replicated_deduplication_window", "replicated_deduplication_window"))


def _local(text: str) -> str:
    return re.sub(_NAME, r"fieldstream.\1_local", text)


def _spread(table: str, on: str) -> str:
    cluster = on.split("'")[1]
    key = f"cityHash64({_SHARDED_BY.get(table, 'device_id')})"
    return (
        f"CREATE TABLE IF NOT EXISTS fieldstream.{table} ON CLUSTER '{cluster}' AS fieldstream.{table}_local "
        f"ENGINE = Distributed('{cluster}', 'fieldstream', '{table}_local', {key})"
    )


def _create(found: re.Match[str], on: str) -> list[str]:
    local = f"CREATE TABLE IF NOT EXISTS fieldstream.{found[1]}_local{on}{_replicated(found['rest'])}"
    return [local, _spread(found[1], on)]


def _rename(found: re.Match[str], on: str) -> list[str]:
    return [
        f"DROP TABLE IF EXISTS fieldstream.{found[1]}{on} SYNC",
        f"RENAME TABLE fieldstream.{found[1]}_local TO fieldstream.{found[2]}_local{on}",
        _spread(found[2], on),
    ]


def _both(verb: str, found: re.Match[str], on: str) -> list[str]:
    return [f"{verb} fieldstream.{name}{on}{found['rest']}" for name in (f"{found[1]}_local", found[1])]


# Each kind of statement, and what it becomes.
_KINDS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], str], list[str]]], ...] = (
    (re.compile(r"CREATE DATABASE IF NOT EXISTS (\w+)$"), lambda found, on: [found[0] + on]),
    (re.compile(rf"CREATE TABLE IF NOT EXISTS {_NAME}(?P<rest>.*)", re.DOTALL), _create),
    (
        re.compile(rf"(CREATE MATERIALIZED VIEW IF NOT EXISTS {_NAME}) TO {_NAME}(?P<rest>.*)", re.DOTALL),
        lambda found, on: [f"{found[1]}{on} TO fieldstream.{found[3]}_local{_local(found['rest'])}"],
    ),
    (
        re.compile(rf"(CREATE OR REPLACE VIEW {_NAME})(?P<rest>.*)", re.DOTALL),
        lambda found, on: [f"{found[1]}{on}{found['rest']}"],
    ),
    (re.compile(rf"DROP VIEW IF EXISTS {_NAME};?$"), lambda found, on: [found[0].rstrip(";") + on + " SYNC"]),
    (re.compile(rf"ALTER TABLE {_NAME}(?P<rest>.*)", re.DOTALL), lambda found, on: _both("ALTER TABLE", found, on)),
    (re.compile(rf"RENAME TABLE {_NAME} TO {_NAME};?$"), _rename),
    (
        re.compile(rf"DROP TABLE IF EXISTS {_NAME}(?P<rest>.*)", re.DOTALL),
        lambda found, on: _both("DROP TABLE IF EXISTS", found, on + " SYNC"),
    ),
    (re.compile(r"INSERT INTO fieldstream\..*", re.DOTALL), lambda found, _on: [found[0]]),
)
