"""Sealed letters: whoever holds the private key reads them, nobody else."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fieldstream_schemas.sealing import LetterKeys, Seal, SealError


def pair(folder: Path, name: str) -> tuple[Path, Path]:
    key = X25519PrivateKey.generate()
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_a_letter_is_opened_with_its_key_also_when_a_newer_one_stands_first(tmp_path: Path) -> None:
    old_private, old_public = pair(tmp_path, "old")
    new_private, _ = pair(tmp_path, "new")
    seal = Seal(old_public)
    sealed = seal.seal(b"Ada Lovelace")
    assert b"Ada" not in sealed
    assert seal.seal(b"Ada Lovelace") != sealed
    both = tmp_path / "both.key"
    both.write_bytes(new_private.read_bytes() + old_private.read_bytes())
    assert LetterKeys(both).open(seal.fingerprint, sealed) == b"Ada Lovelace"


def test_a_wrong_key_and_damaged_bytes_are_told_apart(tmp_path: Path) -> None:
    private, public = pair(tmp_path, "a")
    other, _ = pair(tmp_path, "b")
    seal = Seal(public)
    sealed = seal.seal(b"x")
    with pytest.raises(SealError, match="not in the key file"):
        LetterKeys(other).open(seal.fingerprint, sealed)
    for damaged in (sealed[:-1], sealed[:10], b"", sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(SealError, match="damaged"):
            LetterKeys(private).open(seal.fingerprint, damaged)


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    private, _ = pair(tmp_path, "a")
    with pytest.raises(SealError, match=r"a\.key"):
        Seal(private)
    with pytest.raises(SealError, match=r"none\.key"):
        LetterKeys(tmp_path / "none.key")
