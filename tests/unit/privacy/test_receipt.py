"""A receipt says whom it is about only to who knows the name, and every change of it shows."""

import copy
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fieldstream_central.privacy.receipt import ReceiptError, check, signed, signing_key, subject_mark


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "signing.key"
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem)
    return path


def test_a_receipt_is_checked_by_name_and_shows_every_change(key: Path) -> None:
    document = signed(key, {"subject": subject_mark("Ada Lovelace"), "done": {"all": "2026-01-01"}})
    public = signing_key(key).public_key()
    assert "Ada" not in str(document)
    check(document, public)
    check(document, public, subject="Ada Lovelace")
    with pytest.raises(ReceiptError, match="somebody else"):
        check(document, public, subject="Bob")
    changed = copy.deepcopy(document)
    changed["receipt"]["done"]["all"] = "2025-01-01"
    for broken in (changed, {"receipt": document["receipt"]}, document | {"signature": "AAAA"}, {}):
        with pytest.raises(ReceiptError, match="changed"):
            check(broken, public)


def test_without_a_key_the_way_to_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReceiptError, match="openssl genpkey -algorithm ED25519"):
        signed(tmp_path / "none.key", {})
