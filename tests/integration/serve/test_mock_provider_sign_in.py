"""People signed in by an OpenID provider: the console's way there and back in Chromium, and the API with its token.

The provider is oidc-provider-mock, the one that runs here; its protocol side is Authlib's. It ignores PKCE, so what
stands before it checks that.
"""

import hashlib
import io
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import oidc_provider_mock  # type: ignore[import-untyped]
import pytest
from fieldstream_central.settings import load_settings
from integration.serve.conftest import PATIENCE_MS
from integration.serve.shift import Shift
from integration.store.rig import free_port
from playwright.sync_api import Browser, expect


class AsksForPkce:
    """Refuses a code whose verifier is not the one of a challenge asked for before (RFC 7636, S256)."""

    def __init__(self, app: Any) -> None:
        self._app, self._challenges = app, set[str]()

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"].endswith("/authorize"):
            asked = parse_qs(environ["QUERY_STRING"])
            assert asked["code_challenge_method"] == ["S256"]
            self._challenges |= set(asked["code_challenge"])
        if environ["PATH_INFO"].endswith("/token"):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body)
            digest = hashlib.sha256(parse_qs(body)[b"code_verifier"][0]).digest()
            if urlsafe_b64encode(digest).decode().rstrip("=") not in self._challenges:
                start("400 Bad Request", [("Content-Type", "application/json")])
                return [b'{"error": "invalid_grant"}']
        answer: Iterable[bytes] = self._app(environ, start)
        return answer


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with oidc_provider_mock.run_server_in_thread() as server:
        server.app = AsksForPkce(server.app)
        url = f"http://localhost:{server.server_port}"
        for name, groups in (("ana", ["shift-a"]), ("ben", ["canteen"])):
            told = {"preferred_username": name, "groups": groups}
            assert httpx.put(f"{url}/users/{name}", json=told).status_code == 204
        yield url


@pytest.fixture(scope="module")
def signed(shift: Shift, provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shift]:
    """API and console beside the shift's own, told of the provider."""
    folder: Path = tmp_path_factory.mktemp("signed")
    lines = (shift.folder / "settings.toml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("api ", "console "))]
    kept += [f'{name} = "http://127.0.0.1:{free_port()}"' for name in ("api", "console")]
    kept += ["[oidc]", f'issuer = "{provider}"', 'client_id = "fieldstream"', 'roles = {shift-a = "operator"}']
    kept += [f'client_secret_file = "{folder / "secret"}"']  # this provider knows no public clients
    (folder / "secret").write_text("any\n")
    (folder / "settings.toml").write_text("\n".join(kept) + "\n")
    beside = replace(shift, folder=folder, settings=load_settings(folder / "settings.toml"), programs={})
    for program in ("api", "console"):
        beside.start(program)
    yield beside
    for process in beside.programs.values():
        process.stop()


def test_somebody_signs_in_by_the_provider_and_may_do_what_the_role_may(browser: Browser, signed: Shift) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{signed.url}/alarms")
    expect(page.get_by_text("Sign in to see the plant.")).to_be_visible()
    page.get_by_role("link", name="Sign in with your account").click()
    page.get_by_placeholder("sub").fill("ana")
    page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_text("ana (operator)")).to_be_visible()
    page.wait_for_url("**/alarms")
    expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()

    [token] = [one["value"] for one in context.cookies() if one["name"] == "fieldstream-token"]
    caller = httpx.get(f"{signed.settings.api}/api/v1/caller", headers={"Authorization": f"Bearer {token}"})
    assert caller.json() == {"name": "ana", "role": "operator", "sites": []}
    cookie = next(one for one in context.cookies() if one["name"] == "fieldstream-token")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    context.close()


def test_somebody_without_a_role_or_who_says_no_is_told_so(browser: Browser, signed: Shift) -> None:
    for choose, said in (("Authorize", "ben has no role here"), ("Deny", "access_denied")):
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{signed.url}/sign-in/provider")
        page.get_by_placeholder("sub").fill("ben")
        page.get_by_role("button", name=choose).click()
        expect(page.get_by_text(said)).to_be_visible()
        assert not [one for one in context.cookies() if one["name"] == "fieldstream-token"]
        context.close()


def test_an_answer_that_this_browser_did_not_ask_for_signs_nobody_in(signed: Shift) -> None:
    answer = httpx.get(f"{signed.url}/sign-in/provider/back?code=stolen&state=guessed")
    assert answer.status_code == 400
    assert "not the answer to a question of this browser" in answer.text


@pytest.mark.parametrize("page", ["/", "/overview", "/gateways", "/alarms", "/handover"])
def test_no_page_shows_anything_to_somebody_who_is_not_signed_in(browser: Browser, signed: Shift, page: str) -> None:
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(f"{signed.url}{page}")
    expect(opened.get_by_text("Sign in to see the plant.")).to_be_visible()
    assert opened.locator(".fs-panel").count() == 0
    context.close()


def test_the_other_tokens_are_still_taken(signed: Shift) -> None:
    assert signed.api("GET", "/caller", role="viewer")["role"] == "viewer"
    assert httpx.get(f"{signed.settings.api}/api/v1/caller").status_code == 401
