"""Client of a Confluent-compatible schema registry that keeps every schema on disk.

A program that has met a schema once starts and runs without the registry. Clients never register
implicitly: only `register` (called by `fieldstream schemas register`) writes.

Wire format (Confluent): byte 0, schema id as 4 bytes big-endian, Avro binary.
"""

import base64
import hashlib
import json
import os
import struct
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from fieldstream_schemas.topics import Topic

_FRAME = struct.Struct(">BI")
FRAME_BYTES = _FRAME.size


class RegistryError(Exception):
    """The registry could not answer, or refused."""


class RegistryUnreachableError(RegistryError):
    """No configured registry answered; trying again later may help."""


class SchemaUnknownError(RegistryError):
    """Every registry that answered has no such schema or subject."""


class SchemaIncompatibleError(RegistryError):
    """The registry refused a schema because older or newer readers could not read its data."""


def frame_header(schema_id: int) -> bytes:
    """The five bytes that precede each Avro value of this schema."""
    return _FRAME.pack(0, schema_id)


def schema_id_of(value: bytes) -> int:
    """Schema id of a framed value. Raises ValueError if the bytes are not in wire format."""
    if len(value) < FRAME_BYTES or value[0] != 0:
        raise ValueError("not in Confluent wire format: expected a zero byte and a schema id")
    return int(_FRAME.unpack_from(value)[1])


def _without_user(address: str) -> tuple[str, dict[str, str]]:
    """The address without `user:password@`, and these as a header."""
    parts = urlsplit(address)
    if parts.username is None:
        return address, {}
    token = base64.b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return url, {"Authorization": f"Basic {token}"}


class SchemaRegistry:
    """Schema ids and texts by topic, from disk where known, else from the first registry that answers."""

    def __init__(self, urls: Sequence[str], cache_dir: Path, *, timeout_s: float = 3.0) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._cache_dir = cache_dir
        self._timeout_s = timeout_s
        cache_dir.mkdir(parents=True, exist_ok=True)

    def id_of(self, topic: Topic) -> int:
        """Id under which the topic's schema, exactly as in this package, is registered.

        Raises SchemaUnknownError if it is not registered, RegistryUnreachableError if that cannot be found out.
        """
        known = self._id_file(topic)
        if known.exists() and (kept := known.read_text()).isdigit():
            return int(kept)
        schema_id = int(self._call("POST", f"/subjects/{topic.subject}", {"schema": topic.schema_text})["id"])
        self._keep(self._cache_dir / f"{schema_id}.avsc", topic.schema_text)
        self._keep(known, str(schema_id))
        return schema_id

    def holds(self, topics: Iterable[Topic]) -> bool:
        """Whether the ids of all these topics' schemas are on disk."""
        return all(self._id_file(topic).exists() for topic in topics)

    def wait_for_id(self, topic: Topic, *, timeout_s: float = 60.0) -> int:
        """As `id_of`, but keeps trying: a program may start before the registry or the registration."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.id_of(topic)
            except RegistryError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def schema_text(self, schema_id: int) -> str:
        """Text of the schema with this id. Raises as `id_of`."""
        path = self._cache_dir / f"{schema_id}.avsc"
        if not path.exists() or not path.stat().st_size:
            self._keep(path, str(self._call("GET", f"/schemas/ids/{schema_id}")["schema"]))
        return path.read_text()

    def register(self, topic: Topic) -> int:
        """Registers the topic's schema; the same schema again gives the same id. Raises SchemaIncompatibleError."""
        answer = self._call("POST", f"/subjects/{topic.subject}/versions", {"schema": topic.schema_text})
        return int(answer["id"])

    def check(self, subject: str, schema_text: str) -> list[str]:
        """Reasons why `schema_text` may not follow what is registered under `subject`; empty: it may."""
        path = f"/compatibility/subjects/{quote(subject)}/versions?verbose=true"
        try:
            answer = self._call("POST", path, {"schema": schema_text})
        except SchemaUnknownError:
            return []
        if answer.get("is_compatible"):
            return []
        return [str(message) for message in answer.get("messages", [])] or ["the registry gave no reason"]

    def require_compatibility(self, rule: str = "FULL") -> None:
        """Sets the rule for all subjects; FULL: old readers read new data and new readers old data."""
        try:
            self._call("PUT", "/config", {"compatibility": rule})
        except SchemaIncompatibleError:
            # Apicurio answers so when the rule of a moment ago has just been made: then it is there, or is set again.
            if self._call("GET", "/config").get("compatibilityLevel") != rule:
                self._call("PUT", "/config", {"compatibility": rule})

    def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        problems = []
        unknown: SchemaUnknownError | None = None
        for address in self._urls:
            url, authorization = _without_user(address)
            request = urllib.request.Request(  # noqa: S310 - the URL is the operator's own setting
                url + path,
                method=method,
                data=json.dumps(body).encode() if body is not None else None,
                headers={"Content-Type": "application/vnd.schemaregistry.v1+json"} | authorization,
            )
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310
                    answer: dict[str, Any] = json.load(response)
                    return answer
            except urllib.error.HTTPError as error:
                detail = error.read().decode(errors="replace")[:2000]
                if error.code == 404:
                    # Registered at one instance, a schema reaches the next a second later: ask them all.
                    unknown = SchemaUnknownError(f"{method} {path}: {detail}")
                    continue
                if error.code == 409:
                    raise SchemaIncompatibleError(detail) from error
                problems.append(f"{url}: HTTP {error.code} {detail[:200]}")
            except (OSError, ValueError) as error:
                problems.append(f"{url}: {error}")
        if unknown:
            raise unknown
        raise RegistryUnreachableError(f"no schema registry answered {method} {path}: {'; '.join(problems)}")

    def _id_file(self, topic: Topic) -> Path:
        digest = hashlib.sha256(topic.schema_text.encode()).hexdigest()[:16]
        return self._cache_dir / f"{topic.subject}.{digest}.id"

    def _keep(self, path: Path, text: str) -> None:
        # Written aside, synced and renamed: another process may read it at any moment, and after a power cut a file
        # that was not synced is found empty.
        with tempfile.NamedTemporaryFile("w", dir=self._cache_dir, delete=False) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(path)
