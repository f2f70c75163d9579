"""The gateway's metrics in Prometheus text format. Names are fixed: the console and the alert rules use them."""

from collections.abc import Mapping
from typing import Any

from fieldstream_schemas.quality import Flag, names
from fieldstream_schemas.reasons import REASONS

from fieldstream_edge.counters import Counters
from fieldstream_edge.spool.ledger import Spool

_PREFIX = "fieldstream_gateway_"
_GATEWAY_REASONS = [reason for reason in REASONS if reason not in ("undecodable", "unknown-schema", "insert-failed")]


class _Text:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def metric(self, name: str, kind: str, doc: str, value: float | None, labels: str = "") -> None:
        self.head(name, kind, doc)
        if value is not None:
            self.lines.append(f"{_PREFIX}{name}{labels} {value}")

    def family(self, name: str, doc: str, label: str, values: Mapping[str, int]) -> None:
        self.head(name, "counter", doc)
        for key, value in values.items():
            escaped = key.replace("\\", r"\\").replace('"', r"\"")
            self.lines.append(f'{_PREFIX}{name}{{{label}="{escaped}"}} {value}')

    def head(self, name: str, kind: str, doc: str) -> None:
        self.lines += [f"# HELP {_PREFIX}{name} {doc}", f"# TYPE {_PREFIX}{name} {kind}"]


def render(counters: Counters, spool: Spool, status: dict[str, Any]) -> str:
    """All metrics. `status` as Gateway.status returns it."""
    text = _Text()
    kept = spool.counters
    for name, doc, value in (
        ("messages_received_total", "MQTT messages taken in.", counters.messages),
        ("readings_accepted_total", "Readings that became durable.", counters.readings),
        ("readings_delivered_total", "Readings with Kafka's delivery report.", counters.delivered),
        ("entries_delivered_total", "Readings and dead letters with delivery report.", counters.delivered_entries),
        ("rate_limited_total", "Messages beyond intake.device_messages_per_s, lost.", counters.rate_limited),
        ("duplicates_total", "Readings that came again and were dropped.", counters.duplicates),
        ("delivery_errors_total", "Records that Kafka refused; they are sent again.", counters.delivery_errors),
        (
            "uplink_restarts_total",
            "Times the uplink began again behind the last delivered seq.",
            counters.producer_restarts,
        ),
        ("commit_retries_total", "Commits to the spool that had to be tried again.", counters.commit_retries),
        ("sessions_lost_total", "Connects at which the broker had forgotten the session.", counters.sessions_lost),
        ("heartbeats_total", "Heartbeats made.", counters.heartbeats),
        ("clock_steps_total", "Jumps of the gateway's clock by more than 5 s.", counters.clock_steps),
        ("own_messages_total", "Messages of gateways' status topics, ignored.", counters.own_messages),
        ("fsyncs_total", "Syncs of the spool.", kept.syncs),
        ("fsync_seconds_total", "Time spent in syncs of the spool.", kept.sync_seconds),
        ("spool_written_bytes_total", "Bytes written to the spool.", kept.stored_bytes),
        ("spool_dropped_total", "Undelivered entries dropped by policy: a known gap.", kept.dropped_entries),
        ("spool_damaged_total", "Entries found unreadable.", kept.damaged_entries),
        ("spool_torn_bytes_total", "Bytes of torn tails cut off at the start.", kept.torn_bytes),
        ("spool_io_errors_total", "Failed writes and syncs of the spool.", kept.io_errors),
        ("spool_refused_total", "Commits refused because the spool was full.", kept.refused),
    ):
        text.metric(name, "counter", doc, value)
    text.family(
        "dead_letters_total", "Dead letters by reason.", "reason", dict.fromkeys(_GATEWAY_REASONS, 0) | counters.reasons
    )
    text.family(
        "flagged_total",
        "Readings accepted with a flag.",
        "flag",
        {n: counters.flags[n] for f in Flag for n in names(f)},
    )
    text.family("mqtt_connects_total", "Connects, by broker.", "broker", counters.connects)
    text.family("mqtt_disconnects_total", "Connections lost, by broker.", "broker", counters.disconnects)
    gauges: tuple[tuple[str, str, float | None], ...] = (
        ("spool_readings", "Entries without delivery report.", status["spool_readings"]),
        ("spool_bytes", "Bytes of the spool on disk.", status["spool_bytes"]),
        ("spool_oldest_age_seconds", "Age of the oldest undelivered entry.", status["spool_oldest_age_s"]),
        ("spool_hours_left", "Hours until the spool is full at this intake.", status["spool_hours_left"]),
        ("last_seq", "Highest seq given out in this epoch.", status["last_seq"]),
        ("last_sent_seq", "Everything up to this seq is delivered.", status["last_sent_seq"]),
        ("clock_offset_seconds", "Median of device time minus ours.", _seconds(status["clock_offset_ms"])),
        (
            "certificate_expires_timestamp_seconds",
            "Expiry of the client certificate.",
            _seconds(status["certificate_expires_at"]),
        ),
        ("disk_free_bytes", "Free bytes on the spool's file system.", status["disk_free_bytes"]),
        ("resident_memory_bytes", "Resident memory.", status["memory_bytes"]),
        ("mqtt_connected", "1 if all brokers are connected.", int(status["mqtt_connected"])),
        ("kafka_connected", "1 if Kafka took the last records.", int(status["kafka_connected"])),
        ("ready", "1 if readings are accepted and forwarded.", int(status["ready"])),
        ("start_time_seconds", "When the process started.", status["started_at"] / 1000),
    )
    for name, doc, level in gauges:
        text.metric(name, "gauge", doc, level)
    return "\n".join(text.lines) + "\n"


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
