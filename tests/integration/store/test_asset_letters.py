"""A row of the asset registry that is no sensor becomes a dead letter as unreadable as any other."""

import threading
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fieldstream_central.asset_changes import Follower
from fieldstream_central.settings import Settings
from fieldstream_schemas.framed import RecordReader
from fieldstream_schemas.registry import SchemaRegistry
from fieldstream_schemas.rights import ASSET_CHANGES
from fieldstream_schemas.sealing import LetterKeys, Seal
from fieldstream_schemas.topics import DEAD_LETTERS
from integration.store.rig import Feed, eventually, schema_cache

ROW = b'{"device_id": "pump-1", "label": "ask Ada Lovelace"}'


def test_the_followers_letters_are_sealed(kafka: str, tmp_path: Path) -> None:
    pair = X25519PrivateKey.generate()
    private, public = tmp_path / "letters.key", tmp_path / "letters.pub"
    private.write_bytes(pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    feed = Feed(kafka, schema_cache(tmp_path / "schemas"))
    admin = AdminClient({"bootstrap.servers": kafka})  # named, or it is gone before Kafka answers
    admin.create_topics([NewTopic(ASSET_CHANGES, 1, 1)])[ASSET_CHANGES].result(30)
    feed.producer.produce(ASSET_CHANGES, ROW, b'{"device_id": "pump-1", "metric": "flow"}')
    feed.flush()

    settings = Settings(
        kafka=kafka, registry=("http://127.0.0.1:1",), schema_cache=tmp_path / "schemas", letter_public_key_file=public
    )
    follower = Follower(settings)
    thread = threading.Thread(target=follower.run)
    thread.start()
    try:
        letter = first_letter(settings)
    finally:
        follower.stop()
        thread.join(30)
    assert b"Ada" not in letter["payload"]
    assert letter["sealed_by"] == Seal(public).fingerprint
    assert LetterKeys(private).open(letter["sealed_by"], letter["payload"]) == ROW


def first_letter(settings: Settings) -> dict[str, Any]:
    """The first dead letter of the asset registry."""
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka, "group.id": "test-asset-letters", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([DEAD_LETTERS.name])
    reader = RecordReader(SchemaRegistry(settings.registry, settings.schema_cache), DEAD_LETTERS)

    def letter() -> dict[str, Any] | None:
        message = consumer.poll(1)
        found = reader.read(message.value() or b"") if message and not message.error() else {}
        return found if found.get("reason") == "bad-asset" else None

    try:
        found: dict[str, Any] = eventually(letter, what="the dead letter")
    finally:
        consumer.close()
    return found
