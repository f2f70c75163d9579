"""Reads the gateway's configuration: one TOML file. Every mistake is named with its line and a remedy."""

import dataclasses
import difflib
import os
import re
import tomllib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldstream_edge.payloads.mapping import topic_pattern
from fieldstream_edge.settings import GatewaySettings


@dataclass(frozen=True)
class Problem:
    """Something wrong in a configuration: where, what, and what to do."""

    file: str
    line: int
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}. {self.remedy}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` names everything that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load(path: Path) -> GatewaySettings:
    """Settings from the file. Raises ConfigError naming every problem."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(
            [Problem(str(path), 0, f"cannot be read: {error.strerror}", "Give an existing file")]
        ) from error
    return parse(text, str(path), files=True)


def parse(text: str, file: str = "gateway.toml", *, files: bool = False) -> GatewaySettings:
    """Settings from TOML text; `files`: those it names must be there. Raises ConfigError naming every problem."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else 0
        raise ConfigError([Problem(file, line, f"not valid TOML: {error}", "Correct the line")]) from error
    loader = _Loader(file, text)
    settings: GatewaySettings = loader.table(GatewaySettings, data, ())
    loader.check_whole(settings)
    if files:
        loader.check_files(settings)
    if loader.problems:
        raise ConfigError(loader.problems)
    return settings


class _Loader:
    def __init__(self, file: str, text: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._lines = text.splitlines()

    def table(self, kind: type, data: dict[str, Any], path: tuple[str, ...]) -> Any:
        """An instance of the dataclass from a TOML table; what is wrong is noted and its default stands in."""
        hints = typing.get_type_hints(kind)
        known = {item.name: item for item in dataclasses.fields(kind)}
        values = {}
        for key, value in data.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, 1, 0.6)
                remedy = f"Did you mean `{near[0]}`?" if near else f"Known here: {', '.join(known)}"
                self.problem((*path, key), "unknown setting", remedy)
                continue
            loaded = self._value(hints[key], known[key].metadata, value, (*path, key))
            if loaded is not _BAD:
                values[key] = loaded
        return kind(**values)

    def problem(self, path: tuple[str, ...], text: str, remedy: str) -> None:
        self.problems.append(Problem(self._file, self._line_of(path), f"`{'.'.join(path)}`: {text}", remedy))

    def _value(self, hint: Any, metadata: Any, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(hint, types.UnionType):
            hint = next(option for option in typing.get_args(hint) if option is not type(None))
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                return self._bad(path, f"is {_kind(value)}", f"Write a table [{'.'.join(path)}]")
            return self.table(typing.cast(type, hint), value, path)
        origin = typing.get_origin(hint)
        if origin is None:
            return self._scalar(hint, metadata, value, path)
        return self._collection(origin, typing.get_args(hint), value, path)

    def _collection(self, origin: type, args: tuple[Any, ...], value: Any, path: tuple[str, ...]) -> Any:
        if origin is list:
            if isinstance(value, list) and all(isinstance(each, str) for each in value):
                return value
            return self._bad(path, f"is {_kind(value)}", 'Write a list of texts, ["...", "..."]')
        tables = value if isinstance(value, list) else [value]
        if not all(isinstance(each, dict) for each in tables):
            return self._bad(path, f"is {_kind(value)}", f"Write a table [{'.'.join(path)}]")
        if origin is dict:
            return {key: _property(each) for key, each in value.items()}
        return tuple(self.table(args[0], each, path) for each in tables)

    def _scalar(self, hint: Any, metadata: Any, value: Any, path: tuple[str, ...]) -> Any:
        if hint is float and type(value) is int:
            value = float(value)
        if type(value) is not hint:
            return self._bad(path, f"is {_kind(value)}", f"Write {_KINDS[hint]}")
        low, high = metadata.get("low"), metadata.get("high")
        if (low is not None and value < low) or (high is not None and value > high):
            limits = f"from {low} to {high}" if high is not None else f"at least {low}"
            return self._bad(path, f"{value} is out of range", f"Allowed: {limits} {metadata['unit']}".rstrip())
        choices = metadata.get("choices")
        if choices and value not in choices:
            return self._bad(path, f'"{value}" is not known', f"One of: {', '.join(choices)}")
        return value

    def _bad(self, path: tuple[str, ...], text: str, remedy: str) -> Any:
        self.problem(path, text, remedy)
        return _BAD

    def _line_of(self, path: tuple[str, ...]) -> int:
        """Line of the key: the first `key =` (or header) at or after the header of its table."""
        start = 0
        for depth in range(len(path) - 1, 0, -1):
            header = re.compile(r"^\s*\[+\s*" + r"\s*\.\s*".join(map(re.escape, path[:depth])) + r"\s*\]+")
            start = next((number for number, line in enumerate(self._lines) if header.match(line)), -1)
            if start >= 0:
                break
        key = re.compile(rf'^\s*(\[+[\w\s."]*)?"?{re.escape(path[-1])}"?\s*[]=.]')
        for number in range(max(start, 0), len(self._lines)):
            if key.match(self._lines[number]):
                return number + 1
        return max(start, 0) + 1

    def check_whole(self, settings: GatewaySettings) -> None:
        """What concerns more than one setting, or a text's form."""
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", settings.gateway_id):
            self.problem(("gateway_id",), "missing or not a name", 'Write e.g. gateway_id = "hall-3"')
        if not settings.state_dir:
            self.problem(("state_dir",), "missing", 'Write e.g. state_dir = "/var/lib/fieldstream"')
        if settings.spool.max_bytes < 4 * settings.spool.segment_bytes:
            self.problem(("spool", "max_bytes"), "smaller than four segments", "Raise it, or lower spool.segment_bytes")
        for mapping in settings.mapping:
            try:
                topic_pattern(mapping.topic)
            except ValueError as error:
                self.problem(
                    ("mapping", "topic"), f'"{mapping.topic}": {error}', 'Write e.g. "plant/{device}/{metric}"'
                )
        ids = set()
        for number, broker in enumerate(settings.mqtt):
            if not re.fullmatch(r"mqtts?://(\[[0-9a-fA-F:]+\]|[^\s:/@]+)(:\d{1,5})?/?", broker.url):
                self.problem(
                    ("mqtt", "url"),
                    f'"{broker.url}" is no broker address',
                    "Write mqtt://HOST:PORT or mqtts://HOST:PORT",
                )
            if broker.broker_time_property and broker.protocol != "5":
                self.problem(("mqtt", "broker_time_property"), "needs MQTT 5", 'Leave it out, or set protocol = "5"')
            if not broker.subscriptions:
                self.problem(("mqtt", "subscriptions"), "empty", 'Write e.g. ["sensors/#"]')
            if broker.tls and bool(broker.tls.cert_file) != bool(broker.tls.key_file):
                self.problem(
                    ("mqtt", "tls", "cert_file"), "certificate and key belong together", "Give both or neither"
                )
            ids.add((broker.url, settings.client_id(number)))
        if len(ids) < len(settings.mqtt):
            self.problem(("mqtt",), "one broker twice with one client_id", "Give each its own client_id")

    def check_files(self, settings: GatewaySettings) -> None:
        """What the settings name must be readable: found missing later, it would look like a broken connection."""
        named: list[tuple[tuple[str, ...], str]] = [
            (("spool", "key_file"), settings.spool.key_file),
            (("letter_public_key_file",), settings.letter_public_key_file),
        ]
        for broker in settings.mqtt:
            named.append((("mqtt", "password_file"), broker.password_file))
            if broker.tls:
                tls = {item.name: getattr(broker.tls, item.name) for item in dataclasses.fields(broker.tls)}
                named += [(("mqtt", "tls", name), file) for name, file in tls.items() if name.endswith("_file")]
        for path, file in named:
            if file and not os.access(file, os.R_OK):
                self.problem(path, f"{file} is not there or may not be read", "Correct the path, or the file's owner")


_BAD = object()
_KINDS = {str: 'a text, "..."', int: "a whole number", float: "a number", bool: "true or false"}


def _kind(value: Any) -> str:
    names = {
        str: "a text",
        bool: "a truth value",
        int: "a whole number",
        float: "a number",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), type(value).__name__)


def _property(value: Any) -> str:
    """librdkafka takes texts; TOML's true and false are spelt its way."""
    return str(value).lower() if isinstance(value, bool) else str(value)
