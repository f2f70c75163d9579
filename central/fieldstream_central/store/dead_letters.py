"""Dead letters as people work with them: found, read, replayed through the ordinary path, discarded.

A replay takes the way on which the record failed, from where it failed: a gateway's letter goes to the MQTT broker
under its topic, the pipeline's to topic readings.raw, the loader's to the topic that it came from. If it fails again it
becomes a new letter.

However often it is done, a reading counts once. The gateway and the store know a reading by (device_id, metric, ts);
in between, the pipeline knows it by (gateway, epoch, seq), so what goes to readings.raw carries an epoch made from the
letter: the second time it is a duplicate. Weakness: a gateway's letter without `ts` gets the time of its replay.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlparse

import paho.mqtt.publish as mqtt_publish
from confluent_kafka import Producer
from fieldstream_schemas.framed import RecordReader, framed
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.sealing import SealError
from fieldstream_schemas.topics import READINGS_RAW, TOPICS

from fieldstream_central.certificate import files
from fieldstream_central.kafka_access import connection
from fieldstream_central.privacy.keyring import KeyringError
from fieldstream_central.privacy.names import Opener
from fieldstream_central.settings import Settings
from fieldstream_central.store.audit import REPLAY_GATEWAY
from fieldstream_central.store.clickhouse import ClickHouse

# Its one-shot client calls it an error that it is not connected any more when it has disconnected in good order.
logging.getLogger("paho.mqtt.client").setLevel(logging.CRITICAL)

_LETTERS = """
SELECT d.letter_id AS letter_id, reason, detail, origin, source, payload_size, device_id, metric, gateway_id, epoch,
    seq,
    toString(d.received_at) AS received_at, toUnixTimestamp64Milli(d.received_at) AS received_ms,
    hex(payload) AS payload_hex, sealed_by, h.action AS action, h.by AS by, h.note AS note, toString(h.at) AS handled_at
FROM fieldstream.dead_letters AS d LEFT JOIN fieldstream.dead_letter_handling AS h ON h.letter_id = d.letter_id
WHERE ({ids:Array(String)} = [] OR d.letter_id IN {ids:Array(String)})
    AND {reason:String} IN ('', reason) AND {gateway:String} IN ('', gateway_id)
    AND d.received_at >= {since:DateTime64(3, 'UTC')} AND d.received_at < {until:DateTime64(3, 'UTC')}
    AND ({handled:Bool} OR h.action = '')
ORDER BY d.received_at DESC, letter_id LIMIT {limit:UInt32}
"""
_HANDLED = """INSERT INTO fieldstream.dead_letter_handling_data (letter_id, action, by, note)
    VALUES ({letter_id:String}, {action:String}, {by:String}, {note:String})"""
_EVER = (datetime(1970, 1, 1), datetime(2200, 1, 1))


class ReplayError(Exception):
    """A letter cannot be replayed as it is; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One dead letter. `action`: replayed, discarded, or empty while nobody has dealt with it. `closed`: why its bytes
    cannot be decrypted."""

    letter_id: str
    reason: str
    detail: str
    origin: str
    source: str
    payload: bytes
    payload_size: int
    device_id: str | None
    metric: str | None
    gateway_id: str
    epoch: int | None
    seq: int | None
    received_at: str
    received_ms: int
    action: str
    by: str
    note: str
    handled_at: str
    closed: str = ""

    def as_row(self) -> dict[str, Any]:
        """For JSON; the payload as text, or as hex if it is none."""
        return self.__dict__ | {"payload": self.payload_text()}

    def payload_text(self) -> str:
        """The original bytes, readable."""
        if self.closed:
            return f"({self.closed})"
        try:
            return self.payload.decode()
        except UnicodeDecodeError:
            return self.payload.hex(" ")


def letters(
    clickhouse: ClickHouse,
    opener: Opener,
    *,
    ids: tuple[str, ...] = (),
    reason: str = "",
    gateway_id: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    handled: bool = False,
    limit: int = 100,
) -> list[Letter]:
    """The newest letters first; those that somebody has dealt with only if `handled`. Raises ClickHouseError.

    A letter that `opener` cannot open comes without its bytes, and says why.
    """
    params = {"ids": ids, "reason": reason, "gateway": gateway_id, "since": since or _EVER[0],
              "until": until or _EVER[1], "handled": handled, "limit": limit}  # fmt: skip
    rows = clickhouse.rows(_LETTERS, params)
    return [_opened(opener, row) for row in rows]


def _opened(opener: Opener, row: dict[str, Any]) -> Letter:
    stored, sealed_by = bytes.fromhex(row.pop("payload_hex")), row.pop("sealed_by")
    try:
        payload, closed = opener.open(row["letter_id"], sealed_by, stored), ""
    except (SealError, KeyringError) as error:
        payload, closed = b"", str(error)
    return Letter(payload=payload, closed=closed, **row)


def mark(clickhouse: ClickHouse, letter: Letter, action: str, *, by: str, note: str = "") -> None:
    """Notes what was done about a letter."""
    clickhouse.execute(_HANDLED, {"letter_id": letter.letter_id, "action": action, "by": by, "note": note})


class Replayer:
    """Sends letters again. Raises ReplayError for a letter that cannot be; it then remains as it is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = SchemaRegistry(settings.registry, settings.schema_cache)

    @cached_property
    def _producer(self) -> Producer:
        return Producer({**connection(self._settings), "acks": "all", "enable.idempotence": True})

    def replay(self, letter: Letter) -> str:
        """Returns where it went, once that place has confirmed it."""
        if letter.closed:
            raise ReplayError(f"{letter.letter_id}: {letter.closed}")
        if len(letter.payload) < letter.payload_size:
            raise ReplayError(
                f"{letter.letter_id}: of its {letter.payload_size} bytes only the first {len(letter.payload)} were "
                "kept. Have the device send it again, or discard it."
            )
        if letter.origin == "assets":
            raise ReplayError(f"{letter.letter_id}: mend the row in the asset registry; it is sent again by itself.")
        ways: dict[str, Callable[[Letter], str]] = {
            "gateway": self._to_broker, "pipeline": self._to_pipeline, "loader": self._to_topic,
        }  # fmt: skip
        # What Kafka refused of a gateway is a record of readings.raw already.
        return ways["pipeline" if letter.source == READINGS_RAW.name else letter.origin](letter)

    def _to_broker(self, letter: Letter) -> str:
        broker = urlparse(self._settings.mqtt)
        host, port = broker.hostname or "127.0.0.1", broker.port or 1883
        own = files(self._settings) if broker.scheme == "mqtts" else None
        tls: Any = {"ca_certs": str(own.ca), "certfile": str(own.cert), "keyfile": str(own.key)} if own else None
        try:
            mqtt_publish.single(letter.source, letter.payload, qos=1, hostname=host, port=port, tls=tls)
        except OSError as error:
            raise ReplayError(f"the MQTT broker at {host}:{port} (setting `mqtt`) does not answer: {error}") from error
        return f"MQTT topic {letter.source}"

    def _to_pipeline(self, letter: Letter) -> str:
        reading = self._decoded(letter, READINGS_RAW.name)
        digest = hashlib.sha256(letter.letter_id.encode()).digest()
        reading |= {"gateway_id": REPLAY_GATEWAY, "epoch": int.from_bytes(digest[:7]) + 1, "seq": 1}
        value = framed(self._registry, READINGS_RAW, reading)
        self._send(READINGS_RAW.name, reading["device_id"], value, reading["ts"])
        return f"topic {READINGS_RAW.name}"

    def _to_topic(self, letter: Letter) -> str:
        topic = letter.source.partition("/")[0]
        record = self._decoded(letter, topic)
        key = "/".join(str(record[name]) for name in TOPICS[topic].key.split("/"))
        self._send(topic, key, letter.payload, letter.received_ms)
        return f"topic {topic}"

    def _decoded(self, letter: Letter, topic: str) -> dict[str, Any]:
        try:
            return RecordReader(self._registry, TOPICS[topic]).read(letter.payload)
        except (ValueError, EOFError, IndexError, KeyError, RegistryError) as error:
            raise ReplayError(
                f"{letter.letter_id}: its bytes are still no record of {topic} ({error}). "
                "Mend the cause, for instance register the schema that it names, or discard it."
            ) from error

    def _send(self, topic: str, key: str, value: bytes, timestamp_ms: int) -> None:
        failures: list[str] = []

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                failures.append(str(error))

        self._producer.produce(topic, value, key, timestamp=timestamp_ms, on_delivery=delivered)
        if self._producer.flush(30) or failures:
            raise ReplayError(f"Kafka at {self._settings.kafka} did not take it: {failures[:1] or 'no answer in 30 s'}")


def replay_all(
    clickhouse: ClickHouse, settings: Settings, found: list[Letter], *, by: str
) -> Iterator[tuple[Letter, str]]:
    """Replays letters one by one, noting each; yields where it went, or why it could not be."""
    replayer = Replayer(settings)
    for letter in found:
        try:
            where = replayer.replay(letter)
        except ReplayError as error:
            yield letter, f"NOT replayed: {error}"
            continue
        mark(clickhouse, letter, "replayed", by=by, note=where)
        yield letter, f"replayed to {where}"
