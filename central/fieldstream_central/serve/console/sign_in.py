"""Signing in and out: a token of the API typed in, or an OpenID provider's by authorization code with PKCE (RFC 7636).

The cookie holds the token itself, so that a restart of the console signs nobody out; scripts of a page cannot read it
and other sites' pages do not send it.
"""

import hashlib
import html
import json
import secrets
from base64 import urlsafe_b64encode
from urllib.parse import quote, unquote, urlencode

from fastapi import Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from nicegui import app

from fieldstream_central.serve.console import texts
from fieldstream_central.serve.oidc import OidcError, Provider, ProviderAwayError
from fieldstream_central.settings import Settings

COOKIE = "fieldstream-token"
PROVIDER_PATH = "/sign-in/provider"
_BACK_PATH = "/sign-in/provider/back"
_FLOW_COOKIE = "fieldstream-sign-in"
_SHIFT_S, _FLOW_S = 12 * 3600, 600


def routes(settings: Settings) -> None:
    """Plain forms and redirects, so that the token goes into a cookie that no script can read."""

    @app.post("/sign-in")
    def sign_in(request: Request, token: str = Form(), back: str = Form("/")) -> RedirectResponse:
        answer = RedirectResponse(_inside(back), status_code=303)
        _keep(answer, request, token.strip())
        return answer

    @app.post("/sign-out")
    def sign_out() -> RedirectResponse:
        answer = RedirectResponse("/", status_code=303)
        answer.delete_cookie(COOKIE)
        return answer

    if settings.oidc:
        _provider_routes(settings, Provider(settings.oidc))


def _provider_routes(settings: Settings, provider: Provider) -> None:
    client, here = provider.settings.client_id, settings.console + _BACK_PATH

    @app.get(PROVIDER_PATH)
    async def to_provider(request: Request, back: str = "/") -> Response:
        flow = {name: secrets.token_urlsafe(48) for name in ("verifier", "nonce", "state")}
        challenge = urlsafe_b64encode(hashlib.sha256(flow["verifier"].encode()).digest()).decode().rstrip("=")
        asked = {"response_type": "code", "client_id": client, "redirect_uri": here, "scope": "openid profile email"}
        asked |= {"state": flow["state"], "nonce": flow["nonce"]}
        asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        try:
            address = (await provider.metadata())["authorization_endpoint"]
        except ProviderAwayError as error:
            return _said(str(error), 503)
        answer = RedirectResponse(f"{address}?{urlencode(asked)}", status_code=303)
        # Lax: the provider leads back here from its own site.
        kept, secure = quote(json.dumps(flow | {"back": _inside(back)})), request.url.scheme == "https"
        answer.set_cookie(_FLOW_COOKIE, kept, max_age=_FLOW_S, httponly=True, samesite="lax", secure=secure)
        return answer

    @app.get(_BACK_PATH)
    async def from_provider(request: Request, code: str = "", state: str = "", error: str = "") -> Response:
        flow = json.loads(unquote(request.cookies.get(_FLOW_COOKIE, "{}")))
        if error or not state or not secrets.compare_digest(state, flow.get("state", "")):
            return _said(texts.SIGN_IN_FAILED.format(why=error or texts.SIGN_IN_STRANGE), 400)
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": here, "client_id": client}
        try:
            token = await provider.exchange(given | {"code_verifier": flow["verifier"]})
            await provider.signed_in(token, nonce=flow["nonce"])
        except OidcError as refusal:
            return _said(texts.SIGN_IN_FAILED.format(why=refusal), 403)
        except ProviderAwayError as away:
            return _said(str(away), 503)
        # A page, not a redirect: the browser does not send a strict cookie on a way that began at another site.
        answer = HTMLResponse(f'<meta http-equiv="refresh" content="0;url={html.escape(flow["back"])}">')
        _keep(answer, request, token)
        answer.delete_cookie(_FLOW_COOKIE)
        return answer


def _keep(answer: Response, request: Request, token: str) -> None:
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, quote(token), max_age=_SHIFT_S, httponly=True, samesite="strict", secure=secure)


def _said(text: str, status: int) -> HTMLResponse:
    page = f'<!doctype html><title>{texts.TITLE}</title><p>{html.escape(text)}</p><p><a href="/">{texts.TITLE}</a></p>'
    return HTMLResponse(page, status)


def _inside(back: str) -> str:
    return back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/"
