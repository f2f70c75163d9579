"""Alarms on a real Kafka: never lost by a restart, and two people at once are both told the truth."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from fieldstream_central.alarms.life import Action, RefusedError, State
from fieldstream_central.alarms.log import AlarmLog, AlarmsAwayError, ConflictError
from fieldstream_central.settings import Settings
from integration.alarms.conftest import Plant
from integration.store.rig import eventually


def state(log: AlarmLog, alarm_id: str) -> State | None:
    now = time.time_ns() // 1_000_000
    return next((alarm.state(now) for alarm in log.alarms() if alarm.alarm_id == alarm_id), None)


def is_in(log: AlarmLog, alarm_id: str, wanted: State) -> bool:
    return state(log, alarm_id) is wanted


def test_an_alarm_lives_and_another_process_that_starts_later_sees_the_same(plant: Plant) -> None:
    log = plant.log()
    alarm_id = plant.episode("life-1", device="life")
    eventually(lambda: state(log, alarm_id) is State.UNACKNOWLEDGED)
    log.perform(alarm_id, Action.ACKNOWLEDGE, "ann", comment="on my way")
    assert state(log, alarm_id) is State.ACKNOWLEDGED
    with pytest.raises(RefusedError, match="ann has acknowledged"):
        log.perform(alarm_id, Action.ACKNOWLEDGE, "bob")
    until = time.time_ns() // 1_000_000 + 60_000
    log.perform(alarm_id, Action.SHELVE, "ann", comment="valve is being changed", until=until)
    log.stop()
    again = plant.log()
    assert state(again, alarm_id) is State.SHELVED
    (alarm,) = [alarm for alarm in again.alarms() if alarm.alarm_id == alarm_id]
    assert alarm.shelf and (alarm.shelf.who, alarm.shelf.until) == ("ann", until)
    assert alarm.revision == 2
    again.perform(alarm_id, Action.UNSHELVE, "bob")
    plant.episode("life-1", "close", revision=2, device="life")
    eventually(lambda: state(again, alarm_id) is State.CLEARED)
    plant.episode("life-2", device="life")  # the next one has been acknowledged by nobody
    eventually(lambda: state(again, alarm_id) is State.UNACKNOWLEDGED)
    again.stop()


def test_of_many_who_act_at_once_one_holds_and_the_others_are_told_who(plant: Plant) -> None:
    logs = [plant.log() for _ in range(3)]
    alarm_id = plant.episode("race-1", device="race")
    for log in logs:
        eventually(partial(is_in, log, alarm_id, State.UNACKNOWLEDGED))

    def acknowledge(number: int) -> str:
        try:
            logs[number % 3].perform(alarm_id, Action.ACKNOWLEDGE, f"person-{number}", revision=0)
        except (ConflictError, RefusedError) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(acknowledge, range(12)))
    assert answers.count("") == 1
    winner = f"person-{answers.index('')}"
    assert all(winner in answer for answer in answers if answer)
    for log in logs:
        eventually(partial(is_in, log, alarm_id, State.ACKNOWLEDGED))
        (alarm,) = [alarm for alarm in log.alarms() if alarm.alarm_id == alarm_id]
        assert alarm.acknowledged and alarm.acknowledged.who == winner
        assert alarm.revision == 1
        log.stop()


def test_without_kafka_nothing_is_done_and_that_is_said(plant: Plant) -> None:
    lonely = AlarmLog(Settings(kafka="127.0.0.1:9", schema_cache=plant.settings.schema_cache))
    lonely.start()
    with pytest.raises(AlarmsAwayError, match="have not been read"):
        lonely.perform("x/y/limit", Action.COMMENT, "ann", comment="hello")
    lonely.stop()


def test_bytes_that_are_no_event_stop_nobody(plant: Plant) -> None:
    from fieldstream_schemas.topics import ALARMS

    plant.feed.send_raw(ALARMS, "x", b"no avro")
    log = plant.log()
    alarm_id = plant.episode("after-1", device="after")
    eventually(lambda: state(log, alarm_id) is State.UNACKNOWLEDGED)
    log.stop()
