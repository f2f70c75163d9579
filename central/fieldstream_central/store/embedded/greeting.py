"""The first question of clickhouse-go, answered by hand.

It asks in the newest Native dialect, which the engine does not write, and takes the server's revision from
the answer. Revision 0 makes it speak plain Native from then on, which the engine does write.
"""

import struct

from fieldstream_central.store.embedded.answer import Answer

QUESTION = "SELECT displayName(), version(), revision(), timezone()"

# From this revision of the protocol on, each column carries a mark for custom serialization.
_CUSTOM_SERIALIZATION_SINCE = 54454
# Field 1 (overflows): no; field 2 (bucket): -1; end.
_BLOCK_INFO = struct.pack("<BBBiB", 1, 0, 2, -1, 0)


def answer(version: str, client_revision: int) -> Answer:
    """One block of one row, in the dialect of the client's revision; 0: plain Native."""
    columns = [
        ("displayName()", "String", _text("fieldstream")),
        ("version()", "String", _text(version)),
        ("revision()", "UInt32", struct.pack("<I", 0)),
        ("timezone()", "String", _text("UTC")),
    ]
    mark = b"\0" if client_revision >= _CUSTOM_SERIALIZATION_SINCE else b""
    body = bytes([len(columns), 1]) + b"".join(
        _text(name) + _text(kind) + mark + value for name, kind, value in columns
    )
    return Answer("Native", iter(()), (_BLOCK_INFO if client_revision else b"") + body)


def _text(text: str) -> bytes:
    return bytes([len(text.encode())]) + text.encode()  # all shorter than 128 bytes: the length is one byte
