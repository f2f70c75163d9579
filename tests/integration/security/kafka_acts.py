"""What may be tried in Kafka, by whom, and which of it is to be refused."""

from confluent_kafka import Consumer, KafkaError, Producer
from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings
from integration.edge.parts import wait_until

REFUSED_TOPIC, REFUSED_GROUP = KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED
# Who, what, on what; each row's counterpart, the same act by the right one, is in ALLOWED.
FORBIDDEN = [
    ("gateway", "readings.clean"),
    ("gateway", "windows"),
    ("gateway", "anomalies"),
    ("gateway", "alarms"),
    ("gateway", "assets"),
    ("gateway", "maintenance"),
    ("gateway", "forget"),
    ("gateway", "audit-log"),
    ("loader", "audit-log"),
    ("pipeline", "readings.raw"),
    ("pipeline", "anomalies"),
    ("detect", "windows"),
    ("loader", "readings.raw"),
    ("loader", "readings.clean"),
    ("loader", "alarms"),
    ("alerter", "maintenance"),
    ("setup", "readings.raw"),
    ("jobs", "windows"),
    ("tracer", "readings.clean"),
    ("stranger", "readings.raw"),
]
ALLOWED = {
    "readings.raw": "gateway",
    "readings.clean": "pipeline",
    "windows": "pipeline",
    "anomalies": "detect",
    "alarms": "alerter",
    "assets": "setup",
    "maintenance": "setup",
    "forget": "setup",
    "audit-log": "api",
}
FORBIDDEN_READS = [
    ("gateway", "anomalies", "fieldstream-loader"),
    ("gateway", "readings.raw", "fieldstream-pipeline"),
    ("loader", "readings.raw", "fieldstream-loader"),
    ("loader", "anomalies", "fieldstream-alerter"),
    ("alerter", "readings.clean", "fieldstream-alerter"),
    ("detect", "readings.raw", "fieldstream-detect"),
    ("pipeline", "alarms", "fieldstream-pipeline"),
    ("scaler", "readings.clean", "fieldstream-loader"),
    ("tracer", "readings.clean", "fieldstream-loader"),
    ("stranger", "anomalies", "fieldstream-alerter"),
]
ALLOWED_READS = [
    ("pipeline", "readings.raw", "fieldstream-pipeline"),
    ("loader", "readings.clean", "fieldstream-loader"),
    ("alerter", "anomalies", "fieldstream-alerter"),
    ("alerter", "alarms", "fieldstream-alarms-1"),
]


def write(settings: Settings, topic: str, *, idempotent: bool = False) -> int:
    """Writes a record; 0 or Kafka's error. Whoever may write nothing is refused idempotence before the topic."""
    errors: list[int] = []
    producer = Producer(
        {**connection(settings), "enable.idempotence": idempotent, "log_level": 0, "message.timeout.ms": 9000}
    )
    producer.produce(topic, b"x", b"key", on_delivery=lambda e, _: errors.append(e.code() if e else 0))
    producer.flush(10)
    return errors[0]


def read(settings: Settings, topic: str, group: str) -> int:
    """Joins the group and waits for a record; 0 or Kafka's error."""
    consumer = Consumer({**connection(settings), "group.id": group, "auto.offset.reset": "earliest", "log_level": 0})
    try:
        consumer.subscribe([topic])
        message = wait_until(lambda: consumer.poll(1), 20, f"a record of {topic}, or a refusal")
        error = message.error()
        return error.code() if error else 0
    finally:
        consumer.close()
