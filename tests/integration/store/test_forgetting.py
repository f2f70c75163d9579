"""A person is forgotten: in the store, while readings keep coming, and after an old backup comes back."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fieldstream_central.privacy.forget import forget
from fieldstream_central.privacy.held import export, report
from fieldstream_central.privacy.keyring import Keyring
from fieldstream_central.privacy.names import Opener, pseudonyms
from fieldstream_central.privacy.receipt import check, signing_key
from fieldstream_central.settings import Settings, load_settings
from fieldstream_central.store.backup import backup, restore
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.dead_letters import letters
from fieldstream_central.store.migrate import migrate
from fieldstream_schemas.sealing import Seal
from fieldstream_schemas.topics import DEAD_LETTERS, READINGS_CLEAN
from integration.store.rig import Feed, LoaderProcess, Store, eventually, reading, schema_cache

ADA, BOB = "Ada Lovelace", "Bjørn Ødegård"
READINGS = 40


@dataclass
class Plant:
    """Kafka, ClickHouse and a loader with keys."""

    folder: Path
    kafka: str
    store: Store
    feed: Feed
    settings: Settings
    loader: LoaderProcess

    def restart_loader(self) -> None:
        self.loader = LoaderProcess(
            self.folder, self.kafka, self.store.url, self.folder / "schemas", more=_keys(self.folder)
        )

    def send(self, name: str, first_seq: int, *, pseudonym: str | None = None) -> None:
        """Readings and a dead letter of a person, as pipeline and gateway write them."""
        if pseudonym is None:
            [pseudonym] = pseudonyms(Keyring.load(self.settings.pseudonym_key_file), name)
        rows = [
            reading(first_seq + n, epoch=5, device_id=name[:3], operator_pseudonym=pseudonym) for n in range(READINGS)
        ]
        self.feed.send(READINGS_CLEAN, rows)
        seal = Seal(self.folder / "dead-letters.pub")
        payload = json.dumps({"value": "warm", "operator": name}).encode()
        letter = {
            "reason": "not-a-number", "detail": "d", "origin": "gateway", "source": "sensors/x/y", "device_id": "x",
            "payload": seal.seal(payload), "payload_size": len(payload), "metric": "y", "gateway_id": "g", "epoch": 5,
            "seq": first_seq + READINGS, "received_at": 1_780_000_000_000, "sealed_by": seal.fingerprint,
        }  # fmt: skip
        self.feed.send(DEAD_LETTERS, [letter])

    def held(self, name: str) -> dict[str, Any]:
        with self.store.client() as clickhouse:
            return report(clickhouse, self.settings, name)


def _keys(folder: Path) -> str:
    return (
        f'pseudonym_key_file = "{folder}/pseudonym.key"\nletter_key_file = "{folder}/dead-letters.key"\n'
        f'letter_public_key_file = "{folder}/dead-letters.pub"\nsigning_key_file = "{folder}/signing.key"\n'
    )


@pytest.fixture
def plant(kafka: str, store: Store, tmp_path: Path) -> Iterator[Plant]:
    (tmp_path / "pseudonym.key").write_text(secrets.token_hex(32))
    letters_key = X25519PrivateKey.generate()
    for name, key in (("dead-letters.key", letters_key), ("signing.key", Ed25519PrivateKey.generate())):
        (tmp_path / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = letters_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "dead-letters.pub").write_bytes(public)
    feed = Feed(kafka, schema_cache(tmp_path / "schemas"))
    migrate(store.url)
    loader = LoaderProcess(tmp_path, kafka, store.url, tmp_path / "schemas", more=_keys(tmp_path))
    running = Plant(tmp_path, kafka, store, feed, load_settings(tmp_path / "loader.toml"), loader)
    yield running
    running.loader.stop()


def count(clickhouse: ClickHouse, where: str) -> int:
    return int(clickhouse.value(f"SELECT count() AS n FROM fieldstream.readings WHERE {where}"))


def test_who_is_forgotten_is_gone_from_store_and_backups_and_nobody_else_is(plant: Plant) -> None:
    plant.send(ADA, 1)
    plant.send(BOB, 1001)
    eventually(lambda: [plant.held(name)["readings"]["readings"] for name in (ADA, BOB)] == [READINGS] * 2)
    eventually(lambda: [len(plant.held(name)["dead_letters"]) for name in (ADA, BOB)] == [1, 1])
    with plant.store.client() as clickhouse:
        assert len(list(export(clickhouse, plant.settings, ADA))) == READINGS + 1
        stored = clickhouse.value("SELECT groupArray(hex(payload)) AS p FROM fieldstream.dead_letters WHERE epoch = 5")
        assert not any(ADA.encode().hex().upper() in one for one in stored)
        [old] = pseudonyms(Keyring.load(plant.settings.pseudonym_key_file), ADA)
        sums = "SELECT sum(value) AS s FROM fieldstream.readings WHERE epoch = 5"
        before = clickhouse.value(sums)
        backup(clickhouse, "before")
        bob = plant.held(BOB)

        document = forget(clickhouse, plant.settings, ADA)
        check(document, signing_key(plant.settings.signing_key_file).public_key(), subject=ADA)
        assert ADA not in json.dumps(document)
        assert clickhouse.value(sums) == before  # readings stay, as nobody's
        gone = plant.held(ADA)
        assert (gone["known"], gone["readings"]["readings"], gone["dead_letters"]) == (False, 0, [])
        assert plant.held(BOB) == bob

        # What was on its way is erased as it arrives; and a second request finds nothing and does no harm.
        plant.send(ADA, 2001, pseudonym=old)
        eventually(lambda: count(clickhouse, "epoch = 5 AND seq > 2000") == READINGS)
        eventually(lambda: count(clickhouse, f"operator_pseudonym = '{old}'") == 0)
        forget(clickhouse, plant.settings, ADA)

        # An old backup holds what it held; nobody can read it, and the loader erases it again.
        plant.loader.stop()
        restore(clickhouse, "before", replace=True)
        assert count(clickhouse, f"operator_pseudonym = '{old}'") == READINGS
        assert plant.held(ADA)["readings"]["readings"] == 0
        closed = [one.letter_id for one in letters(clickhouse, Opener(plant.settings), handled=True) if one.closed]
        # Kafka also holds what other tests sealed, with keys of their own.
        assert [one for one in closed if one.startswith("g/")] == [f"g/5/{1 + READINGS}"]
        plant.restart_loader()
        eventually(lambda: count(clickhouse, f"operator_pseudonym = '{old}'") == 0)
        assert plant.held(BOB) == bob
        assert not {name for name in (ADA, BOB) if name in plant.loader.output()}
