"""Who a program is towards the others, and whose word it takes for who they are: three PEM files of the settings.

With them Kafka is reached by TLS, what the program serves is served by TLS, and what it asks at https:// sees its
certificate. Without them nothing is encrypted.
"""

import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from prometheus_client import Gauge, start_http_server

from fieldstream_central.settings import Settings, SettingsError

EXPIRES = Gauge(
    "fieldstream_certificate_expires_timestamp_seconds",
    "Expiry of the certificate that a program shows to others, as it was when the program read it",
    ["file"],
)


@dataclass(frozen=True)
class Files:
    """Authorities that may sign the others' certificates, our own certificate and its key (PEM)."""

    ca: Path
    cert: Path
    key: Path


def files(settings: Settings) -> Files | None:
    """The settings' three files; None without them.

    Raises SettingsError: one of them is missing, or the certificate cannot be read.
    """
    given = settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file
    if given == (None, None, None):
        return None
    ca, cert, key = given
    if ca is None or cert is None or key is None:
        raise SettingsError("tls_ca_file, tls_cert_file and tls_key_file belong together: give all or none")
    EXPIRES.labels(str(cert)).set(_expiry_s(cert))
    return Files(ca, cert, key)


def client_context(settings: Settings) -> ssl.SSLContext:
    """For asking others: shows our certificate, if there is one, and believes the authorities of `tls_ca_file`."""
    own = files(settings)
    return _context(own) if own else ssl.create_default_context()


@cache
def _context(own: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(own.ca))
    context.load_cert_chain(own.cert, own.key)
    return context


def scheme(settings: Settings) -> str:
    """Of the addresses under which a program with these settings serves."""
    return "https" if files(settings) else "http"


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """For serving by TLS; None without a certificate in the settings."""
    own = files(settings)
    if own is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)
    return context


def uvicorn_tls(settings: Settings, *, ask_clients: bool) -> dict[str, Any]:
    """uvicorn's options for serving. With `ask_clients` only to those that show a certificate."""
    own = files(settings)
    if own is None:
        return {}
    found: dict[str, Any] = {"ssl_certfile": str(own.cert), "ssl_keyfile": str(own.key)}
    return found | ({"ssl_ca_certs": str(own.ca), "ssl_cert_reqs": ssl.CERT_REQUIRED} if ask_clients else {})


def show_metrics(settings: Settings, port: int) -> None:
    """Serves /metrics at `listen` from a thread; with a certificate in the settings only to those that show one."""
    own = files(settings)
    if own is None:
        start_http_server(port, settings.listen)
    else:
        start_http_server(
            port, settings.listen, certfile=str(own.cert), keyfile=str(own.key), client_cafile=str(own.ca),
            client_auth_required=True,
        )  # fmt: skip


def _expiry_s(file: Path) -> float:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError) as error:
        raise SettingsError(f"tls_cert_file {file} holds no certificate: {error}") from error
