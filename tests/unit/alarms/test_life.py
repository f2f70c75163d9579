"""The life of alarms against a model that knows only the words of ISA-18.2."""

from typing import Any

import pytest
from fieldstream_central.alarms.life import (
    EPISODE_ACTIONS,
    MAX_SHELF_MS,
    Action,
    Alarm,
    Event,
    Mark,
    RefusedError,
    State,
    check,
    with_episode,
    with_event,
    with_parent,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

LATCHING = frozenset({"critical"})
HOUR = 3_600_000


def step(
    anomaly_id: str, started_at: int, revision: int, *, severity: str = "warning", ended_at: int | None = None
) -> dict[str, Any]:
    return {
        "anomaly_id": anomaly_id,
        "device_id": "pump-1",
        "metric": "temperature",
        "detector": "limit",
        "severity": severity,
        "state": "close" if ended_at else "open",
        "started_at": started_at,
        "ended_at": ended_at,
        "revision": revision,
    }


def incident(number: int, started_at: int, revision: int, ended_at: int | None = None) -> dict[str, Any]:
    told = step(f"i{number}", started_at, revision, ended_at=ended_at)
    return told | {"device_id": "hall-1", "metric": "", "detector": "incident"}


class AlarmLife(RuleBasedStateMachine):
    """Acts as operators and the plant do; the model keeps what each word means, nothing of how it is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.alarm = Alarm("pump-1/temperature/limit", LATCHING)
        self.now = 1_000_000
        self.episodes = 0
        self.revision = 0
        self.active = self.told = self.severe = self.was_reset = False
        self.shelf_ends = 0
        self.suppressed = self.out_of_service = False
        self.incidents = 0
        self.incident_lasts = self.came_within = False  # came_within: the episode ended while an incident named it
        self.marks: dict[str, Mark] = {}

    def act(self, action: Action, *, allowed: bool, who: str = "ann", **fields: Any) -> None:
        about = action in EPISODE_ACTIONS
        event = Event("e", self.alarm.alarm_id, self.alarm.revision + 1, action, self.now, who,
                      anomaly_id=f"a{self.episodes}" if about else "",
                      severity="critical" if self.severe else "warning", **fields)  # fmt: skip
        if not allowed:
            with pytest.raises(RefusedError):
                check(self.alarm, event)
            return
        check(self.alarm, event)
        after = with_event(self.alarm, event)
        assert after is not None
        self.alarm = after

    @rule(severe=st.booleans())
    @precondition(lambda self: not self.active)
    def condition_comes(self, severe: bool) -> None:
        self.episodes += 1
        self.active, self.told, self.was_reset, self.severe = True, False, False, severe
        self.came_within, self.marks = False, {}
        self.now += 1
        self.began = self.now
        self.tell()

    @rule()
    @precondition(lambda self: self.active and not self.severe)
    def condition_gets_worse(self) -> None:
        self.severe, self.told = True, False  # nobody has acknowledged that
        self.tell()

    @rule()
    @precondition(lambda self: self.active)
    def condition_goes(self) -> None:
        self.now += 1
        self.active, self.came_within = False, self.incident_lasts
        self.tell(self.now)

    def tell(self, ended_at: int | None = None) -> None:
        self.revision += 1
        severity = "critical" if self.severe else "warning"
        told = step(f"a{self.episodes}", self.began, self.revision, severity=severity, ended_at=ended_at)
        self.alarm = with_episode(self.alarm, told)

    @rule()
    @precondition(lambda self: self.episodes)
    def an_old_step_comes_again(self) -> None:
        self.alarm = with_episode(self.alarm, step(f"a{self.episodes}", self.began, 0))

    @rule()
    @precondition(lambda self: not self.incident_lasts)
    def an_incident_names_the_alarm(self) -> None:
        self.now += 1  # it begins after whatever is over
        self.incidents, self.incident_lasts, self.incident_began = self.incidents + 1, True, self.now
        self.alarm = with_parent(self.alarm, incident(self.incidents, self.now, 1))
        self.came_within = False

    @rule()
    @precondition(lambda self: self.incident_lasts)
    def the_incident_ends(self) -> None:
        self.incident_lasts = False
        self.alarm = with_parent(self.alarm, incident(self.incidents, self.incident_began, 2, self.now))

    @rule()
    @precondition(lambda self: self.incidents)
    def an_old_step_of_the_incident_comes_again(self) -> None:
        self.alarm = with_parent(self.alarm, incident(self.incidents, self.incident_began, 0))

    @rule(who=st.sampled_from(["ann", "bob"]), mark=st.sampled_from(["useful", "false", "expected", "", "dull"]))
    def mark(self, who: str, mark: str) -> None:
        allowed = self.episodes > 0 and mark in set(Mark)
        self.act(Action.MARK, allowed=allowed, who=who, mark=mark)
        if allowed:
            self.marks[who] = Mark(mark)

    @invariant()
    def the_newest_mark_of_each_holds_for_this_episode(self) -> None:
        marks = self.alarm.marks if self.alarm.marked_episode == f"a{self.episodes}" else {}
        assert marks == self.marks

    @rule()
    def acknowledge(self) -> None:
        self.act(Action.ACKNOWLEDGE, allowed=self.episodes > 0 and not self.told)
        self.told = self.episodes > 0

    @rule()
    def reset(self) -> None:
        self.act(Action.RESET, allowed=self.told)
        self.was_reset |= self.told

    @rule(hours=st.integers(-1, 30), reason=st.sampled_from(["", "valve is being changed"]))
    def shelve(self, hours: int, reason: str) -> None:
        allowed = self.episodes > 0 and 0 < hours <= 24 and bool(reason)
        self.act(Action.SHELVE, allowed=allowed, until=self.now + hours * HOUR, comment=reason)
        if allowed:
            self.shelf_ends = self.now + hours * HOUR

    @rule()
    def unshelve(self) -> None:
        self.act(Action.UNSHELVE, allowed=self.shelf_ends > self.now)
        self.shelf_ends = 0

    @rule()
    def suppress_by_design(self) -> None:
        self.act(Action.SUPPRESS, allowed=self.episodes > 0)
        self.suppressed |= self.episodes > 0

    @rule()
    def unsuppress(self) -> None:
        self.act(Action.UNSUPPRESS, allowed=self.suppressed)
        self.suppressed = False

    @rule(reason=st.sampled_from(["", "sensor is dismantled"]))
    def take_out_of_service(self, reason: str) -> None:
        allowed = self.episodes > 0 and bool(reason)
        self.act(Action.OUT_OF_SERVICE, allowed=allowed, comment=reason)
        self.out_of_service |= allowed

    @rule()
    def put_into_service(self) -> None:
        self.act(Action.IN_SERVICE, allowed=self.out_of_service)
        self.out_of_service = False

    @rule(text=st.sampled_from(["", "seen"]))
    def comment(self, text: str) -> None:
        self.act(Action.COMMENT, allowed=self.episodes > 0 and bool(text), comment=text)

    @rule(minutes=st.integers(1, 20 * 60))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes * 60_000

    @rule()
    def somebody_who_was_second_changes_nothing(self) -> None:
        late = Event("e", self.alarm.alarm_id, self.alarm.revision, Action.ACKNOWLEDGE, self.now, "bob")
        assert with_event(self.alarm, late) is None

    @invariant()
    def the_state_is_what_the_model_says(self) -> None:
        assert self.alarm.state(self.now) is self.expected()

    def expected(self) -> State:
        words = [
            (self.out_of_service, State.OUT_OF_SERVICE),
            (self.suppressed or (self.active and self.incident_lasts), State.SUPPRESSED),
            (self.shelf_ends > self.now, State.SHELVED),
            (self.episodes > 0 and self.came_within, State.CLEARED),
            (self.active and self.told, State.ACKNOWLEDGED),
            (self.active, State.UNACKNOWLEDGED),
            (self.episodes > 0 and not self.told, State.RETURNED_UNACKNOWLEDGED),
            (self.episodes > 0 and self.severe and not self.was_reset, State.LATCHED),
        ]
        return next((state for holds, state in words if holds), State.CLEARED)


TestAlarmLife = AlarmLife.TestCase
TestAlarmLife.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_a_shelf_of_more_than_a_day_is_refused_with_what_to_do_instead() -> None:
    alarm = with_episode(Alarm("x"), step("a1", 1, 1))
    event = Event("e", "x", 1, Action.SHELVE, 0, "ann", comment="why", until=MAX_SHELF_MS + 1)
    with pytest.raises(RefusedError, match="out of service"):
        check(alarm, event)
