"""What a message says of an incident, gathered for the templates: all text, nothing formatted.

The alarms come from Kafka's log; what came before and the unit come from ClickHouse, and are missing while it is away.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from fieldstream_central.alarms.incidents import DETECTOR, GATEWAY, Step, asset_of, cause_of, incident_of, is_parent
from fieldstream_central.alarms.life import Alarm, members_of
from fieldstream_central.notify.config import NotifyConfig
from fieldstream_central.notify.links import signed
from fieldstream_central.notify.notices import incident_page
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError

_AROUND_MS = 30 * 60_000
_SHOWN_MEMBERS, _SHOWN_SIMILAR = 10, 3
_STORE_S = 2.0
# Earlier episodes of the same alarm; of an incident, those of the same asset whatever their number.
_SIMILAR = """
SELECT toUnixTimestamp64Milli(started_at) AS started_at, toUnixTimestamp64Milli(ended_at) AS ended_at, reason
FROM fieldstream.anomalies WHERE device_id = {device:String} AND metric = {metric:String}
    AND startsWith(detector, {detector:String}) AND anomaly_id != {anomaly_id:String} AND NOT shadow
    AND started_at < fromUnixTimestamp64Milli({started_at:Int64}) AND started_at > now64(3) - INTERVAL 90 DAY
ORDER BY started_at DESC LIMIT {most:UInt32}
"""
_UNIT = "SELECT unit FROM fieldstream.assets WHERE device_id = {device:String} AND metric = {metric:String}"
_MARKS = """
SELECT mark, count() AS n FROM fieldstream.alarm_events
WHERE alarm_id = {alarm_id:String} AND action = 'mark' AND holds GROUP BY mark ORDER BY n DESC
"""


@dataclass(frozen=True)
class Links:
    """Where to look and what to do; empty: there is none."""

    incident: str = ""
    grafana: str = ""
    plot: str = ""
    acknowledge: str = ""
    runbook: str = ""


@dataclass(frozen=True)
class Message:
    """One incident for people. Times are text in UTC; `similar` is None when the store did not answer."""

    status: str
    title: str
    severity: str
    reason: str
    asset: str = ""
    place: str = ""
    sensor: str = ""
    observed: str = ""
    expected: str = ""
    since: str = ""
    ended: str = ""
    lasted: str = ""
    certainty: str = ""
    members: tuple[str, ...] = ()
    more_members: int = 0
    similar: tuple[str, ...] | None = ()
    marks: str = ""
    escalated: bool = False
    links: Links = field(default_factory=Links)
    incident: str = ""
    alarm_id: str = ""
    anomaly_ids: tuple[str, ...] = ()


class Messages:
    """Makes messages of alarms. `find` gives an alarm by its id."""

    def __init__(self, settings: Settings, config: NotifyConfig, key: bytes, find: Callable[[str], Alarm]) -> None:
        self._settings, self._config, self._key, self._find = settings, config, key, find
        self._store = ClickHouse(settings.clickhouse, timeout_s=_STORE_S)

    def of(self, alarm: Alarm, status: str, *, receiver: str = "", escalated: bool = False) -> Message:
        """The message of an alarm that has had an episode."""
        step: Step = alarm.episode or {}
        unit, similar, marks = self._past(alarm)
        members = [self._find(member) for member in members_of(step)]
        parts = (step["device_id"], step["metric"]) if not is_parent(step) else ()
        return Message(
            status=status,
            title=title(step),
            severity=step["severity"],
            reason=step["reason"],
            asset=asset_of(step),
            place=" / ".join(filter(None, (step["site"], step["area"]))),
            sensor=" ".join(filter(None, parts)),
            observed=_value(step["observed"], unit),
            expected=_expected(step, unit),
            since=moment(step["started_at"]),
            ended=moment(step["ended_at"]) if status == "resolved" and step["ended_at"] else "",
            lasted=_duration((step["ended_at"] or time.time_ns() // 1_000_000) - step["started_at"]),
            certainty="" if is_parent(step) else f"{step['score']:.0%}",
            members=tuple(_member(member) for member in members[:_SHOWN_MEMBERS]),
            more_members=max(0, len(members) - _SHOWN_MEMBERS),
            similar=similar,
            marks=marks,
            escalated=escalated,
            links=self._links(alarm, receiver),
            incident=incident_of(step),
            alarm_id=alarm.alarm_id,
            anomaly_ids=tuple(one["anomaly_id"] for one in (step, *(m.episode for m in members)) if one),
        )

    def of_alert(self, alert: dict[str, Any], status: str, incident: str) -> Message:
        """The message of an alert about the system itself, of Prometheus or Grafana."""
        notes, labels = alert.get("annotations", {}), alert.get("labels", {})
        name = labels.get("alertname", "alert")
        return Message(
            status=status,
            title=notes.get("summary") or name,
            severity=labels.get("severity", "warning"),
            reason=notes.get("description", ""),
            since=moment(datetime.fromisoformat(alert["startsAt"]).timestamp() * 1000) if "startsAt" in alert else "",
            links=Links(runbook=notes.get("runbook_url") or f"{self._config.runbooks}/{name}"),
            incident=incident,
        )

    def _links(self, alarm: Alarm, receiver: str) -> Links:
        step: Step = alarm.episode or {}
        now_ms = time.time_ns() // 1_000_000
        start = step["started_at"] - _AROUND_MS
        end = min((step["ended_at"] or now_ms) + _AROUND_MS, max(now_ms, start + _AROUND_MS))
        board = {"from": str(start), "to": str(end)}
        page = "fieldstream-asset"
        if step["detector"] == GATEWAY:
            page = "fieldstream-gateways"
        elif step["metric"]:
            page, board = "fieldstream-sensor", board | {"var-sensor": f"{step['device_id']}/{step['metric']}"}
        else:
            board |= {"var-asset": asset_of(step)}
        about = step["kind"]
        if is_parent(step):
            about = "gateway" if step["detector"] == GATEWAY else "asset"
        named = {"alarm": alarm.alarm_id, "episode": step["anomaly_id"]}
        acknowledge = signed(self._key, self._settings.api, "acknowledge", named | {"by": receiver}, now_ms)
        return Links(
            incident=incident_page(self._settings.console, alarm.alarm_id),
            grafana=f"{self._settings.grafana}/d/{page}?{urlencode(board)}",
            plot=signed(self._key, self._settings.api, "plot.png", named, now_ms) if step["metric"] else "",
            acknowledge=acknowledge if step["state"] != "close" else "",
            runbook=f"{self._config.runbooks}/sensor-alarms#{about}",
        )

    def _past(self, alarm: Alarm) -> tuple[str, tuple[str, ...] | None, str]:
        """The unit, similar earlier ones, and what people thought of this alarm."""
        step: Step = alarm.episode or {}
        about = {
            **{"device": step["device_id"], "metric": step["metric"], "alarm_id": alarm.alarm_id},
            "detector": DETECTOR if is_parent(step) and step["detector"] != GATEWAY else step["detector"],
            **{"anomaly_id": step["anomaly_id"], "started_at": step["started_at"], "most": _SHOWN_SIMILAR},
        }
        try:
            similar = self._store.rows(_SIMILAR, about)
            units = self._store.rows(_UNIT, about) if step["metric"] else []
            marks = self._store.rows(_MARKS, about)
        except ClickHouseError:
            return "", None, ""
        told = tuple(
            f"{moment(int(one['started_at']))}"
            + (f", for {_duration(int(one['ended_at']) - int(one['started_at']))}" if one["ended_at"] else "")
            + f": {one['reason']}"
            for one in similar
        )
        counts = ", ".join(f"{one['n']} {one['mark']}" for one in marks)
        return (units[0]["unit"] or "") if units else "", told, counts


def title(step: Step) -> str:
    """What it is, in a line."""
    if step["detector"] == GATEWAY:
        return f"Gateway {step['device_id']} is offline"
    if is_parent(step):
        return f"{asset_of(step)}: {len(step['members'])} alarms at once ({cause_of(step)})"
    return f"{asset_of(step)}: {' '.join(filter(None, (step['metric'], step['kind'].replace('-', ' '))))}"


def moment(epoch_ms: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(span_ms: float) -> str:
    seconds = max(0, round(span_ms / 1000))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _value(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.5g} {unit}".strip()


def _expected(step: Step, unit: str) -> str:
    low, high = step["expected_low"], step["expected_high"]
    if low is not None and high is not None:
        return f"{low:.5g} to {high:.5g} {unit}".strip()
    if high is not None:
        return f"at most {high:.5g} {unit}".strip()
    if low is not None:
        return f"at least {low:.5g} {unit}".strip()
    return _value(step["expected"], unit)


def _member(alarm: Alarm) -> str:
    step = alarm.episode
    if step is None:
        return alarm.alarm_id
    observed = "" if step["observed"] is None else f", {step['observed']:.5g} observed"
    return f"{step['device_id']} {step['metric']}: {step['kind'].replace('-', ' ')}{observed}".replace(" :", ":")
