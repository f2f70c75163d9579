"""Dead letters of the loader and of the asset registry's follower: what cannot be taken, with its bytes."""

import io
import json
import logging
import time
from typing import Any

import fastavro
from confluent_kafka import KafkaException, Producer
from fieldstream_schemas.registry import FRAME_BYTES, SchemaRegistry, frame_header
from fieldstream_schemas.sealing import Seal
from fieldstream_schemas.topics import DEAD_LETTERS, parsed_schema

from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings
from fieldstream_central.store.inserting import Refusal

log = logging.getLogger("fieldstream.loader")

_PAYLOAD_BYTES = 64 << 10


class DeadLetterWriter:
    """Writes refusals to topic dead-letters, sealed as the settings say, and waits until Kafka has them."""

    def __init__(self, settings: Settings, registry: SchemaRegistry, origin: str = "loader") -> None:
        self._registry = registry
        self._origin = origin
        public_key = settings.letter_public_key_file
        self._seal = Seal(public_key) if public_key else None
        self._producer = Producer({**connection(settings), "acks": "all", "enable.idempotence": True, "linger.ms": 5})

    def write(self, refusals: list[Refusal]) -> None:
        """Hands over all refusals. Raises KafkaException or RegistryError when that cannot be done now."""
        failures: list[str] = []

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                failures.append(str(error))

        header = frame_header(self._registry.id_of(DEAD_LETTERS))
        for refusal in refusals:
            letter = letter_of(refusal, int(time.time() * 1000)) | {"origin": self._origin}
            if refusal.topic == DEAD_LETTERS.name and letter["detail"].startswith("Again: "):
                log.error(
                    "a dead letter of the loader itself cannot be stored and is dropped: %s: %s",
                    letter["source"],
                    letter["detail"],
                )
                continue
            if self._seal:
                letter |= {"payload": self._seal.seal(letter["payload"]), "sealed_by": self._seal.fingerprint}
            buffer = io.BytesIO()
            fastavro.schemaless_writer(buffer, parsed_schema(DEAD_LETTERS), letter)
            key = letter["gateway_id"] or refusal.topic
            self._producer.produce(DEAD_LETTERS.name, key=key, value=header + buffer.getvalue(), on_delivery=delivered)
        if self._producer.flush(30) or failures:
            raise KafkaException(f"dead letters not delivered: {failures[:1] or 'no answer in 30 s'}")


def letter_of(refusal: Refusal, now_ms: int) -> dict[str, Any]:
    """The dead letter of a refusal, with whatever of the record can still be read."""
    record = refusal.record
    known = _readable(refusal)
    value = record.value if record.value is not None else record.key or b""
    again = refusal.topic == DEAD_LETTERS.name and known.get("origin") == "loader"
    return {
        "reason": refusal.reason,
        "detail": ("Again: " if again else "") + refusal.detail,
        "origin": "loader",
        "source": f"{refusal.topic}/{record.partition}/{record.offset}",
        "payload": value[:_PAYLOAD_BYTES],
        "payload_size": len(value),
        "device_id": known.get("device_id"),
        "metric": known.get("metric"),
        "gateway_id": known.get("gateway_id") or "",
        "epoch": known.get("epoch"),
        "seq": known.get("seq"),
        "received_at": record.timestamp_ms if record.timestamp_ms > 0 else now_ms,
    }


def _readable(refusal: Refusal) -> dict[str, Any]:
    if refusal.schema_text is None or refusal.record.value is None:
        return {}
    definition = json.loads(refusal.schema_text)
    data = io.BytesIO(refusal.record.value[FRAME_BYTES:])
    try:
        row = fastavro.schemaless_reader(data, fastavro.parse_schema(definition), None)
    except Exception as error:
        log.debug("record of %s cannot be read: %s", refusal.topic, error)
        return {}
    return row if isinstance(row, dict) else {}
