"""Original bytes of dead letters, encrypted for the centre: whoever writes a letter cannot read it again.

X25519 (RFC 7748) with a new key pair for each letter, HKDF-SHA256 (RFC 5869), AES-256-GCM. Sealed bytes are the new
public key (32 bytes), the ciphertext and its tag (16 bytes). `Seal.java` in central/functions does the same.

Imported only where a key is configured: cryptography takes 9 MB of memory.
"""

import hashlib
import re
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

_PUBLIC_BYTES = 32
_INFO = b"fieldstream dead letter"
_NONCE = bytes(12)  # each key encrypts one letter
_PRIVATE_BLOCK = re.compile(rb"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----", re.DOTALL)


class SealError(Exception):
    """A key file cannot be used, or a letter cannot be opened; the message says which."""


class Seal:
    """The centre's public key. `fingerprint` names it in a letter's `sealed_by`."""

    def __init__(self, path: Path) -> None:
        """Raises SealError."""
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError) as error:
            raise SealError(f"{path} is no public key: {error}") from error
        if not isinstance(key, X25519PublicKey):
            raise SealError(f"{path} holds no X25519 key; make one: openssl genpkey -algorithm X25519")
        self._key = key
        self.fingerprint = _fingerprint(key)

    def seal(self, payload: bytes) -> bytes:
        """The payload in secret."""
        new = X25519PrivateKey.generate()
        public = new.public_key().public_bytes_raw()
        cipher = _cipher(new.exchange(self._key), public, self._key)
        return public + cipher.encrypt(_NONCE, payload, None)


class LetterKeys:
    """The centre's private keys: one PEM block each; letters name theirs, so that old ones stay readable."""

    def __init__(self, path: Path) -> None:
        """Raises SealError."""
        try:
            keys = [load_pem_private_key(block, None) for block in _PRIVATE_BLOCK.findall(path.read_bytes())]
        except (OSError, ValueError) as error:
            raise SealError(f"{path} is no private key: {error}") from error
        self._keys = {_fingerprint(key.public_key()): key for key in keys if isinstance(key, X25519PrivateKey)}

    def open(self, sealed_by: str, sealed: bytes) -> bytes:
        """The original bytes. Raises SealError when the key is not here or the bytes are damaged."""
        key = self._keys.get(sealed_by)
        if key is None:
            raise SealError(f"the letter was sealed for the key {sealed_by}, which is not in the key file")
        public = sealed[:_PUBLIC_BYTES]
        try:
            cipher = _cipher(key.exchange(X25519PublicKey.from_public_bytes(public)), public, key.public_key())
            return cipher.decrypt(_NONCE, sealed[_PUBLIC_BYTES:], None)
        except (InvalidTag, ValueError) as error:
            raise SealError("the sealed bytes are damaged") from error


def _cipher(shared: bytes, new_public: bytes, recipient: X25519PublicKey) -> AESGCM:
    salt = new_public + recipient.public_bytes_raw()
    return AESGCM(HKDF(SHA256(), 32, salt=salt, info=_INFO).derive(shared))


def _fingerprint(key: X25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]
