"""Who may do what in Kafka: the one table from which access lists, the chart and the documentation are made.

A principal without a row here may do nothing. Reading or writing a topic includes asking for its offsets.
"""

from dataclasses import dataclass

from fieldstream_schemas.topics import (
    ALARMS,
    ANOMALIES,
    ASSETS,
    AUDIT_LOG,
    DEAD_LETTERS,
    FORGET,
    GATEWAYS,
    MAINTENANCE,
    READINGS_CLEAN,
    READINGS_RAW,
    TOPICS,
    WINDOWS,
    Topic,
)

REHEARSAL = "upgrade-rehearsal"  # a topic for as long as the rehearsal of an upgrade runs
ASSET_CHANGES = "assets.changes"  # Debezium's, of the asset registry: JSON
# What the loader stores, and so what a dead letter of the loader is sent to once more.
_STORED = (READINGS_CLEAN, WINDOWS, ANOMALIES, ALARMS, DEAD_LETTERS, GATEWAYS, ASSETS)


@dataclass(frozen=True, kw_only=True)
class Component:
    """One program. A group that ends in * stands for all that begin so."""

    name: str
    does: str
    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    rehearses: tuple[str, ...] = ()  # topics of no schema that it writes while an upgrade is rehearsed
    follows: tuple[str, ...] = ()  # topics of no schema that it reads
    groups: tuple[str, ...] = ()
    watched_groups: tuple[str, ...] = ()  # whose lag it asks for
    watches: tuple[Topic, ...] = ()  # topics whose offsets it asks for, and nothing else
    creates: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()  # topics that are its own affair; a name that ends in * as with groups


@dataclass(frozen=True)
class Right:
    """One entry of an access list. `resource` is topic or group; a `prefixed` name stands for all that begin so."""

    resource: str
    name: str
    prefixed: bool
    operations: tuple[str, ...]


COMPONENTS = {
    component.name: component
    for component in (
        Component(
            name="gateway",
            does="sends readings, dead letters, heartbeats",
            writes=(READINGS_RAW, DEAD_LETTERS, GATEWAYS),
        ),
        Component(
            name="pipeline",
            does="checks, enriches and counts readings",
            reads=(READINGS_RAW, GATEWAYS, ASSETS),
            writes=(READINGS_CLEAN, WINDOWS, DEAD_LETTERS),
            rehearses=(REHEARSAL,),
            groups=("fieldstream-pipeline",),
        ),
        Component(
            name="detect",
            does="judges windows",
            reads=(WINDOWS, GATEWAYS, MAINTENANCE),
            writes=(ANOMALIES,),
            rehearses=(REHEARSAL,),
            groups=("fieldstream-detect", "fieldstream-maintenance"),
        ),
        Component(
            name="jobs",
            does="keeps the jobs running, shows lag, rehearses upgrades",
            reads=(READINGS_RAW, WINDOWS, ANOMALIES),
            watched_groups=("fieldstream-pipeline", "fieldstream-detect", "fieldstream-alerter"),
            creates=(REHEARSAL,),
            deletes=(REHEARSAL,),
        ),
        Component(
            name="loader",
            does="stores, erases forgotten people",
            reads=(*_STORED, FORGET),
            writes=(DEAD_LETTERS,),
            groups=("fieldstream-loader", "fieldstream-eraser"),
        ),
        Component(
            name="alerter",
            does="makes incidents and tells people",
            reads=(ANOMALIES, ALARMS, GATEWAYS),
            writes=(ANOMALIES, ALARMS),
            groups=("fieldstream-alerter", "fieldstream-alarms-*"),
        ),
        Component(
            name="api",
            does="takes what people do: alarms, planned work, dead letters sent again",
            reads=(ANOMALIES, ALARMS, MAINTENANCE, AUDIT_LOG),
            writes=(READINGS_RAW, *_STORED, MAINTENANCE, AUDIT_LOG),
            groups=("fieldstream-maintenance", "fieldstream-alarms-*", "fieldstream-audit-log"),
        ),
        Component(
            name="tracer",
            does="asks where a reading is, for OpenTelemetry",
            reads=(READINGS_RAW, READINGS_CLEAN),
            groups=("fieldstream-trace",),  # it commits nothing, but its client looks for the coordinator
        ),
        Component(
            name="registry",
            does="keeps schemas",
            groups=("apicurio-*", "kafkasql-*"),
            keeps=("kafkasql-*", "registry-events"),
        ),
        Component(
            name="connect",
            does="reads the asset registry in Postgres (Debezium on Kafka Connect)",
            groups=("fieldstream-connect",),
            keeps=(ASSET_CHANGES, "__debezium-heartbeat.assets", "connect-*"),
        ),
        Component(
            name="assets",
            does="makes sensors of what changed in the asset registry",
            reads=(ASSETS,),
            writes=(ASSETS, DEAD_LETTERS),
            follows=(ASSET_CHANGES,),
            groups=("fieldstream-assets",),
        ),
        Component(
            name="scaler",
            does="asks for the loader's lag (KEDA on Kubernetes)",
            watches=(READINGS_CLEAN,),
            watched_groups=("fieldstream-loader",),
        ),
        Component(
            name="setup",
            does="creates topics, loads assets, announces planned work and requests to forget",
            reads=(AUDIT_LOG,),
            writes=(ASSETS, MAINTENANCE, FORGET, AUDIT_LOG),
            groups=("fieldstream-audit-log",),
            creates=tuple(TOPICS),
        ),
    )
}


def rights(component: Component) -> list[Right]:
    """The component's access list, in a fixed order."""
    found = [Right("topic", topic.name, False, ("Read", "Describe")) for topic in component.reads]
    found += [Right("topic", topic.name, False, ("Write", "Describe")) for topic in component.writes]
    found += [Right("topic", topic.name, False, ("Describe",)) for topic in component.watches]
    found += [Right("topic", name, False, ("Write", "Describe")) for name in component.rehearses]
    found += [Right("topic", name, False, ("Read", "Describe")) for name in component.follows]
    found += [Right("topic", name, False, ("Create", "Describe")) for name in component.creates]
    found += [Right("topic", name, False, ("Delete",)) for name in component.deletes]
    everything = ("Create", "Read", "Write", "Describe", "DescribeConfigs", "AlterConfigs")
    found += [Right("topic", name.removesuffix("*"), name.endswith("*"), everything) for name in component.keeps]
    found += [Right("group", name.removesuffix("*"), name.endswith("*"), ("Read",)) for name in component.groups]
    found += [Right("group", name, False, ("Describe",)) for name in component.watched_groups]
    return found
