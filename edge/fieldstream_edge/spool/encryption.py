"""Encryption of the spool at rest: AES-256-GCM over each batch's body, with a key of its own for every segment file.

A segment's key is derived (HKDF-SHA256) from the spool's key and the segment's header, which holds a random number,
so it is never used for a second file; within a file each batch's first seq is its nonce, and rises. What stays
readable without the key: seqs, numbers of entries, sizes, and the ranges of event and receive times.

cryptography takes 9 MB of memory, so this module is imported only where a key is configured.
"""

import base64
import binascii
import hashlib
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fieldstream_edge.spool.errors import DamagedBatchError, SpoolKeyError

_KEY_BYTES = 32
_MAKE_ONE = "make one: openssl rand -base64 32 > FILE; chmod 640 FILE"


class SegmentCipher:
    """Encrypts and decrypts the bodies of one segment's batches."""

    def __init__(self, key: bytes, header: bytes) -> None:
        derived = HKDF(SHA256(), _KEY_BYTES, salt=header, info=b"fieldstream spool segment").derive(key)
        self._aead = AESGCM(derived)

    def encrypt(self, body: bytes, head: bytes, first_seq: int) -> bytes:
        """The body in secret, TAG_BYTES longer; `head` is bound to it."""
        return self._aead.encrypt(first_seq.to_bytes(12, "big"), body, head)

    def decrypt(self, body: memoryview, head: memoryview, first_seq: int) -> bytes:
        """Raises DamagedBatchError."""
        try:
            return self._aead.decrypt(first_seq.to_bytes(12, "big"), body, head)
        except InvalidTag as error:
            raise DamagedBatchError("a batch cannot be decrypted") from error


class SpoolKeys:
    """The keys of an encrypted spool: the first encrypts, all decrypt."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = {_fingerprint(key): key for key in reversed(keys)}
        self.fingerprint = _fingerprint(keys[0])

    @classmethod
    def load(cls, path: Path) -> "SpoolKeys":
        """From a file with one key a line, base64 of 32 bytes. Raises SpoolKeyError."""
        try:
            lines = path.read_text().split()
            readable_by_all = path.stat().st_mode & stat.S_IROTH
        except (OSError, UnicodeDecodeError) as error:
            raise SpoolKeyError(f"spool.key_file {path} cannot be read: {error}; {_MAKE_ONE}") from error
        if readable_by_all:
            raise SpoolKeyError(f"spool.key_file {path} may be read by everyone on this machine: chmod o-r {path}")
        try:
            keys = [base64.b64decode(line, validate=True) for line in lines]
        except binascii.Error as error:
            raise SpoolKeyError(f"spool.key_file {path} holds no base64 ({error}); {_MAKE_ONE}") from error
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise SpoolKeyError(f"spool.key_file {path} must hold keys of 32 bytes in base64, one a line; {_MAKE_ONE}")
        return cls(keys)

    def cipher(self, fingerprint: int, header: bytes) -> SegmentCipher:
        """For the segment with this header. Raises SpoolKeyError when its key is not among ours."""
        key = self._keys.get(fingerprint)
        if key is None:
            raise SpoolKeyError(
                "the spool was encrypted with a key that is not in spool.key_file: add it there as a further line, "
                "or set the spool aside to start a new epoch"
            )
        return SegmentCipher(key, header)


def _fingerprint(key: bytes) -> int:
    """15 bits by which a segment names its key."""
    return int.from_bytes(hashlib.sha256(b"fieldstream spool key" + key).digest()[:2], "big") >> 1
