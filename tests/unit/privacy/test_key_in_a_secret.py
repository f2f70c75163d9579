"""The key of pseudonyms as a Secret of Kubernetes: changed by its API, as a real HTTPS client asks it."""

import json
import secrets
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fieldstream_central.certificate import server_context
from fieldstream_central.pki.authority import create_authority, issue
from fieldstream_central.privacy import changing
from fieldstream_central.privacy.keyring import Keyring, KeyringError
from fieldstream_central.privacy.names import person, pseudonyms
from fieldstream_central.settings import Settings

PATH = "/api/v1/namespaces/plant/secrets/pseudonyms"
SETTINGS = Settings(pseudonym_key_secret="plant/pseudonyms")  # noqa: S106 - its name


class Kubernetes(BaseHTTPRequestHandler):
    """An API server's part in it: who asks must have the account's token, and writes only over what was read."""

    secret: dict[str, Any]

    def do_GET(self) -> None:
        self._answer(200 if self._may() else 403)

    def do_PUT(self) -> None:
        written = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._may():
            return self._answer(403)
        if written["metadata"]["resourceVersion"] != self.secret["metadata"]["resourceVersion"]:
            return self._answer(409)
        written["metadata"]["resourceVersion"] += "0"
        Kubernetes.secret = written
        return self._answer(200)

    def _may(self) -> bool:
        return (self.path, self.headers["Authorization"]) == (PATH, "Bearer account")

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(self.secret).encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    key = secrets.token_hex(32)
    metadata = {"resourceVersion": "7", "annotations": {changing._APPLIED: key, "kept": "yes"}}
    Kubernetes.secret = {"metadata": metadata, "data": {"pseudonym.key": b64encode(key.encode()).decode()}}
    create_authority(tmp_path, days=2)
    issue(tmp_path, "kubernetes", ["127.0.0.1"], days=1)
    (tmp_path / "token").write_text("account")
    monkeypatch.setattr(changing, "ACCOUNT", tmp_path)
    files = {f"tls_{what}_file": tmp_path / f"{name}" for what, name in
             (("ca", "ca.crt"), ("cert", "kubernetes.crt"), ("key", "kubernetes.key"))}  # fmt: skip
    server = ThreadingHTTPServer(("127.0.0.1", 0), Kubernetes)
    context = server_context(Settings(**files))  # type: ignore[arg-type]
    assert context
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield key
    server.shutdown()


def test_who_is_forgotten_is_gone_from_the_secret_and_nothing_in_it_holds_the_old_key(key: str) -> None:
    with changing.changing(SETTINGS) as (keyring, put):
        assert pseudonyms(keyring, "Ada") == pseudonyms(Keyring.of_secret(bytes.fromhex(key)), "Ada")
        put(keyring.without([person("Ada")]))
    stored = Keyring.parse(b64decode(Kubernetes.secret["data"]["pseudonym.key"]).decode(), "the Secret")
    assert (pseudonyms(stored, "Ada"), pseudonyms(stored, "Bob")) == ([], pseudonyms(keyring, "Bob"))
    assert key not in json.dumps(Kubernetes.secret)
    assert Kubernetes.secret["metadata"]["annotations"] == {"kept": "yes"}


def test_of_two_changes_at_once_one_fails_and_changes_nothing(key: str) -> None:
    with pytest.raises(KeyringError, match="409"), changing.changing(SETTINGS) as (keyring, put):
        with changing.changing(SETTINGS) as (_, put_first):
            put_first(keyring.without([person("Bob")]))
        put(keyring.without([person("Ada")]))
    stored = Keyring.parse(b64decode(Kubernetes.secret["data"]["pseudonym.key"]).decode(), "the Secret")
    assert pseudonyms(stored, "Ada") == pseudonyms(Keyring.of_secret(bytes.fromhex(key)), "Ada")


@pytest.mark.usefixtures("key")
def test_an_account_that_may_not_is_told_so() -> None:
    (changing.ACCOUNT / "token").write_text("somebody")
    with pytest.raises(KeyringError, match="403"), changing.changing(SETTINGS):
        pass
