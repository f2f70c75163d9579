"""People signed in by an OpenID Connect provider: its metadata, its keys, and what one of its tokens says.

Tokens are checked as OpenID Connect Core 1.0, section 3.1.3.7, and RFC 9068 ask for: signature by one of the provider's
keys with an asymmetric algorithm, issuer, audience, expiry.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fieldstream_central.settings import ROLES, Oidc

_ALGORITHMS = ["RS256", "PS256", "ES256"]
# A key that is not known is asked for, but not for every forged token; one that was withdrawn is forgotten in an hour.
_ASK_AGAIN_S, _KEYS_KEPT_S = 10.0, 3600.0
_CLOCK_SKEW_S = 30
_TIMEOUT_S = 5.0


class OidcError(Exception):
    """A token that is not taken; the message says why."""


class ProviderAwayError(Exception):
    """The provider does not answer, and without it this cannot be told."""


@dataclass(frozen=True)
class SignedIn:
    """Whom a token names. `expires_at`: seconds since 1970. `sites`: the only ones that they see; none: all."""

    name: str
    role: str
    expires_at: float
    sites: tuple[str, ...] = ()


class Provider:
    """One provider. What it said last is kept: while it is away, tokens under known keys are still told."""

    def __init__(self, settings: Oidc) -> None:
        self.settings = settings
        self._metadata: dict[str, Any] = {}
        self._keys = KeySet([])
        self._asked_at = self._had_at = float("-inf")
        self._asking = asyncio.Lock()

    async def metadata(self) -> dict[str, Any]:
        """Its addresses (OpenID Connect Discovery 1.0). Raises ProviderAwayError."""
        if not self._metadata:
            url = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await _json(url)
            if found.get("issuer") != self.settings.issuer:
                raise ProviderAwayError(f"{url} is of another issuer: {found.get('issuer')}")
            self._metadata = found
        return self._metadata

    async def exchange(self, given: dict[str, str]) -> str:
        """The ID token for what the provider gave a browser. Raises OidcError, ProviderAwayError."""
        secret = self.settings.client_secret_file
        login = httpx.BasicAuth(self.settings.client_id, secret.read_text().strip()) if secret else None
        address = (await self.metadata())["token_endpoint"]
        try:
            async with httpx.AsyncClient(auth=login, timeout=_TIMEOUT_S, trust_env=False) as http:
                answer = await http.post(address, data=given)
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderAwayError(f"The provider does not answer at {address}: {error}") from error
        if answer.is_error or "id_token" not in said:
            raise OidcError(
                f"The provider says: {said.get('error_description') or said.get('error') or 'no ID token'}."
            )
        return str(said["id_token"])

    async def signed_in(self, token: str, *, nonce: str | None = None) -> SignedIn:
        """Whom the token names, and in which role. Raises OidcError, ProviderAwayError."""
        try:
            found = await self._decoded(token)
            jwt.JWTClaimsRegistry(
                leeway=_CLOCK_SKEW_S,
                iss={"essential": True, "value": self.settings.issuer},
                aud={"essential": True, "values": [self.settings.client_id, *self.settings.audiences]},
                exp={"essential": True},
            ).validate(found)
        except (JoseError, ValueError) as error:
            raise OidcError(f"The provider's token is not good: {error}") from error
        if nonce is not None and found.get("nonce") != nonce:
            raise OidcError("The provider's token is of another sign-in.")
        name = next((str(found[claim]) for claim in ("preferred_username", "email", "sub") if found.get(claim)), "")
        values = self._values(found)
        roles = [self.settings.roles[value] for value in values if value in self.settings.roles]
        if not roles:
            raise OidcError(f"{name} has no role here: nothing in the claim {self.settings.claim!r} gives one.")
        sites = {site for value in values for site in self.settings.sites.get(value, ())}
        return SignedIn(name, max(roles, key=ROLES.index), float(found["exp"]), tuple(sorted(sites)))

    async def _decoded(self, token: str) -> dict[str, Any]:
        stale = time.monotonic() - self._had_at > _KEYS_KEPT_S
        if not (stale and self._may_ask()):
            try:
                return jwt.decode(token, self._keys, algorithms=_ALGORITHMS).claims
            except (JoseError, ValueError):
                pass
        async with self._asking:  # who comes while the keys are on their way waits for them
            if self._may_ask():
                try:
                    await self._ask()
                except ProviderAwayError:
                    if not (stale and self._keys.keys):
                        raise
            if not self._keys.keys:
                raise ProviderAwayError("The provider has not answered yet; try again in a few seconds.")
            return jwt.decode(token, self._keys, algorithms=_ALGORITHMS).claims

    def _may_ask(self) -> bool:
        return time.monotonic() - self._asked_at >= _ASK_AGAIN_S

    async def _ask(self) -> None:
        self._asked_at = time.monotonic()
        self._keys = KeySet.import_key_set(await _json((await self.metadata())["jwks_uri"]))  # type: ignore[arg-type]
        self._had_at = self._asked_at

    def _values(self, claims: dict[str, Any]) -> list[str]:
        found: Any = claims
        for part in self.settings.claim.split("."):
            found = found.get(part, []) if isinstance(found, dict) else []
        return [str(value) for value in (found if isinstance(found, list) else [found])]


async def _json(url: str) -> dict[str, Any]:
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as http:
            answer: dict[str, Any] = (await http.get(url)).raise_for_status().json()
            return answer
    except (httpx.HTTPError, ValueError) as error:
        raise ProviderAwayError(f"The provider does not answer at {url}: {error}") from error
