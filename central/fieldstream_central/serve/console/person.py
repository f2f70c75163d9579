"""Who sits before the console: a token of the API in a cookie, the role that it gives, and the API in this name.

How the token gets into the cookie stands in sign_in.py.
"""

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx
from nicegui import ui

from fieldstream_central.serve.api.alarms import MOST_AT_ONCE
from fieldstream_central.serve.console import texts
from fieldstream_central.serve.console.sign_in import PROVIDER_PATH

_KNOWN_S = 10.0  # so long somebody is taken for who the API said it was


class Person:
    """One person's API. Every call raises httpx.HTTPError; `said` puts it into words."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.signed_in = bool(token)
        self.name = self.role = ""
        self.sites: list[str] = []
        self._known_until = 0.0

    @property
    def may_act(self) -> bool:
        """Whether anything but looking is offered."""
        return self.role in ("operator", "admin")

    async def know(self) -> None:
        """Asks whose token it is, and now and then again: it may have ended, or been withdrawn."""
        if time.monotonic() < self._known_until:
            return
        try:
            caller = await self.get("/caller")
        except httpx.HTTPError as error:
            if is_refused(error):
                self.name = self.role = ""
            raise
        self.name, self.role = caller["name"], caller["role"]
        self.sites = caller.get("sites", [])  # an API of the version before knows none
        self._known_until = time.monotonic() + _KNOWN_S

    async def may_look(self, *, api_is_open: bool) -> bool:
        """Whether the API knows this person, and for the whole plant, which the console shows.

        While it does not answer, only an open API lets everybody look.
        """
        try:
            await self.know()
        except httpx.HTTPError as error:
            return not is_refused(error) and api_is_open
        return not self.sites

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON of an answer."""
        return (await self.ask("GET", path, params=query)).json()

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """An answer that is no error."""
        answer = await self._http.request(method, f"/api/v1{path}", headers=self._headers, **request)
        return answer.raise_for_status()

    async def act(self, action: str, alarms: Sequence[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
        """Does something to alarms as they were seen; one answer for each."""
        targets = [{"alarm_id": alarm["alarm_id"], "revision": alarm["revision"]} for alarm in alarms]
        answers: list[dict[str, Any]] = []
        for start in range(0, len(targets), MOST_AT_ONCE):
            body = {"action": action, "alarms": targets[start : start + MOST_AT_ONCE]} | more
            answers += (await self.ask("POST", "/alarms/actions", json=body)).json()
        return answers


def said(error: httpx.HTTPError) -> str:
    """An error in words for a person."""
    if not isinstance(error, httpx.HTTPStatusError):
        return texts.API_AWAY
    try:
        return str(error.response.json()["detail"])
    except (ValueError, KeyError):
        return f"{error.response.status_code} {error.response.reason_phrase}"


def is_refused(error: httpx.HTTPError) -> bool:
    """Whether a token, or another one, is needed."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.UNAUTHORIZED


class SignIn:
    """At the top of every page: who is signed in; or the form and the provider's link, where a token is needed."""

    def __init__(self, person: Person, *, by_provider: bool) -> None:
        self._person = person
        self._provider = ui.link(texts.SIGN_IN_BY_PROVIDER, PROVIDER_PATH).classes("fs-plain")
        self._by_provider = by_provider
        with _form("/sign-in").classes("fs-person") as self._form:
            self._field = ui.element("input").props('type="password" name="token" required autocomplete="off"')
            self._field.props(f'aria-label="{texts.TOKEN}" placeholder="{texts.TOKEN}"').classes("fs-input")
            self._back = ui.element("input").props('type="hidden" name="back"')
            _button(texts.SIGN_IN)
        with _form("/sign-out").classes("fs-person") as self._known:
            self._name = ui.label()
            self._out = _button(texts.SIGN_OUT)
        self._problem = ui.label().classes("fs-problem").props('role="status"')
        for part in (self._form, self._known, self._problem, self._provider):
            part.set_visibility(False)

    def come_back_to(self, path: str) -> None:
        """Where signing in leads."""
        self._provider.props(f'href="{PROVIDER_PATH}?back={quote(path, safe="/")}"')
        self._back.props(f"value={quote(path, safe='/?&=%')}")

    async def show(self) -> None:
        """Asks whose token it is; when that has ended, the window is opened anew, as the API allows it now."""
        try:
            await self._person.know()
        except httpx.HTTPError as error:
            refused = is_refused(error)
            if refused and self._name.text:
                ui.navigate.reload()
                return
            self._form.set_visibility(refused)
            self._provider.set_visibility(refused and self._by_provider)
            self._problem.set_visibility(refused and self._person.signed_in)
            self._problem.text = said(error)
            return
        if self._name.text:
            return
        for part in (self._form, self._problem, self._provider):
            part.set_visibility(False)
        self._known.set_visibility(True)
        self._name.text = texts.SIGNED_IN.format(name=self._person.name, role=self._person.role)
        self._out.set_visibility(self._person.signed_in)


def _form(action: str) -> ui.element:
    return ui.element("form").props(f'method="post" action="{action}"')


def _button(text: str) -> ui.element:
    with ui.element("button").props('type="submit"').classes("fs-plain") as button:
        ui.label(text)
    return button
