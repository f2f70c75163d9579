"""Signed receipts: Ed25519 (RFC 8032) over canonical JSON. Whoever has the public key can check one, years later."""

import hashlib
import hmac
import json
import secrets
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key


class ReceiptError(Exception):
    """There is no key to sign with, or a receipt is not ours; the message says which."""


def signing_key(path: Path) -> Ed25519PrivateKey:
    """Raises ReceiptError."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise ReceiptError(
            f"signing_key_file {path}: {error}; openssl genpkey -algorithm ED25519 -out {path}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ReceiptError(
            f"signing_key_file {path} holds no Ed25519 key: openssl genpkey -algorithm ED25519 -out {path}"
        )
    return key


def signed(key_file: Path, receipt: dict[str, Any]) -> dict[str, Any]:
    """The receipt with its signature. Raises ReceiptError."""
    key = signing_key(key_file)
    public = b64encode(key.public_key().public_bytes_raw()).decode()
    return {"receipt": receipt, "signature": b64encode(key.sign(_bytes(receipt))).decode(), "public_key": public}


def check(document: dict[str, Any], public_key: Ed25519PublicKey, *, subject: str = "") -> None:
    """Raises ReceiptError unless the receipt was signed with this key, and is about `subject` where one is given."""
    try:
        public_key.verify(b64decode(document["signature"]), _bytes(document["receipt"]))
        mark = document["receipt"]["subject"]
        ours = subject_mark(subject, mark["salt"]) == mark if subject else True
    except (InvalidSignature, ValueError, KeyError, TypeError) as error:
        raise ReceiptError("the receipt was not signed with this key, or was changed afterwards") from error
    if not ours:
        raise ReceiptError("the receipt is about somebody else")


def subject_mark(subject: str, salt: str = "") -> dict[str, str]:
    """Says whom a receipt is about to those who know the name, and to nobody else."""
    salt = salt or secrets.token_hex(16)
    return {"salt": salt, "hmac_sha256": hmac.new(salt.encode(), subject.encode(), hashlib.sha256).hexdigest()}


def _bytes(receipt: dict[str, Any]) -> bytes:
    return json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
