"""Who may ask: bearer tokens with a role, kept as SHA-256 in a file, or an OpenID provider's; and how often.

With neither the API is open, which is meant for one machine where it listens on loopback only.
"""

import hashlib
import hmac
import json
import secrets
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from prometheus_client import Counter

from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.oidc import OidcError, Provider, ProviderAwayError
from fieldstream_central.settings import ROLES

# Paths that tell sites apart; who is limited to some sites may ask no other.
BY_SITE = frozenset(
    {
        *("/readings", "/windows", "/series", "/export/{what}", "/live/readings", "/trust", "/assets", "/caller"),
        *("/anomalies", "/anomalies/{anomaly_id}", "/anomalies/{anomaly_id}/history", "/handover", "/alarm-health"),
        *("/alarms", "/alarms/feedback", "/alarms/actions", "/incidents/{alarm_id:path}"),
        *("/maintenance", "/maintenance/{maintenance_id}", "/maintenance/{maintenance_id}/end"),
    }
)
# So many requests at once, and so many a second for long.
_BURST, _PER_SECOND = 1000.0, 500.0
_LOOK_AGAIN_S = 2.0

REQUESTS = Counter("fieldstream_api_requests_total", "Requests that were let in", ["role"])


@dataclass(frozen=True)
class Caller:
    """Who asks. `expires_at`: seconds since 1970; 0: never. `sites`: the only ones that it sees; none: all."""

    name: str
    role: str
    token_sha256: str
    expires_at: float = 0.0
    sites: tuple[str, ...] = ()


class Callers:
    """The tokens' file, read again when it changes. `is_open`: whether nobody is asked for a token without one."""

    def __init__(self, path: Path, *, is_open: bool = True) -> None:
        self._path = path
        self._is_open = is_open
        self._callers: list[Caller] | None = None
        self._read_at = float("-inf")
        self._changed = 0.0

    def find(self, token: str) -> Caller | None:
        """Whose token it is. An open API takes everybody for the admin."""
        callers = self._current()
        if callers is None:
            return Caller("anonymous", "admin", "") if self._is_open else None
        digest = hash_token(token)
        found = [caller for caller in callers if hmac.compare_digest(caller.token_sha256, digest)]
        return found[0] if found else None

    def _current(self) -> list[Caller] | None:
        if time.monotonic() - self._read_at > _LOOK_AGAIN_S:
            self._read_at = time.monotonic()
            if not self._path.is_file():
                self._callers = None
            elif (changed := self._path.stat().st_mtime) != self._changed or self._callers is None:
                self._callers, self._changed = read_tokens(self._path), changed
        return self._callers


def hash_token(token: str) -> str:
    """What is stored of a token. Tokens are 256 random bits, so that a slow hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_tokens(path: Path) -> list[Caller]:
    """The file: `[name]` tables with role, sha256, expires_at and sites. Raises ValueError naming what is wrong."""
    callers = []
    for name, table in tomllib.loads(path.read_text()).items():
        if table.get("role") not in ROLES:
            raise ValueError(f"{path}: [{name}] role must be one of {', '.join(ROLES)}")
        sites = table.get("sites")
        if sites is not None and not (sites and isinstance(sites, list) and all(isinstance(one, str) for one in sites)):
            raise ValueError(f"{path}: [{name}] sites must be a list of names; without the key it sees all")
        expires = float(table.get("expires_at", 0))
        callers.append(Caller(name, table["role"], table["sha256"], expires, tuple(sites or ())))
    return callers


def add_token(path: Path, name: str, role: str, *, days: float = 0.0, sites: Sequence[str] = ()) -> str:
    """Adds a caller; the token, which is shown this once. `sites`: it sees these only. Raises ValueError."""
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(ROLES)}")
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError("a name has letters, digits, '-' and '_'")
    if path.exists() and any(caller.name == name for caller in read_tokens(path)):
        raise ValueError(f"there is a token {name} already; remove its table from {path} first")
    token = secrets.token_urlsafe(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    expires = time.time() + days * 86_400 if days else 0.0
    with path.open("a") as file:
        limit = f"sites = {json.dumps(list(sites))}\n" if sites else ""
        file.write(f'[{name}]\nrole = "{role}"\nsha256 = "{hash_token(token)}"\nexpires_at = {expires:.0f}\n{limit}\n')
    return token


class Guard:
    """Lets a request pass or refuses it; a FastAPI dependency."""

    def __init__(self, callers: Callers, provider: Provider | None = None) -> None:
        self._callers = callers
        self._provider = provider
        self._budgets: dict[str, tuple[float, float]] = {}

    async def __call__(self, request: Request) -> Caller:
        """Who asks. Raises ApiError: 401 without a good token, 429 beyond the limit."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        token = given.strip() if scheme.lower() == "bearer" else ""
        # Ours have no dots, a JSON web token has two.
        if self._provider and token.count(".") == 2:
            caller: Caller | None = await _of_provider(self._provider, token)
        else:
            caller = self._callers.find(token)
        if caller is None:
            raise ApiError(401, "Token needed", "Give a token: Authorization: Bearer TOKEN.", "Authorization")
        if caller.expires_at and caller.expires_at < time.time():
            raise ApiError(
                401, "Token expired", f"The token of {caller.name} has expired; ask for another.", "Authorization"
            )
        who = caller.name if caller.token_sha256 else request.client.host if request.client else ""
        self._spend(who)
        request.state.caller = caller
        REQUESTS.labels(caller.role).inc()
        return caller

    def _spend(self, who: str) -> None:
        now = time.monotonic()
        left, since = self._budgets.get(who, (_BURST, now))
        left = min(_BURST, left + (now - since) * _PER_SECOND) - 1
        if left < 0:
            raise ApiError(429, "Too many requests", f"More than {_PER_SECOND:.0f} a second; slow down.")
        self._budgets[who] = (left, now)


async def _of_provider(provider: Provider, token: str) -> Caller:
    try:
        found = await provider.signed_in(token)
    except OidcError as error:
        raise ApiError(401, "Token not accepted", str(error), "Authorization") from error
    except ProviderAwayError as error:
        raise ApiError(503, "Sign-in away", str(error)) from error
    return Caller(found.name, found.role, hash_token(token), found.expires_at, found.sites)


async def by_site(request: Request) -> None:
    """A FastAPI dependency: raises ApiError 403 when a caller of some sites asks about the plant, or another site."""
    caller: Caller = request.state.caller
    if not caller.sites:
        return
    seen = ", ".join(caller.sites)
    if request.scope["route"].path.removeprefix("/api/v1") not in BY_SITE:
        detail = f"This is about the whole plant; the token of {caller.name} is for its sites alone: {seen}."
        raise ApiError(403, "Not for one site", detail, "Authorization")
    site = request.query_params.get("site")
    if site and site not in caller.sites:
        raise ApiError(403, "Not in your sites", f"{site!r} is none of the sites that you see: {seen}.", "site")


def require(request: Request, role: str) -> None:
    """Raises ApiError 403 when the caller's role is lower."""
    caller: Caller = request.state.caller
    if ROLES.index(caller.role) < ROLES.index(role):
        detail = f"This needs the role {role}; the token of {caller.name} is a {caller.role}'s."
        raise ApiError(403, "Not allowed", detail, "Authorization")
