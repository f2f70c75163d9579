"""What the keyring's names are: persons and dead letters."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fieldstream_schemas.sealing import LetterKeys, SealError

from fieldstream_central.privacy.keyring import Keyring
from fieldstream_central.settings import Settings

_NONCE_BYTES = 12


def person(subject: str) -> bytes:
    """A person's name in the keyring, from the value that devices send."""
    return b"person\0" + subject.encode()


def letter(letter_id: str) -> bytes:
    """A dead letter's name in the keyring."""
    return b"letter\0" + letter_id.encode()


def pseudonyms(keyring: Keyring, subject: str) -> list[str]:
    """The person's pseudonym of each generation, the newest first: HMAC-SHA-256, hexadecimal; none once forgotten."""
    return [key.hex() for key in keyring.keys(person(subject))]


def lock(keyring: Keyring, letter_id: str, sealed: bytes) -> bytes:
    """Sealed bytes under the letter's own key; empty when the letter is forgotten."""
    key = next(keyring.keys(letter(letter_id)), None)
    if key is None:
        return b""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, sealed, None)


class Opener:
    """Makes dead letters readable again. Reads the key files when the first sealed letter comes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys: LetterKeys | None = None
        self._keyring: Keyring | None = None

    def open(self, letter_id: str, sealed_by: str, payload: bytes) -> bytes:
        """The original bytes. Raises SealError or KeyringError."""
        if not sealed_by or not payload:
            return payload
        if self._keys is None or self._keyring is None:
            if self._settings.letter_key_file is None:
                raise SealError("the letter is encrypted: set letter_key_file to the private key")
            self._keys = LetterKeys(self._settings.letter_key_file)
            self._keyring = Keyring.load(self._settings.pseudonym_key_file)
        nonce, locked = payload[:_NONCE_BYTES], payload[_NONCE_BYTES:]
        for key in self._keyring.keys(letter(letter_id)):
            try:
                return self._keys.open(sealed_by, AESGCM(key).decrypt(nonce, locked, None))
            except InvalidTag:
                continue
        raise SealError("the letter's key is gone: it was erased on request, or its generation was retired")
