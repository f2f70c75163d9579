"""The life of alarms against a model that knows only the words of ISA-18.2."""

from typing import Any

import pytest
from fieldstream_central.alarms.life import (
    MAX_SHELF_MS,
    Action,
    Alarm,
    Event,
    RefusedError,
    State,
    check,
    with_episode,
    with_event,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

LATCHING = frozenset({"critical"})
HOUR = 3_600_000


def step(anomaly_id: str, state: str, started_at: int, revision: int, severity: str = "warning") -> dict[str, Any]:
    return {
        "anomaly_id": anomaly_id,
        "device_id": "pump-1",
        "metric": "temperature",
        "detector": "limit",
        "severity": severity,
        "state": state,
        "started_at": started_at,
        "revision": revision,
    }


class AlarmLife(RuleBasedStateMachine):
    """Acts as operators and the plant do; the model keeps what each word means, nothing of how it is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.alarm = Alarm("pump-1/temperature/limit")
        self.now = 1_000_000
        self.episodes = 0
        self.revision = 0
        self.active = self.told = self.severe = self.was_reset = False
        self.shelf_ends = 0
        self.suppressed = self.out_of_service = False

    def act(self, action: Action, *, allowed: bool, **fields: Any) -> None:
        about = action in (Action.ACKNOWLEDGE, Action.RESET)
        event = Event("e", self.alarm.alarm_id, self.alarm.revision + 1, action, self.now, "ann",
                      anomaly_id=f"a{self.episodes}" if about else "", **fields)  # fmt: skip
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
        self.tell("open")

    @rule()
    @precondition(lambda self: self.active)
    def condition_goes(self) -> None:
        self.active = False
        self.tell("close")

    def tell(self, state: str) -> None:
        self.revision += 1
        severity = "critical" if self.severe else "warning"
        self.alarm = with_episode(self.alarm, step(f"a{self.episodes}", state, self.episodes, self.revision, severity))

    @rule()
    @precondition(lambda self: self.episodes)
    def an_old_step_comes_again(self) -> None:
        self.alarm = with_episode(self.alarm, step(f"a{self.episodes}", "open", self.episodes, 0))

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
        assert self.alarm.state(self.now, LATCHING) is self.expected()

    def expected(self) -> State:
        words = [
            (self.out_of_service, State.OUT_OF_SERVICE),
            (self.suppressed, State.SUPPRESSED),
            (self.shelf_ends > self.now, State.SHELVED),
            (self.active and self.told, State.ACKNOWLEDGED),
            (self.active, State.UNACKNOWLEDGED),
            (self.episodes > 0 and not self.told, State.RETURNED_UNACKNOWLEDGED),
            (self.episodes > 0 and self.severe and not self.was_reset, State.LATCHED),
        ]
        return next((state for holds, state in words if holds), State.CLEARED)


TestAlarmLife = AlarmLife.TestCase
TestAlarmLife.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_a_shelf_of_more_than_a_day_is_refused_with_what_to_do_instead() -> None:
    alarm = with_episode(Alarm("x"), step("a1", "open", 1, 1))
    event = Event("e", "x", 1, Action.SHELVE, 0, "ann", comment="why", until=MAX_SHELF_MS + 1)
    with pytest.raises(RefusedError, match="out of service"):
        check(alarm, event)
