"""An alarm's life as a state machine without machinery (ANSI/ISA-18.2, clause 5.6).

An alarm is one detector on one sensor; it comes and goes in episodes. Two streams make its state, in any order of
arrival between them: episodes (topic `anomalies`) say whether its condition holds, events (topic `alarms`) say what
people did. Acknowledging names an episode, so it ends with it; shelving and out of service are about the alarm.
An incident is an alarm whose episode names other alarms, its members: while both hold, the member is suppressed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

SEVERITIES = ("info", "warning", "critical")
MAX_SHELF_MS = 24 * 3600 * 1000
_EPISODES_KEPT = 500_000  # more than a plant has in the month that the topic is kept


class State(StrEnum):
    """The states of ISA-18.2 in the order in which they outrank each other."""

    OUT_OF_SERVICE = "out-of-service"
    SUPPRESSED = "suppressed"
    SHELVED = "shelved"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned-unacknowledged"
    LATCHED = "latched"
    CLEARED = "cleared"


# Nobody is told of these, neither when they come nor when they go.
ASIDE = frozenset({State.OUT_OF_SERVICE, State.SUPPRESSED, State.SHELVED})


class Action(StrEnum):
    """What can be done to an alarm."""

    ACKNOWLEDGE = "acknowledge"
    COMMENT = "comment"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    OUT_OF_SERVICE = "out-of-service"
    IN_SERVICE = "in-service"
    RESET = "reset"
    MARK = "mark"


class Mark(StrEnum):
    """What somebody thinks of an episode's alarm. It is counted, and changes no threshold."""

    USEFUL = "useful"
    FALSE = "false"
    EXPECTED = "expected"


# They mean the alarm's newest episode, the others the alarm as such.
EPISODE_ACTIONS = frozenset({Action.ACKNOWLEDGE, Action.RESET, Action.MARK})
# Whoever may do it; viewers may do nothing.
ADMIN_ACTIONS = frozenset({Action.OUT_OF_SERVICE, Action.IN_SERVICE})


class RefusedError(Exception):
    """An action that the alarm's state does not allow; the message says why and what can be done."""


@dataclass(frozen=True)
class Event:
    """One action. Fields as in alarm_event.avsc; times are epoch milliseconds."""

    event_id: str
    alarm_id: str
    revision: int
    action: Action
    at: int
    who: str
    anomaly_id: str = ""
    comment: str = ""
    until: int | None = None
    mark: str = ""
    severity: str = ""


@dataclass(frozen=True)
class Hold:
    """Who put an alarm aside, when, why, and until when (None: until somebody ends it)."""

    who: str
    at: int
    comment: str
    until: int | None = None


@dataclass(frozen=True)
class Parent:
    """The newest step of an incident that names the alarm. `ended_at`: None while the incident lasts."""

    alarm_id: str
    anomaly_id: str
    started_at: int
    revision: int
    ended_at: int | None = None


@dataclass(frozen=True)
class Alarm:
    """One alarm. `revision` counts its events; `episode` is its newest step of topic `anomalies`.

    `latching`: severities that stay until they are reset. `marks`: by who set them, on episode `marked_episode`.
    `named_by`: see `parent`.
    """

    alarm_id: str
    latching: frozenset[str] = frozenset()
    revision: int = 0
    episode: dict[str, Any] | None = None
    acknowledged: Hold | None = None
    acknowledged_episode: str = ""
    acknowledged_severity: str = ""
    reset_episode: str = ""
    shelf: Hold | None = None
    suppression: Hold | None = None
    service: Hold | None = None
    last_event: Event | None = None
    marks: Mapping[str, Mark] = field(default_factory=dict)
    marked_episode: str = ""
    named_by: Parent | None = None

    @property
    def parent(self) -> Parent | None:
        """The incident that its episode belongs to: one that names the alarm and ended no sooner than the episode."""
        episode, incident = self.episode, self.named_by
        if episode is None or incident is None:
            return None
        ended_at = episode["ended_at"]
        if ended_at is None:
            return incident if incident.ended_at is None else None
        last = ended_at if incident.ended_at is None else incident.ended_at
        return incident if incident.started_at <= ended_at <= last else None

    @property
    def told(self) -> bool:
        """Whether somebody acknowledged its episode as severe as it is: what becomes worse is news."""
        episode = self.episode or {}
        if not self.acknowledged_episode or self.acknowledged_episode != episode.get("anomaly_id"):
            return False
        return rank(episode["severity"]) <= rank(self.acknowledged_severity or episode["severity"])

    def state(self, now_ms: int) -> State:
        """Its state at a time."""
        active = self.episode is not None and self.episode["state"] != "close"
        aside = {
            State.OUT_OF_SERVICE: self.service is not None,
            State.SUPPRESSED: self.suppression is not None or (active and self.parent is not None),
            State.SHELVED: self.shelved(now_ms),
            # What came and went within an incident is acknowledged with it.
            State.CLEARED: self.episode is None or (not active and self.parent is not None),
        }
        for state, holds in aside.items():
            if holds:
                return state
        episode = self.episode or {}
        if active:
            return State.ACKNOWLEDGED if self.told else State.UNACKNOWLEDGED
        if not self.told:
            return State.RETURNED_UNACKNOWLEDGED
        latched = episode["severity"] in self.latching and self.reset_episode != episode["anomaly_id"]
        return State.LATCHED if latched else State.CLEARED

    def shelved(self, now_ms: int) -> bool:
        """Whether it lies on a shelf; shelves end by themselves."""
        return self.shelf is not None and (self.shelf.until or 0) > now_ms


def rank(severity: str) -> int:
    """How severe: the higher the worse."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


def alarm_id_of(episode: dict[str, Any]) -> str:
    """The alarm that an episode belongs to."""
    return f"{episode['device_id']}/{episode['metric']}/{episode['detector']}"


class Episodes:
    """Keeps each episode with the alarm of its first step: it takes over the detector of its worst finding."""

    def __init__(self) -> None:
        self._detectors: dict[str, str] = {}

    def first(self, step: dict[str, Any]) -> dict[str, Any]:
        """The step with the detector that began its episode."""
        detector = self._detectors.setdefault(step["anomaly_id"], step["detector"])
        if len(self._detectors) > _EPISODES_KEPT:
            del self._detectors[next(iter(self._detectors))]
        return step if detector == step["detector"] else step | {"detector": detector}


def with_episode(alarm: Alarm, step: dict[str, Any]) -> Alarm:
    """The alarm after a step of an episode; an older step, or one of an older episode, changes nothing."""
    known = alarm.episode
    if known and (step["started_at"], step["anomaly_id"], step["revision"]) < (
        known["started_at"],
        known["anomaly_id"],
        known["revision"],
    ):
        return alarm
    return replace(alarm, episode=step)


def members_of(step: dict[str, Any]) -> list[str]:
    """The alarms that an incident's step names; a device that fell silent names its sensors, which are no alarms."""
    return [member for member in step["members"] if member.count("/") == 2]


def with_parent(alarm: Alarm, step: dict[str, Any]) -> Alarm:
    """The alarm after a step of an incident that names it; an older step changes nothing."""
    told = Parent(alarm_id_of(step), step["anomaly_id"], step["started_at"], step["revision"], step["ended_at"])
    known = alarm.named_by
    if known and _order(told) < _order(known):
        return alarm
    return replace(alarm, named_by=told)


def _order(parent: Parent) -> tuple[int, str, int]:
    return parent.started_at, parent.anomaly_id, parent.revision


def check(alarm: Alarm, event: Event) -> None:
    """Raises RefusedError when the alarm's state does not allow the action."""
    if alarm.episode is None and event.action not in (Action.IN_SERVICE, Action.UNSHELVE, Action.UNSUPPRESS):
        raise RefusedError(f"there is no alarm {event.alarm_id}; GET /api/v1/alarms lists them")
    if event.action in EPISODE_ACTIONS:
        _check_episode(alarm, event)
    elif event.action is Action.SHELVE:
        if not event.comment.strip():
            raise RefusedError("shelving needs a reason in `comment`: who finds the alarm on the shelf must know why")
        if event.until is None or not event.at < event.until <= event.at + MAX_SHELF_MS:
            raise RefusedError("a shelf ends within 24 hours: give `until`; for longer, take the alarm out of service")
    elif event.action is Action.OUT_OF_SERVICE and not event.comment.strip():
        raise RefusedError("taking an alarm out of service needs a reason in `comment`")
    elif event.action is Action.COMMENT and not event.comment.strip():
        raise RefusedError("the comment is empty")
    elif event.action is Action.UNSHELVE and not alarm.shelved(event.at):
        raise RefusedError("the alarm is not on a shelf")
    elif event.action is Action.IN_SERVICE and alarm.service is None:
        raise RefusedError("the alarm is in service")
    elif event.action is Action.UNSUPPRESS and alarm.suppression is None:
        raise RefusedError("the alarm is not suppressed")


def _check_episode(alarm: Alarm, event: Event) -> None:
    current = (alarm.episode or {}).get("anomaly_id")
    if event.anomaly_id != current:
        raise RefusedError(f"episode {event.anomaly_id or '(none)'} is over; the alarm's newest is {current}")
    if event.action is Action.ACKNOWLEDGE and alarm.told and alarm.acknowledged:
        raise RefusedError(f"{alarm.acknowledged.who} has acknowledged it already")
    if event.action is Action.RESET and not alarm.told:
        raise RefusedError("it has not been acknowledged; acknowledge it first")
    if event.action is Action.MARK and event.mark not in set(Mark):
        raise RefusedError(f"`mark` must be one of {', '.join(Mark)}")


def with_event(alarm: Alarm, event: Event) -> Alarm | None:
    """The alarm after an event as it stands in the log; None when the event is void.

    Void is what comes with a number that is taken: of two people who act at once, the first in the log holds. Nothing
    but the log's order decides, so every reader comes to the same state.
    """
    if event.revision != alarm.revision + 1:
        return None
    hold = Hold(event.who, event.at, event.comment, event.until)
    changes: dict[str, Any] = {}
    match event.action:
        case Action.ACKNOWLEDGE:
            changes = {
                "acknowledged": hold,
                "acknowledged_episode": event.anomaly_id,
                "acknowledged_severity": event.severity,
            }
        case Action.RESET:
            changes = {"reset_episode": event.anomaly_id}
        case Action.SHELVE:
            changes = {"shelf": hold}
        case Action.UNSHELVE:
            changes = {"shelf": None}
        case Action.SUPPRESS:
            changes = {"suppression": hold}
        case Action.UNSUPPRESS:
            changes = {"suppression": None}
        case Action.OUT_OF_SERVICE:
            changes = {"service": hold}
        case Action.IN_SERVICE:
            changes = {"service": None}
        case Action.MARK:
            before = alarm.marks if alarm.marked_episode == event.anomaly_id else {}
            changes = {
                "marks": {**before, event.who: Mark(event.mark)},
                "marked_episode": event.anomaly_id,
            }
        case Action.COMMENT:
            pass
    return replace(alarm, revision=event.revision, last_event=event, **changes)
