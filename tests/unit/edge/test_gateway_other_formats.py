"""SenML, Sparkplug B and mappings."""

import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from fieldstream_edge.config import ConfigError, parse
from fieldstream_edge.payloads import senml
from fieldstream_edge.payloads.decoded import Decoded, PayloadError
from fieldstream_edge.payloads.mapping import Mapping, topic_pattern
from fieldstream_edge.payloads.sparkplug import Sparkplug
from fieldstream_edge.payloads.sparkplug_schema import Payload
from fieldstream_edge.settings import MappingSettings
from fieldstream_schemas.quality import Flag
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.edge.gateway_rig import NOW, Rig

_Row = tuple[str | None, str, float, object, str | None]


def rows(decoded: Decoded) -> list[_Row]:
    return [(each.device_id, each.metric, each.item.value, each.item.ts, each.item.unit) for each in decoded.named]


# -- SenML: the examples of RFC 8428, section 5.1 ------------------------------------------------------------------


def test_senml_base_fields_and_relative_times() -> None:
    pack = [
        {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.276020076001e09, "bu": "A", "bver": 5,
         "n": "voltage", "u": "V", "v": 120.1},
        {"n": "current", "t": -5, "v": 1.2},
        {"n": "current", "t": -4, "v": 1.3},
    ]  # fmt: skip
    device = "urn:dev:ow:10e2073a0108006"
    expected: list[_Row] = [
        (device, "voltage", 120.1, 1276020076001, "V"),
        (device, "current", 1.2, 1276020071001, "A"),
        (device, "current", 1.3, 1276020072001, "A"),
    ]
    assert rows(senml.decode_json(json.dumps(pack).encode(), "", NOW)) == expected
    labels = {"bn": -2, "bt": -3, "bu": -4, "bver": -1, "n": 0, "u": 1, "v": 2, "t": 6}
    packed = cbor2.dumps([{labels[key]: value for key, value in record.items()} for record in pack])
    assert rows(senml.decode_cbor(packed, "", NOW)) == expected


def test_senml_small_times_count_from_now_and_none_is_the_receive_time() -> None:
    decoded = senml.decode_json(b'[{"n":"dev:a","v":1,"t":-2.5},{"n":"dev:a","v":2}]', "", NOW)
    assert [row[3] for row in rows(decoded)] == [NOW - 2500, None]


def test_senml_record_without_number_leaves_its_neighbours_alone() -> None:
    decoded = senml.decode_json(b'[{"bn":"dev:","n":"a","v":1},{"n":"b","vs":"on"},{"n":"c","v":3}]', "", NOW)
    assert [row[1] for row in rows(decoded)] == ["a", "c"]
    assert [refused.reason for refused in decoded.refused] == ["not-a-number"]


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b"[1]", b'[{"n":"d:a","v":1}', b'[{"bver":11,"n":"d:a","v":1}]', b'[{"x_":1,"v":1}]']
)
def test_damaged_senml_is_refused_with_a_reason(payload: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        senml.decode_json(payload, "", NOW)
    assert caught.value.reason == "bad-payload"


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_any_bytes_as_senml_cbor_end_in_readings_or_reasons(payload: bytes) -> None:
    try:
        senml.decode_cbor(payload, "d", NOW)
    except PayloadError as error:
        assert error.reason in ("bad-payload", "not-a-number")


# -- Sparkplug B ---------------------------------------------------------------------------------------------------


def message(seq: int | None, metrics: list[dict[str, Any]], *, timestamp: int = NOW - 100) -> bytes:
    payload = Payload(timestamp=timestamp)
    if seq is not None:
        payload.seq = seq
    for fields in metrics:
        payload.metrics.add(**fields)
    return bytes(payload.SerializeToString())


def born() -> Sparkplug:
    sparkplug = Sparkplug()
    sparkplug.decode("spBv1.0/hall/NBIRTH/n1", message(0, [{"name": "bdSeq", "datatype": 8, "long_value": 3}]))
    metrics = [
        {"name": "temperature", "alias": 1, "datatype": 9, "float_value": 20.5},
        {"name": "count", "alias": 2, "datatype": 3, "int_value": 2**32 - 5},
        {"name": "running", "alias": 3, "datatype": 11, "boolean_value": True},
        {"name": "label", "alias": 4, "datatype": 12, "string_value": "x"},
    ]
    decoded = sparkplug.decode("spBv1.0/hall/DBIRTH/n1/pump", message(1, metrics))
    assert [(each.metric, each.item.value) for each in decoded.named] == [
        ("temperature", 20.5),
        ("count", -5.0),
        ("running", 1.0),
    ]
    return sparkplug


def test_sparkplug_alias_stands_for_the_name_of_the_birth() -> None:
    sparkplug = born()
    decoded = sparkplug.decode(
        "spBv1.0/hall/DDATA/n1/pump", message(2, [{"alias": 1, "float_value": 21.5, "timestamp": NOW}])
    )
    assert rows(decoded) == [("hall/n1/pump", "temperature", 21.5, NOW, None)]
    assert sparkplug.rebirths == []


def test_sparkplug_unknown_alias_is_refused_and_a_rebirth_requested_once() -> None:
    sparkplug = born()
    decoded = sparkplug.decode(
        "spBv1.0/hall/DDATA/n1/pump", message(2, [{"alias": 9, "float_value": 1.0}, {"alias": 1, "float_value": 2.0}])
    )
    sparkplug.decode("spBv1.0/hall/DDATA/n1/pump", message(3, [{"alias": 9, "float_value": 1.0}]))
    assert [refused.reason for refused in decoded.refused] == ["bad-payload"]
    assert [each.item.value for each in decoded.named] == [2.0]
    ((topic, command),) = sparkplug.rebirths
    assert topic == "spBv1.0/hall/NCMD/n1"
    assert Payload.FromString(command).metrics[0].name == "Node Control/Rebirth"


def test_sparkplug_gap_in_seq_requests_a_rebirth() -> None:
    sparkplug = born()
    sparkplug.decode("spBv1.0/hall/DDATA/n1/pump", message(5, [{"alias": 1, "float_value": 1.0}]))
    assert len(sparkplug.rebirths) == 1


def test_sparkplug_death_makes_quality_bad_until_the_next_birth() -> None:
    sparkplug = born()
    other_session = message(None, [{"name": "bdSeq", "datatype": 8, "long_value": 2}])
    sparkplug.decode("spBv1.0/hall/NDEATH/n1", other_session)
    data = [{"alias": 1, "float_value": 1.0}]
    (alive,) = sparkplug.decode("spBv1.0/hall/DDATA/n1/pump", message(2, data)).named
    assert alive.item.quality is None
    sparkplug.decode("spBv1.0/hall/DDEATH/n1/pump", message(3, []))
    (dead,) = sparkplug.decode("spBv1.0/hall/DDATA/n1/pump", message(4, data)).named
    assert (dead.item.quality, dead.flags) == ("bad", Flag.DEVICE_DEAD)


def test_sparkplug_historical_value_is_flagged_and_null_is_no_reading() -> None:
    metrics: list[dict[str, Any]] = [
        {"alias": 1, "float_value": 1.0, "is_historical": True},
        {"alias": 2, "is_null": True},
    ]
    (named,) = born().decode("spBv1.0/hall/DDATA/n1/pump", message(2, metrics)).named
    assert named.flags == Flag.HISTORICAL


@settings(max_examples=200)
@given(st.binary(max_size=60), st.sampled_from(["NBIRTH/n", "NDATA/n", "NDEATH/n", "DBIRTH/n/d", "DDATA/n/d"]))
def test_any_bytes_as_sparkplug_end_in_readings_or_reasons(payload: bytes, kind: str) -> None:
    try:
        Sparkplug().decode(f"spBv1.0/g/{kind}", payload)
    except PayloadError as error:
        assert error.reason in ("bad-payload", "not-finite")


def test_truncated_sparkplug_becomes_a_dead_letter(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.send("spBv1.0/hall/NBIRTH/n1", message(0, [{"name": "x", "datatype": 10, "double_value": 1.0}])[:-3])
    assert rig.reasons() == ["bad-payload"]


# -- mapping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "topic", "payload", "expected"),
    [
        (MappingSettings(topic="plant/{device}/state/{metric}", value_field="", ts_field=""),
         "plant/p7/state/temp", b"21.5", [("p7", "temp", 21.5, None, None)]),
        (MappingSettings(topic="x/+/{device}/#", metric="level", value_field="d.v", ts_field="d.t", ts_unit="s",
                         unit="m"),
         "x/y/tank/z/z", b'{"d":{"v":3,"t":1800000000}}', [("tank", "level", 3.0, 1800000000000, "m")]),
        (MappingSettings(topic="zigbee2mqtt/{device}", fields={"temperature": "temperature", "humidity": "h.0"}),
         "zigbee2mqtt/s1", b'{"temperature":20,"h":[55],"linkquality":3}',
         [("s1", "temperature", 20.0, None, None), ("s1", "humidity", 55.0, None, None)]),
        (MappingSettings(topic="all", device_field="id", metric_field="m", value_field="v", scale=0.1, offset=-5.0),
         "all", b'[{"id":"a","m":"t","v":250},{"id":7,"m":"t","v":100}]',
         [("a", "t", 20.0, None, None), ("7", "t", 5.0, None, None)]),
        (MappingSettings(topic="c/{device}/{metric}", format="contract"),
         "c/d/t", b'{"ts":5,"value":1,"unit":"K"}', [("d", "t", 1.0, 5, "K")]),
        (MappingSettings(topic="s/{device}", format="senml-json"), "s/d", b'[{"n":"t","v":1,"u":"Cel"}]',
         [("d", "t", 1.0, None, "Cel")]),
    ],
)  # fmt: skip
def test_mapping(mapping: MappingSettings, topic: str, payload: bytes, expected: list[_Row]) -> None:
    made = Mapping(mapping)
    found = made.match(topic)
    assert found is not None
    assert rows(made.decode(payload, *found, NOW)) == expected


def test_mapped_readings_arrive_and_unmapped_ones_do_not(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.acceptor.reconfigure(
        rig.acceptor._settings, [MappingSettings(topic="plant/{device}/{metric}", value_field="v")]
    )
    rig.send("plant/d/t", b'{"v": 3, "ts": %d}' % (NOW - 1))
    rig.send("plant/d", b"3")
    rig.send("plant/d/t", b'{"w": 3}')
    assert rig.readings() == [("d", "t", NOW - 1, 3.0)]
    assert rig.reasons() == ["bad-topic", "not-a-number"]


def test_impossible_topic_pattern_is_named_in_the_configuration() -> None:
    with pytest.raises(ConfigError, match="must be the last level"):
        parse('gateway_id="g"\nstate_dir="/x"\n[[mapping]]\ntopic = "a/#/b"\n')
    assert topic_pattern("a/+/#") == "a/[^/]+/.*"
