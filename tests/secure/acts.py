"""The table of forbidden acts: who, does what, how it is refused, and by whom the same act is allowed.

docs/security.md shows it; test_forbidden.py tries every row on a running secure stack.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

from integration.security.kafka_acts import ALLOWED, FORBIDDEN

from secure import tries
from secure.tries import Plant

Try = Callable[[Plant], str]
DONE = "done"
NOT_ITS_OWN = "wrong"
_FORGED = "`admin`, signed by the field's authority"


@dataclass(frozen=True)
class Act:
    """`tried` is refused with `refusal`; `allowed`, the same by `by`, is done. Both say what came of it."""

    who: str
    what: str
    refusal: str
    tried: Try
    by: str
    allowed: Try


def _kafka() -> list[Act]:
    topic, group = "TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"
    found = [
        Act(who, f"writes `{name}` in Kafka", topic, tries.write(who, name), by, tries.write(by, name))
        for who, name in FORBIDDEN
        if who != "stranger"
        for by in [ALLOWED[name]]
    ]
    found += [
        Act(who, f"reads `{name}` in Kafka", topic, tries.read(who, name), by, tries.read(by, name))
        for who, name, by in (
            ("gateway", "readings.raw", "pipeline"),
            ("gateway", "anomalies", "loader"),
            ("loader", "readings.raw", "pipeline"),
            ("alerter", "readings.clean", "loader"),
            ("detect", "readings.raw", "pipeline"),
            ("pipeline", "alarms", "alerter"),
            ("device", "readings.raw", "pipeline"),
        )
    ]
    found += [
        Act(who, f"asks for the place of group `{name}`", group, tries.place(who, name), by, tries.place(by, name))
        for who, name, by in (
            ("loader", "fieldstream-alerter", "alerter"),
            ("gateway", "fieldstream-pipeline", "pipeline"),
        )
    ]
    found += [
        Act(
            who,
            "gives a gateway a right",
            "CLUSTER_AUTHORIZATION_FAILED",
            tries.grant(key),
            "admin",
            tries.grant("admin"),
        )
        for who, key in (("gateway", "gateway"), (_FORGED, tries.FORGED))
    ]
    return found


def _certificates() -> list[Act]:
    found = []
    for part in ("kafka", "mqtt", "flink", "prometheus", "alertmanager", "loader"):
        by = tries.CALLERS[part]
        for who, what in (
            ("nobody", f"opens {part} without a certificate"),
            ("foreign", f"opens {part} with the right name of another authority"),
            ("expired", f"opens {part} with an expired certificate"),
            ("early", f"opens {part} with a certificate that is not valid yet"),
        ):
            found.append(Act(who, what, "handshake refused", tries.open_tls(part, who), by, tries.open_tls(part, by)))
    for part in ("flink", "prometheus", "alertmanager", "loader"):
        by = tries.CALLERS[part]
        what = f"opens {part} with its own certificate"
        found.append(
            Act("device", what, "handshake refused", tries.open_tls(part, "device"), by, tries.open_tls(part, by))
        )
    found.append(
        Act(
            "loader",
            "opens flink with its own certificate",
            "handshake refused",
            tries.open_tls("flink", "loader"),
            "keeper of the jobs",
            tries.open_tls("flink", "flink"),
        )
    )
    for part, who, key, by in (
        ("kafka", _FORGED, tries.FORGED, "loader"),
        ("kafka", "gateway", "gateway", "loader"),
        ("kafka_field", "loader", "loader", "gateway"),
    ):
        place = "the gateways' listener of kafka" if part == "kafka_field" else "the programs' listener of kafka"
        found.append(
            Act(who, f"opens {place}", "handshake refused", tries.open_tls(part, key), by, tries.open_tls(part, by))
        )
    for part in (
        "kafka",
        "mqtt",
        "registry",
        "flink",
        "clickhouse",
        "api",
        "console",
        "prometheus",
        "alertmanager",
        "loader",
    ):
        by = tries.CALLERS[part]
        what = f"speaks plain text to {part}"
        found.append(Act("anybody", what, "no answer", tries.plain_text(part), by, tries.open_tls(part, by)))
    return found


def _mqtt() -> list[Act]:
    own, other = "sensors/press-1/force", "sensors/press-2/force"
    refused = "Not authorized"
    return [
        Act(
            "device",
            "publishes as another device",
            refused,
            tries.publish("press-1", other),
            "the device itself",
            tries.publish("press-2", other),
        ),
        Act(
            "device",
            "publishes outside `sensors`",
            refused,
            tries.publish("press-1", "commands/press-1"),
            "the device under its name",
            tries.publish("press-1", own),
        ),
        Act(
            "gateway",
            "publishes a reading",
            refused,
            tries.publish("gateway-local", own),
            "the device",
            tries.publish("press-1", own),
        ),
        Act(
            "device",
            "listens to another device",
            "nothing comes",
            tries.listen("press-1", other),
            "gateway",
            tries.listen("gateway-local", other),
        ),
    ]


def _clickhouse() -> list[Act]:
    insert = "INSERT INTO fieldstream.readings_data (device_id) VALUES"
    count = "SELECT count() FROM fieldstream.readings"
    readonly, unknown = "READONLY", "AUTHENTICATION_FAILED"
    return [
        *(
            Act(
                who,
                "inserts readings",
                readonly,
                tries.ask(who, f"{insert} ('forged')"),
                "setup",
                tries.ask("setup", f"{insert} ('tried')"),
            )
            for who in ("grafana", "superset", "api", "console", "alerter")
        ),
        Act(
            "grafana",
            "lifts its limit of memory",
            readonly,
            tries.ask("grafana", f"{count} SETTINGS max_memory_usage = 0"),
            "setup",
            tries.ask("setup", f"{count} SETTINGS max_memory_usage = 0"),
        ),
        Act(
            "grafana",
            "deletes readings",
            readonly,
            tries.ask("grafana", "DELETE FROM fieldstream.readings_data WHERE 0"),
            "setup",
            tries.ask("setup", "DELETE FROM fieldstream.readings_data WHERE 0"),
        ),
        Act(
            "api",
            "merges a table's parts",
            readonly,
            tries.ask("api", "OPTIMIZE TABLE fieldstream.gateways_data"),
            "setup",
            tries.ask("setup", "OPTIMIZE TABLE fieldstream.gateways_data"),
        ),
        Act(
            "loader",
            "drops a table",
            "ACCESS_DENIED",
            tries.ask("loader", "DROP TABLE IF EXISTS fieldstream.nothing"),
            "setup",
            tries.ask("setup", "DROP TABLE IF EXISTS fieldstream.nothing"),
        ),
        Act(
            "grafana",
            "reads a file of the server",
            readonly,
            tries.ask("grafana", "SELECT * FROM file('x', 'Raw')"),
            "grafana, a table",
            tries.ask("grafana", count),
        ),
        Act(
            "grafana",
            "asks with a wrong password",
            unknown,
            tries.ask("grafana", count, password=NOT_ITS_OWN),
            "grafana, with its own",
            tries.ask("grafana", count),
        ),
        Act(
            "default",
            "asks without a password",
            unknown,
            tries.ask("default", count, password=""),
            "grafana, with its own",
            tries.ask("grafana", count),
        ),
    ]


def _registry() -> list[Act]:
    body, version, config = '{"schema": "\\"string\\""}', "/subjects/tried-value/versions", "/config"
    rule = '{"compatibility": "FULL"}'
    return [
        Act(
            "a reader of the registry",
            "registers a schema",
            "HTTP 403",
            tries.registry("reader", "POST", version, body),
            "setup",
            tries.registry("writer", "POST", version, body),
        ),
        Act(
            "a reader of the registry",
            "changes the rule of compatibility",
            "HTTP 403",
            tries.registry("reader", "PUT", config, rule),
            "setup",
            tries.registry("writer", "PUT", config, rule),
        ),
        Act(
            "anybody",
            "reads schemas",
            "HTTP 401",
            tries.registry("", "GET", "/subjects", ""),
            "a reader",
            tries.registry("reader", "GET", "/subjects", ""),
        ),
    ]


def _api() -> list[Act]:
    sensors, acknowledge = "/api/v1/assets", "/api/v1/alarms/actions"
    body = '{"action": "acknowledge", "alarms": [{"alarm_id": "none"}]}'
    return [
        Act(
            "anybody",
            "asks the API without a token",
            "HTTP 401",
            tries.api("", "GET", sensors),
            "viewer",
            tries.api("viewer", "GET", sensors),
        ),
        Act(
            "anybody",
            "asks the API with an invented token",
            "HTTP 401",
            tries.api("invented", "GET", sensors),
            "viewer",
            tries.api("viewer", "GET", sensors),
        ),
        Act(
            "viewer",
            "acknowledges an alarm",
            "HTTP 403",
            tries.api("viewer", "POST", acknowledge, body),
            "operator",
            tries.api("operator", "POST", acknowledge, body),
        ),
    ]


def _sites() -> list[Act]:
    v1, sensor = "/api/v1", "device_id=press-1&metric=force"
    acknowledge = '{"action": "acknowledge", "alarms": [{"alarm_id": "press-1/force/limit"}]}'
    work = '{"asset_id": "press", "start": 1, "end": 2, "note": "tried"}'
    return [
        Act(
            "a token of another site",
            what,
            "HTTP 403",
            tries.api("elsewhere", method, v1 + path, body),
            by,
            tries.api(by, method, v1 + path, body),
        )
        for what, by, method, path, body in (
            ("reads a sensor", "viewer", "GET", f"/readings?{sensor}&from=2000-01-02&to=2000-02-01", ""),
            ("follows a sensor live", "viewer", "GET", f"/live/readings?{sensor}", ""),
            ("asks how far a sensor can be relied on", "viewer", "GET", f"/trust?{sensor}", ""),
            ("asks for the site's alarms", "viewer", "GET", "/alarms?site=here", ""),
            ("asks for the site's hand-over", "viewer", "GET", "/handover?site=here", ""),
            ("counts what gateways sent", "viewer", "GET", "/completeness", ""),
            ("reads dead letters", "operator", "GET", "/dead-letters", ""),
            ("acknowledges an alarm", "operator", "POST", "/alarms/actions", acknowledge),
            ("plans work on an asset", "operator", "PUT", "/maintenance/tried", work),
        )
    ]


ACTS = [*_kafka(), *_certificates(), *_mqtt(), *_clickhouse(), *_registry(), *_api(), *_sites()]


def table() -> str:
    """The rows as docs/security.md shows them."""
    rows = [f"| {n} | {a.who} | {a.what} | {a.refusal} | {a.by} |" for n, a in enumerate(ACTS, 1)]
    return "\n".join(["| | who | does what | is refused with | the same is done by |", "|---" * 5 + "|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
