"""What an OpenID provider did not sign for us is not taken. The provider is made up, so that forgeries can be made."""

import asyncio
import hmac
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fieldstream_central.serve import oidc
from fieldstream_central.serve.oidc import OidcError, Provider, ProviderAwayError
from fieldstream_central.settings import Oidc, SettingsError, load_settings
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

OURS, OTHER = RSAKey.generate_key(2048, {"kid": "ours"}), RSAKey.generate_key(2048, {"kid": "ours"})
NEXT = ECKey.generate_key("P-256", {"kid": "next"})


class MadeUpProvider(ThreadingHTTPServer):
    """Serves metadata and keys."""

    keys: list[Any]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keys = [OURS]
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: MadeUpProvider

    def do_GET(self) -> None:
        said: dict[str, Any] = {"issuer": self.server.url, "jwks_uri": f"{self.server.url}/keys"}
        if self.path == "/keys":
            said = dict(KeySet(self.server.keys).as_dict(private=False))
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def made_up() -> Iterator[MadeUpProvider]:
    server = MadeUpProvider()
    yield server
    server.shutdown()
    server.server_close()


def provider(made_up: MadeUpProvider, **more: Any) -> Provider:
    roles = {"plant": "viewer", "shift": "operator"}
    told = {"issuer": made_up.url, "client_id": "fieldstream", "roles": roles, "audiences": ("fieldstream-api",)}
    return Provider(Oidc(**told | more))


def claims(made_up: MadeUpProvider, **more: Any) -> dict[str, Any]:
    told = {
        "iss": made_up.url,
        "aud": "fieldstream",
        "exp": time.time() + 600,
        "sub": "7",
        "groups": ["plant", "shift"],
    }
    return {name: value for name, value in (told | {"preferred_username": "ana"} | more).items() if value is not None}


def token(told: dict[str, Any], key: Any = OURS, algorithm: str = "RS256") -> str:
    header = {"alg": algorithm} | ({"kid": key.kid} if key.kid else {})
    return jwt.encode(header, told, key, algorithms=[algorithm])


def encoded(part: dict[str, str]) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def signed_in(known: Provider, given: str) -> tuple[str, str]:
    found = asyncio.run(known.signed_in(given))
    return found.name, found.role


def test_a_token_names_its_person_in_the_highest_of_the_roles(made_up: MadeUpProvider) -> None:
    assert signed_in(provider(made_up), token(claims(made_up))) == ("ana", "operator")
    script = claims(made_up, aud=["fieldstream-api", "other"], preferred_username=None, groups=["plant"])
    assert signed_in(provider(made_up), token(script)) == ("7", "viewer")


def test_sites_of_several_values_add_up_and_without_any_all_are_seen(made_up: MadeUpProvider) -> None:
    sites = {"hall-1": ["north"], "hall-2": ["south", "north"]}
    known = provider(made_up, sites=sites)

    def seen(*groups: str) -> tuple[str, ...]:
        return asyncio.run(known.signed_in(token(claims(made_up, groups=["plant", *groups])))).sites

    assert (seen("hall-1"), seen("hall-1", "hall-2"), seen()) == (("north",), ("north", "south"), ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another-client"},
        {"aud": None},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"groups": ["visitors"]},
        {"groups": None},
    ],
)
def test_wrong_issuer_audience_expiry_and_people_without_role_are_refused(
    made_up: MadeUpProvider, wrong: dict[str, Any]
) -> None:
    with pytest.raises(OidcError):
        signed_in(provider(made_up), token(claims(made_up, **wrong)))


def test_what_another_key_signed_or_nobody_is_refused(made_up: MadeUpProvider) -> None:
    known = provider(made_up)
    told = claims(made_up)
    assert signed_in(known, token(told)) == ("ana", "operator")
    head, body, signature = token(told).split(".")
    # No library makes these two: the public key, which everybody has, taken for a shared secret; and no signature.
    claimed = f"{encoded({'alg': 'HS256', 'kid': 'ours'})}.{body}"
    shared = hmac.digest(OURS.as_pem(private=False), claimed.encode(), "sha256")
    for forged in (
        token(told, OTHER),
        f"{claimed}.{urlsafe_b64encode(shared).decode().rstrip('=')}",
        f"{encoded({'alg': 'none', 'kid': 'ours'})}.{body}.",
        f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        f"{head}.{body}.",
        "not.a.token",
    ):
        with pytest.raises(OidcError):
            signed_in(known, forged)


def test_new_keys_are_fetched_and_known_ones_serve_while_the_provider_is_away(
    made_up: MadeUpProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "_ASK_AGAIN_S", 0.0)
    known = provider(made_up)
    assert signed_in(known, token(claims(made_up))) == ("ana", "operator")
    made_up.keys = [OURS, NEXT]
    assert signed_in(known, token(claims(made_up), NEXT, "ES256")) == ("ana", "operator")
    made_up.shutdown()
    made_up.server_close()
    assert signed_in(known, token(claims(made_up))) == ("ana", "operator")
    with pytest.raises(ProviderAwayError, match="does not answer"):
        signed_in(provider(made_up), token(claims(made_up)))


def test_a_key_that_the_provider_withdrew_is_forgotten_and_kept_only_while_the_provider_is_away(
    made_up: MadeUpProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "_ASK_AGAIN_S", 0.0)
    known = provider(made_up)
    assert signed_in(known, token(claims(made_up))) == ("ana", "operator")
    monkeypatch.setattr(oidc, "_KEYS_KEPT_S", 0.0)
    made_up.keys = [NEXT]
    with pytest.raises(OidcError):
        signed_in(known, token(claims(made_up)))
    assert signed_in(known, token(claims(made_up), NEXT, "ES256")) == ("ana", "operator")
    made_up.shutdown()
    made_up.server_close()
    assert signed_in(known, token(claims(made_up), NEXT, "ES256")) == ("ana", "operator")


def test_all_who_come_before_the_first_keys_wait_for_them(made_up: MadeUpProvider) -> None:
    known = provider(made_up)

    async def together() -> list[str]:
        return [one.name for one in await asyncio.gather(*(known.signed_in(token(claims(made_up))) for _ in range(5)))]

    assert asyncio.run(together()) == ["ana"] * 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('issuer = "x"\nclient_id = "y"', "roles"),
        ('issuer = "x"\nclient_id = "y"\nroles = {a = "root"}', "'root' is none of"),
        ('issuer = "x"\nclient_id = "y"\nroles = {}\nsecret = "z"', "secret"),
        ('issuer = "x"\nclient_id = "y"\nroles = {}\nsites = {a = "north"}', "sites: each value"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"[oidc]\n{text}\n")
    with pytest.raises(SettingsError, match=says):
        load_settings(file)
