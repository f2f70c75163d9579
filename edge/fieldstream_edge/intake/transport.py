"""The socket to a broker: address, TLS, password."""

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from fieldstream_edge.settings import MqttSettings, TlsSettings


class TlsFileError(OSError):
    """A certificate or key of the configuration cannot be used."""


def password_of(broker: MqttSettings) -> bytes | None:
    """The password to send, if any. Raises OSError when its file cannot be read."""
    password = broker.password
    if broker.password_file:
        password = Path(broker.password_file).read_text().strip().partition("\n")[0]
    return password.encode() if password else None


def is_secure(broker: MqttSettings) -> bool:
    """Whether the connection is encrypted."""
    return broker.url.startswith("mqtts:") or broker.tls is not None


def address_of(broker: MqttSettings) -> tuple[str, int]:
    """Host and port."""
    address = urlsplit(broker.url)
    return address.hostname or "127.0.0.1", address.port or (8883 if is_secure(broker) else 1883)


def open_socket(broker: MqttSettings, *, timeout_s: float) -> socket.socket:
    """A connected socket, with TLS where configured. Raises OSError and its SSL kinds."""
    raw = socket.create_connection(address_of(broker), timeout=timeout_s)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if not is_secure(broker):
        return raw
    try:
        name = (broker.tls.server_name if broker.tls else "") or address_of(broker)[0]
        return tls_context(broker).wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def tls_context(broker: MqttSettings) -> ssl.SSLContext:
    """Context for the broker's TLS settings. Raises TlsFileError."""
    tls = broker.tls or TlsSettings()
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except OSError as error:
        files = ", ".join(file for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)
        raise TlsFileError(f"one of the TLS files {files} cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
