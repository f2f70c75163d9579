"""Who may do what in the embedded server: users with a password, read-only or not, each with limits per query.

The engine in the chdb wheel has no CREATE USER, so this is kept here. Without a users file there is one
user, `default`, without password, as in a fresh ClickHouse that listens on loopback only.
"""

import base64
import hashlib
import hmac
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path

from fieldstream_central.store.embedded import statement

# What every query gets unless it, or its user, says otherwise: a forgotten cross join must not stop the plant.
DEFAULT_LIMITS = {"max_execution_time": "60", "max_memory_usage": "1000000000", "max_threads": "2"}


_LISTS = ("statements", "inserts", "sites", "addresses")
_AROUND = re.compile(r"merge|loop|remote|cluster", re.IGNORECASE)
_FROM = re.compile(r"\bFROM\b", re.IGNORECASE)
_INSERT = re.compile(r"\s*INSERT\s+INTO\s+([\w.]+)", re.IGNORECASE)


class AccessError(Exception):
    """Unknown user or wrong password."""


@dataclass(frozen=True)
class User:
    """One account. `settings` are limits that the user cannot lift.

    `statements`: the verbs it may use; none: all. `inserts`: tables that it may fill although it is read-only.
    `sites`: it sees rows of these sites only; none: all. `addresses`: networks it comes from; none: anywhere.
    """

    name: str
    password_sha256: str = ""
    readonly: bool = False
    settings: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    statements: tuple[str, ...] = ()
    inserts: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def refuses(self, sql: str) -> str:
        """Why the user may not run the statement; empty when the engine decides."""
        verb = statement.verb(sql.encode())
        if self.statements and verb not in self.statements:
            return f"may not {verb}"
        # What reads a table by other ways than its name would pass by the filter.
        if self.sites and (way := _AROUND.search(sql)):
            return f"{way.group()} is not for those who see some sites only"
        return ""

    def inserts_into(self, sql: str) -> bool:
        """Whether the statement fills a table that this read-only user may fill, from no other place."""
        found = _INSERT.match(sql)
        return found is not None and found.group(1) in self.inserts and not _FROM.search(sql)


class Users:
    """Accounts from a TOML file: `[name]` tables with password_sha256, readonly and settings."""

    def __init__(self, path: Path | None = None) -> None:
        self._users = {"default": User("default")}
        if path is not None:
            self._users = {name: _user(name, table) for name, table in tomllib.loads(path.read_text()).items()}

    def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str], address: str) -> User:
        """The account that the request names, by header, basic authentication or parameter. Raises AccessError."""
        name, password = _credentials(headers, query)
        user = self._users.get(name)
        digest = hashlib.sha256(password.encode()).hexdigest()
        if (
            user is None
            or not _comes_from(user.addresses, address)
            or (user.password_sha256 and not hmac.compare_digest(digest, user.password_sha256))
        ):
            raise AccessError(
                f"Code: 516. DB::Exception: {name}: Authentication failed: password is incorrect, "
                "or there is no user with such name. (AUTHENTICATION_FAILED)"
            )
        return user


def _credentials(headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[str, str]:
    if headers.get("X-ClickHouse-User"):
        return headers["X-ClickHouse-User"], headers.get("X-ClickHouse-Key", "")
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(token).decode().partition(":")
        except ValueError as error:
            raise AccessError("Code: 516. DB::Exception: Invalid basic authentication header.") from error
        return name or "default", password
    return query.get("user") or "default", query.get("password", "")


def _user(name: str, table: object) -> User:
    if not isinstance(table, dict):
        raise ValueError(f"users file: [{name}] must be a table")
    unknown = set(table) - {"password_sha256", "readonly", "settings", *_LISTS}
    if unknown:
        raise ValueError(f"users file: [{name}] has unknown keys {sorted(unknown)}")
    limits = {key: str(value) for key, value in table.get("settings", {}).items()}
    lists = {key: tuple(str(one) for one in table.get(key, ())) for key in _LISTS}
    return User(
        name,
        str(table.get("password_sha256", "")),
        bool(table.get("readonly", False)),
        DEFAULT_LIMITS | limits,
        **lists,
    )


def _comes_from(networks: tuple[str, ...], address: str) -> bool:
    return not networks or any(ip_address(address) in ip_network(network) for network in networks)
