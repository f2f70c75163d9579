"""Certificates of `fieldstream pki`, shown to OpenSSL in real handshakes."""

import socket
import ssl
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fieldstream_central.cli import app
from fieldstream_central.pki.authority import Certificate, PkiError, create_authority, everything, issue, renew
from typer.testing import CliRunner

LONG_AGO = datetime.now(UTC) - timedelta(days=40)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    create_authority(tmp_path, days=3650, now=LONG_AGO)
    issue(tmp_path, "broker", ["localhost", "127.0.0.1"], days=90)
    issue(tmp_path, "gateway", days=90)
    yield tmp_path


def context(folder: Path, name: str, purpose: ssl.Purpose) -> ssl.SSLContext:
    made = ssl.create_default_context(purpose, cafile=str(folder / "ca.crt"))
    made.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return made


def handshake(folder: Path, *, server: str = "broker", client: Path | str = "gateway", host: str = "127.0.0.1") -> str:
    """Who the server says the client is. Raises ssl.SSLError, whichever side refuses."""
    serving = context(folder, server, ssl.Purpose.CLIENT_AUTH)
    serving.verify_mode = ssl.CERT_REQUIRED
    own = folder / client if isinstance(client, str) else client
    calling = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    calling.load_cert_chain(own.with_suffix(".crt"), own.with_suffix(".key"))
    ours, theirs = socket.socketpair()

    def serve() -> str:
        with closing(serving.wrap_socket(ours, server_side=True)) as link:
            link.sendall(b"+")
            return str(dict(pair[0] for pair in (link.getpeercert() or {})["subject"])["commonName"])  # type: ignore[misc]

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(serve)
        try:
            with closing(calling.wrap_socket(theirs, server_hostname=host)) as link:
                link.recv(1)
        finally:
            theirs.close()
        return answer.result()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_learns_the_clients_name_from_its_certificate(folder: Path, host: str) -> None:
    assert handshake(folder, host=host) == "gateway"


def test_a_server_is_believed_only_under_its_own_hosts(folder: Path) -> None:
    with pytest.raises(ssl.SSLError, match="mismatch"):
        handshake(folder, host="broker.example")


def test_a_clients_certificate_cannot_serve(folder: Path) -> None:
    with pytest.raises(ssl.SSLError, match="unsuitable certificate purpose"):
        handshake(folder, server="gateway")


def test_the_same_name_from_another_authority_is_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    create_authority(other, days=10)
    issue(other, "gateway", days=5)
    with pytest.raises(ssl.SSLError):
        handshake(folder, client=other / "gateway")


@pytest.mark.parametrize(
    ("made", "why"), [(LONG_AGO, "expired"), (datetime.now(UTC) + timedelta(days=3), "not yet valid")]
)
def test_a_certificate_is_refused_outside_its_time(folder: Path, made: datetime, why: str) -> None:
    issue(folder, "broker", ["127.0.0.1"], days=10, now=made, replace=True)
    with pytest.raises(ssl.SSLError, match=why):
        handshake(folder)


def test_renewing_prolongs_what_expires_soon_and_keeps_key_and_hosts(folder: Path) -> None:
    issue(folder, "broker", ["127.0.0.1"], days=45, now=LONG_AGO, replace=True)
    before = {one.name: one for one in everything(folder)}
    key = (folder / "broker.key").read_bytes()
    renewed = renew(folder, within_days=30, days=90)
    assert [one.name for one in renewed] == ["broker"]
    assert renewed[0].expires_at > before["broker"].expires_at + timedelta(days=80)
    assert renewed[0].hosts == before["broker"].hosts and (folder / "broker.key").read_bytes() == key
    assert handshake(folder) == "gateway"


def test_keys_are_for_their_owner_alone(folder: Path) -> None:
    for file in folder.glob("*.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_nothing_is_overwritten_without_being_told(folder: Path) -> None:
    before = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(PkiError, match="has an authority already"):
        create_authority(folder, days=10)
    with pytest.raises(PkiError, match="--replace makes a new key"):
        issue(folder, "gateway", days=10)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["ca", "a/b", "../x", "#", "+", "a,CN=admin", "", "a b", "x" * 65])
def test_a_name_that_means_something_else_elsewhere_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(PkiError, match="cannot be a name"):
        issue(folder, name, days=10)


def test_no_certificate_outlives_its_authority(folder: Path) -> None:
    with pytest.raises(PkiError, match="the authority ends on"):
        issue(folder, "late", days=3640)


def test_show_lists_certificates_and_fails_when_one_has_expired(folder: Path) -> None:
    def show() -> tuple[int, str]:
        done = CliRunner().invoke(app, ["pki", "show", "--folder", str(folder)])
        return done.exit_code, done.output

    status, text = show()
    assert status == 0 and "localhost, 127.0.0.1" in text
    expired: Certificate = issue(folder, "press-7", days=10, now=LONG_AGO)
    status, text = show()
    assert status == 1 and f"{expired.expires_at:%Y-%m-%d}" in text
