"""What the gateway promises about messages: accepted once, refused with a reason, acknowledged when durable."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fieldstream_edge import identity
from fieldstream_edge.intake.acceptor import Message
from fieldstream_edge.settings import IntakeSettings, SpoolSettings
from fieldstream_edge.spool.errors import SpoolFullError, SpoolIOError
from fieldstream_edge.spool.files import Files
from fieldstream_edge.spool.segment import Segment
from fieldstream_schemas.quality import Flag
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.edge.gateway_rig import NOW, Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "spool")
    yield made
    made.spool.close()


def reading(ts: object, value: object, **more: object) -> str:
    return json.dumps({"ts": ts, "value": value, **more})


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("sensors/d/t", b"", "empty-payload"),
        ("sensors/d/t", b"  \n", "empty-payload"),
        ("sensors/d/t", b"hello", "not-json"),
        ("sensors/d/t", b'{"value": 1', "not-json"),
        ("sensors/d/t", b"1_000", "not-json"),
        ("sensors/d/t", b"\xff\xfe", "not-json"),
        ("sensors/d/t", b'"21.5"', "not-a-number"),
        ("sensors/d/t", b"true", "not-a-number"),
        ("sensors/d/t", b"null", "not-a-number"),
        ("sensors/d/t", b'{"value": "21.5"}', "not-a-number"),
        ("sensors/d/t", b'{"value": true}', "not-a-number"),
        ("sensors/d/t", b'{"value": null}', "not-a-number"),
        ("sensors/d/t", b'{"value": [1]}', "not-a-number"),
        ("sensors/d/t", b"NaN", "not-finite"),
        ("sensors/d/t", b"-Infinity", "not-finite"),
        ("sensors/d/t", b"nan", "not-finite"),
        ("sensors/d/t", b'{"value": NaN}', "not-finite"),
        ("sensors/d/t", b'{"value": 1e999}', "not-finite"),
        ("sensors/d/t", b"1" + b"0" * 400, "not-finite"),
        ("sensors/d/t", b"{}", "bad-form"),
        ("sensors/d/t", b"[]", "bad-form"),
        ("sensors/d/t", b"[1]", "bad-form"),
        ("sensors/d/t", b'{"metrics": {"a": 1}}', "bad-form"),
        ("sensors/d/t", b'{"value": 1, "unit": 5}', "bad-form"),
        ("sensors/d/t", b'{"value": 1, "unit": "\\ud800"}', "bad-form"),
        ("sensors/d/t", b'{"value": 1, "operator": "' + b"x" * 300 + b'"}', "bad-form"),
        ("sensors/d/t", b'{"value":1,"x":' + b"[" * 500_000, "bad-form"),
        ("sensors/d/t", b'{"value": 1, "ts": "yesterday"}', "bad-timestamp"),
        ("sensors/d/t", b'{"value": 1, "ts": true}', "bad-timestamp"),
        ("sensors/d/t", b'{"value": 1, "ts": [1]}', "bad-timestamp"),
        ("sensors/d", b"1", "bad-form"),
        ("sensors/d", b'{"value": 1}', "bad-form"),
        ("sensors/d", b'{"metrics": {"a": "x"}}', "not-a-number"),
        ("sensors", b"1", "bad-topic"),
        ("sensors//t", b"1", "bad-topic"),
        ("sensors/d/", b"1", "bad-topic"),
        ("sensors/a/b/c", b"1", "bad-topic"),
        ("other/d/t", b"1", "bad-topic"),
        ("sensors/" + "d" * 300 + "/t", b"1", "bad-topic"),
        ("sensors/d/t", b"1" * (1 << 20) + b"1", "too-large"),
    ],
)
def test_malformed_message_becomes_a_dead_letter_with_its_reason(
    rig: Rig, topic: str, payload: bytes, reason: str
) -> None:
    rig.send(topic, payload, 1)
    (letter,) = rig.dead()
    assert letter.reason == reason
    assert letter.detail
    assert letter.source == topic
    assert rig.readings() == []
    assert rig.acknowledged == [1]


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        ("sensors/d/t", b"21.5", [("t", None, 21.5)]),
        ("sensors/d/t", b" -3 ", [("t", None, -3.0)]),
        ("sensors/d/t", b'{"ts": %d, "value": 1}' % (NOW - 5), [("t", NOW - 5, 1.0)]),
        ("sensors/d/t", b'{"ts": %d.75, "value": 1e2}' % (NOW - 5), [("t", NOW - 5, 100.0)]),
        ("sensors/d/t", b'{"ts": "2026-11-24T10:00:00Z", "value": 1}', [("t", 1795514400000, 1.0)]),
        ("sensors/d/t", b'{"ts": "2026-11-24T11:00:00.5+01:00", "value": 1}', [("t", 1795514400500, 1.0)]),
        ("sensors/d/t", b'[{"ts": 1795514400000, "value": 1}, {"ts": 1795514400001, "value": 2}]',
         [("t", 1795514400000, 1.0), ("t", 1795514400001, 2.0)]),
        ("sensors/d", b'{"ts": 1795514400000, "metrics": {"a": 1, "b": 2.5}}',
         [("a", 1795514400000, 1.0), ("b", 1795514400000, 2.5)]),
        ("sensors/d", b'[{"ts": 1795514400000, "metrics": {"a": 1}}, {"ts": 1795514400001, "metrics": {"a": 2}}]',
         [("a", 1795514400000, 1.0), ("a", 1795514400001, 2.0)]),
    ],
)  # fmt: skip
def test_forms_of_the_contract_are_accepted(
    rig: Rig, topic: str, payload: bytes, expected: list[tuple[str, int | None, float]]
) -> None:
    rig.send(topic, payload, 1)
    assert rig.reasons() == []
    assert rig.readings() == [("d", metric, NOW if ts is None else ts, value) for metric, ts, value in expected]


def test_bad_element_of_an_array_leaves_its_neighbours_alone(rig: Rig) -> None:
    elements = [reading(NOW - 3, 1), reading(NOW - 2, "x"), reading(NOW - 1, 3), '{"value": NaN}', "7"]
    rig.send("sensors/d/t", f"[{','.join(elements)}]")
    assert [value for *_, value in rig.readings()] == [1.0, 3.0]
    assert rig.reasons() == ["not-a-number", "not-finite", "bad-form"]


def test_dead_letter_is_cut_at_64_kib_and_keeps_the_size(rig: Rig) -> None:
    rig.send("sensors/d/t", b"x" * 100_000)
    (letter,) = rig.dead()
    assert len(letter.payload) == 64 * 1024
    assert letter.payload_size == 100_000


def test_unit_quality_and_operator_are_kept(rig: Rig) -> None:
    rig.send("sensors/d/t", reading(NOW - 2, 1, unit="Cel", quality="BAD", operator="Ada"))
    rig.send("sensors/d/t", reading(NOW - 1, 2, quality="192"))
    first, second = (batch.table[batch.numbers[0]] for batch in rig.batches())
    assert first.fields() == ("d", "t", "Cel", "bad", 0, "Ada")
    assert second.quality == "uncertain"


@pytest.mark.parametrize(
    ("ts", "flag"),
    [
        (None, Flag.TS_ABSENT),
        (0, Flag.TS_ABSURD),
        (-5, Flag.TS_ABSURD),
        (1_700_000_000, Flag.TS_ABSURD),  # seconds instead of milliseconds
        ("1970-01-01T00:00:00Z", Flag.TS_ABSURD),
        (NOW + 60_001, Flag.TS_FUTURE),
        (4_102_444_800_000, Flag.TS_FUTURE),  # 2100
        (10**30, Flag.TS_FUTURE),
        ("2100-01-01", Flag.TS_FUTURE),
    ],
)
def test_unusable_event_time_is_replaced_by_the_receive_time_and_flagged(rig: Rig, ts: object, flag: Flag) -> None:
    rig.send("sensors/d/t", reading(ts, 1))
    assert rig.readings() == [("d", "t", NOW, 1.0)]
    assert rig.qualities() == [("uncertain", flag)]


@pytest.mark.parametrize(
    ("broker_time", "expected"),
    [
        (str(NOW - 7_200_000), NOW - 7_200_000),
        ("2027-01-15T06:00:00Z", NOW - 7_200_000),
        ("", NOW),
        ("garbage", NOW),
        ("0", NOW),
        (str(NOW + 60_001), NOW),
        ("9" * 5000, NOW),
    ],
)
@pytest.mark.parametrize("ts", [None, 0, NOW + 3_600_000])
def test_brokers_time_stands_in_for_an_unusable_event_time(
    rig: Rig, ts: int | None, broker_time: str, expected: int
) -> None:
    rig.take([Message("sensors/d/t", reading(ts, 1).encode(), broker_time=broker_time)])
    rig.take([Message("sensors/d/u", reading(NOW - 5, 2).encode(), broker_time=broker_time)])
    rig.acceptor.commit()
    assert rig.readings() == [("d", "t", expected, 1.0), ("d", "u", NOW - 5, 2.0)]
    assert rig.qualities()[0][0] == "uncertain"


def test_clock_offset_counts_from_the_brokers_time(rig: Rig) -> None:
    """Readings that waited at the broker must not make a right clock look slow."""
    rig.take([Message("sensors/d/t", reading(NOW - 7_200_000, 1).encode(), broker_time=str(NOW - 7_199_990))])
    rig.acceptor.commit()
    assert rig.acceptor.clock_offsets["d"] == -10


def test_event_time_within_the_tolerance_is_kept(rig: Rig) -> None:
    rig.send("sensors/d/t", reading(NOW + 60_000, 1))
    assert rig.readings() == [("d", "t", NOW + 60_000, 1.0)]
    assert rig.qualities() == [("good", 0)]


def test_readings_without_ts_in_one_millisecond_stay_distinct(rig: Rig) -> None:
    rig.send("sensors/d/t", reading(NOW + 1, 99))
    for value in range(5):
        rig.send("sensors/d/t", str(value))
    times = [ts for *_, ts, _ in rig.readings()]
    assert len(set(times)) == 6
    rig.restart()
    rig.send("sensors/d/t", "5")
    assert len({ts for *_, ts, _ in rig.readings()}) == 7


def test_too_many_readings_without_ts_do_not_run_into_the_future(tmp_path: Path) -> None:
    rig = Rig(tmp_path, intake=IntakeSettings(future_tolerance_s=0.1))
    rig.send("sensors/d/t", "[" + ",".join(['{"value":1}'] * 150) + "]")
    assert max(ts for *_, ts, _ in rig.readings()) == NOW + 100
    assert rig.reasons() == ["rate-limit"] * 49


def test_same_reading_again_is_counted_and_dropped(rig: Rig) -> None:
    for _ in range(2):
        for ts in range(NOW - 100, NOW):
            rig.send("sensors/d/t", reading(ts, 1.5))
    assert len(rig.readings()) == 100
    assert rig.counters.duplicates == 100


@pytest.mark.parametrize("delivered", [False, True])
def test_same_readings_again_after_a_restart_are_dropped(rig: Rig, delivered: bool) -> None:
    def send_all() -> None:
        messages = [
            Message(f"sensors/d{device}/t", reading(NOW - 10_000 + step, device).encode())
            for step in range(400)
            for device in range(25)
        ]
        for start in range(0, len(messages), 500):
            rig.take(messages[start : start + 500])
            rig.acceptor.commit()

    send_all()
    if delivered:
        rig.spool.delivered(rig.spool.last_seq, save=True)
    rig.restart()
    rig.now += 14 * 60_000
    rig.spool.trim()
    send_all()
    assert rig.counters.duplicates == 10_000
    assert rig.counters.readings == 0
    assert len(rig.spool.retained()) > 2, "the test should span several segments"


def test_devices_that_upload_the_same_hours_in_turn_do_not_reread_the_spool(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []

    def counted(segment: Segment) -> identity._Loaded:
        loads.append(segment.first_seq)
        return load(segment)

    load = identity.load
    monkeypatch.setattr(identity, "load", counted)

    def upload(devices: range) -> None:
        for device in devices:
            rows = [reading(NOW - 40_000 + 20 * step + device, step).encode() for step in range(2000)]
            rig.take([Message(f"sensors/d{device}/t", row) for row in rows])
            rig.acceptor.commit()

    upload(range(20))
    rig.restart()
    loads.clear()
    upload(range(20, 40))
    segments = len(rig.spool.retained())
    assert segments > 12
    assert rig.counters.readings == 40_000
    assert len(loads) <= segments
    upload(range(3, 5))
    assert rig.counters.duplicates == 4000


def test_late_reading_of_a_known_series_is_new(rig: Rig) -> None:
    for ts in (NOW - 10, NOW - 30, NOW - 20, NOW - 30):
        rig.send("sensors/d/t", reading(ts, 1))
    assert [ts for *_, ts, _ in rig.readings()] == [NOW - 10, NOW - 30, NOW - 20]
    rig.restart()
    rig.send("sensors/d/t", reading(NOW - 25, 1))
    rig.send("sensors/d/t", reading(NOW - 20, 1))
    assert rig.counters.readings == 1
    assert rig.counters.duplicates == 1


def test_other_value_for_the_same_identity_is_a_conflict(rig: Rig) -> None:
    rig.send("sensors/d/t", reading(NOW - 10, 1))
    rig.send("sensors/d/t", reading(NOW - 10, 2))
    rig.restart()
    rig.send("sensors/d/t", reading(NOW - 10, 3))
    assert rig.readings() == [("d", "t", NOW - 10, 1.0)]
    assert rig.reasons() == ["conflict", "conflict"]


def test_redelivery_of_a_message_without_ts_is_recognised_also_after_a_restart(rig: Rig) -> None:
    rig.send("sensors/d/t", "21.5", 7)
    rig.send("sensors/d/t", "21.5", 7, duplicate=True)
    rig.restart()
    rig.send("sensors/d/t", "21.5", 7, duplicate=True)
    rig.send("sensors/d/t", "garbage", 8)
    rig.send("sensors/d/t", "garbage", 8, duplicate=True)
    assert [value for *_, value in rig.readings()] == [21.5]
    assert rig.reasons() == ["not-json"]
    rig.send("sensors/d/t", "21.5", 9)
    rig.send("sensors/d/t", "22.5", 7, duplicate=True)
    assert len(rig.readings()) == 3


def test_acknowledgement_follows_the_commit_in_order(rig: Rig) -> None:
    rig.take([Message("sensors/d/t", reading(NOW - 9 + n, n).encode(), 10 + n) for n in range(5)])
    assert rig.acknowledged == []
    rig.acceptor.commit()
    assert rig.acknowledged == [10, 11, 12, 13, 14]


class _FailingFiles(Files):
    fail = False

    def sync(self, fd: int) -> None:
        if self.fail:
            raise OSError(5, "injected")
        super().sync(fd)


def test_failed_sync_acknowledges_nothing_and_loses_nothing(tmp_path: Path) -> None:
    files = _FailingFiles()
    rig = Rig(tmp_path, files=files)
    rig.send("sensors/d/t", reading(NOW - 9, 1), 1)
    files.fail = True
    rig.take([Message("sensors/d/t", reading(NOW - 8, 2).encode(), 2)])
    for _ in range(3):
        with pytest.raises(SpoolIOError):
            rig.acceptor.commit()
    # The broker delivers it again on a new connection while the disk still fails.
    rig.take([Message("sensors/d/t", reading(NOW - 8, 2).encode(), 2, True)])
    assert rig.acknowledged == [1]
    files.fail = False
    rig.acceptor.commit()
    assert rig.acknowledged == [1, 2, 2]
    rig.restart()
    assert [value for *_, value in rig.readings()] == [1.0, 2.0]


def test_full_spool_refuses_until_there_is_room(tmp_path: Path) -> None:
    rig = Rig(tmp_path, spool=SpoolSettings(segment_bytes=1 << 16, max_bytes=1 << 18))
    sent = 0
    with pytest.raises(SpoolFullError, match="full"):
        while True:
            rig.take([Message("sensors/d/t", reading(NOW - 90_000 + sent + n, n).encode(), 1) for n in range(500)])
            rig.acceptor.commit()
            sent += 500
    acknowledged = len(rig.acknowledged)
    assert acknowledged == sent == rig.spool.last_seq
    rig.spool.delivered(sent // 2, save=True)
    rig.acceptor.commit()
    assert len(rig.acknowledged) == sent + 500


def test_pending_batch_is_recognised_after_the_segment_changed_under_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path, spool=SpoolSettings(segment_bytes=1 << 16, max_bytes=1 << 30))
    sent = []
    for step in range(40):
        payload = [reading(NOW - 50_000 + step * 500 + n, n).encode() for n in range(500)]
        rig.take([Message("sensors/d/t", each) for each in payload])
        rig.acceptor.commit()
        sent += payload
    rig.take([Message("sensors/d/t", each) for each in reversed(sent)])
    rig.acceptor.commit()
    assert rig.counters.readings == 20_000
    assert rig.counters.duplicates == 20_000


def test_100_000_topics_are_taken_in_bounded_memory(tmp_path: Path) -> None:
    rig = Rig(tmp_path, spool=SpoolSettings(segment_bytes=4 << 20, max_bytes=1 << 30))
    for start in range(0, 120_000, 1000):
        rig.take([Message(f"sensors/d{start + n}/t", reading(NOW - 5, n).encode()) for n in range(1000)])
        rig.acceptor.commit()
    rig.take([Message(f"sensors/d{n}/t", reading(NOW - 5, n % 1000).encode()) for n in range(0, 120_000, 997)])
    rig.acceptor.commit()
    assert rig.counters.readings == 120_000
    assert rig.counters.duplicates == len(range(0, 120_000, 997))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["ts", "value", "unit", "quality", "operator", "metrics", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(["sensors/d/t", "sensors/d"]),
)
def test_whatever_is_sent_ends_as_readings_or_dead_letters(payload: bytes, topic: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(Path(directory))
        rig.send(topic, payload, 3)
        assert rig.acknowledged == [3]
        assert rig.spool.last_seq == len(rig.readings()) + len(rig.dead())
        assert rig.spool.last_seq >= 1
        rig.spool.close()


def test_clock_set_back_an_hour_loses_nothing_and_shows(rig: Rig) -> None:
    rig.send("sensors/d/t", reading(NOW - 5, 1), 1)
    rig.now -= 3_600_000
    for number in range(3):
        rig.send("sensors/d/t", reading(NOW + 1000 + number, 2 + number), 2 + number)
    rig.restart()
    assert [value for *_, value in rig.readings()] == [1.0, 2.0, 3.0, 4.0]
    assert [flags for _, flags in rig.qualities()] == [0, 4, 4, 4]
    assert rig.acknowledged == [1, 2, 3, 4]
    rig.now += 3_600_000
    rig.send("sensors/d/t", reading(NOW - 5, 1), 5)
    assert rig.counters.duplicates == 1


def test_device_at_10_000_a_second_with_its_own_ts_is_accepted(rig: Rig) -> None:
    for start in range(0, 10_000, 1000):
        rig.take([Message("sensors/fast/t", reading(NOW - 10_000 + start + n, n).encode(), n + 1) for n in range(1000)])
        rig.acceptor.commit()
    assert rig.counters.readings == 10_000


def test_device_whose_clock_is_wrong_is_named(rig: Rig) -> None:
    rig.send("sensors/right/t", reading(NOW - 3, 1))
    rig.send("sensors/wrong/t", reading(NOW + 7_200_000, 1))
    rig.send("sensors/right/t", reading(NOW - 2, 1))
    assert rig.acceptor.clock_offsets["wrong"] == 7_200_000
    assert rig.acceptor.clock_offsets["right"] == -2
