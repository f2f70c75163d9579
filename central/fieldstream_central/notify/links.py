"""Links that act by themselves, signed: whoever has the message may acknowledge, for a day, and nothing else.

HMAC-SHA256 over what the link says, with a key from the environment or a file. A link names one episode: it cannot
acknowledge the next one.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

LASTS_MS = 24 * 3600 * 1000
KEY_VARIABLE = "FIELDSTREAM_LINK_KEY"
_SHORTEST_KEY = 16


class LinkError(Exception):
    """The link is not ours, was changed, or has expired; the message says so to who followed it."""


def link_key(file: Path) -> bytes:
    """The key; empty when there is none: then messages carry no such links. Raises ValueError for a short one."""
    text = os.environ.get(KEY_VARIABLE) or (file.read_text() if file.is_file() else "")
    key = text.strip().encode()
    if key and len(key) < _SHORTEST_KEY:
        raise ValueError(f"the key for links must have at least {_SHORTEST_KEY} characters")
    return key


def signed(key: bytes, base: str, purpose: str, fields: Mapping[str, str], now_ms: int) -> str:
    """The link; empty without a key."""
    if not key:
        return ""
    said = {**fields, "until": str(now_ms + LASTS_MS)}
    return f"{base}/link/{purpose}?{urlencode({**said, 'signature': _signature(key, purpose, said)})}"


def checked(key: bytes, purpose: str, query: Mapping[str, str], now_ms: int) -> dict[str, str]:
    """What a link says. Raises LinkError."""
    said = {name: value for name, value in query.items() if name != "signature"}
    if not key or not hmac.compare_digest(_signature(key, purpose, said), query.get("signature", "")):
        raise LinkError("This link is not valid: it was cut off or changed on its way. Use the console.")
    if int(said["until"]) < now_ms:
        raise LinkError("This link has expired; links work for a day. Use the console.")
    return said


def _signature(key: bytes, purpose: str, said: Mapping[str, str]) -> str:
    text = purpose + "\n" + urlencode(sorted(said.items()))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
