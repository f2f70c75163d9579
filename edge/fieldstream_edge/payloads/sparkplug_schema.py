"""The part of Sparkplug B's protobuf schema that carries readings, declared in code (Sparkplug 3.0, section 6.4)."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = descriptor_pb2.FieldDescriptorProto
_METRIC = (
    ("name", 1, _TYPES.TYPE_STRING),
    ("alias", 2, _TYPES.TYPE_UINT64),
    ("timestamp", 3, _TYPES.TYPE_UINT64),
    ("datatype", 4, _TYPES.TYPE_UINT32),
    ("is_historical", 5, _TYPES.TYPE_BOOL),
    ("is_transient", 6, _TYPES.TYPE_BOOL),
    ("is_null", 7, _TYPES.TYPE_BOOL),
    ("int_value", 10, _TYPES.TYPE_UINT32),
    ("long_value", 11, _TYPES.TYPE_UINT64),
    ("float_value", 12, _TYPES.TYPE_FLOAT),
    ("double_value", 13, _TYPES.TYPE_DOUBLE),
    ("boolean_value", 14, _TYPES.TYPE_BOOL),
    ("string_value", 15, _TYPES.TYPE_STRING),
    ("bytes_value", 16, _TYPES.TYPE_BYTES),
)


def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="fieldstream/sparkplug_b.proto", package="fieldstream.sparkplug")
    metric = file.message_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    for name, number, kind in _METRIC:
        field = metric.field.add(name=name, number=number, type=kind, label=_TYPES.LABEL_OPTIONAL)
        if name.endswith("_value"):
            field.oneof_index = 0
    payload = file.message_type.add(name="Payload")
    payload.field.add(name="timestamp", number=1, type=_TYPES.TYPE_UINT64, label=_TYPES.LABEL_OPTIONAL)
    payload.field.add(
        name="metrics",
        number=2,
        type=_TYPES.TYPE_MESSAGE,
        type_name=".fieldstream.sparkplug.Metric",
        label=_TYPES.LABEL_REPEATED,
    )
    payload.field.add(name="seq", number=3, type=_TYPES.TYPE_UINT64, label=_TYPES.LABEL_OPTIONAL)
    file.syntax = "proto2"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("fieldstream.sparkplug.Payload"))


Payload = _payload_class()
