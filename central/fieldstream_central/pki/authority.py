"""A folder with an authority (ca.crt, ca.key) and, for each component or device, NAME.crt and NAME.key.

The name is the certificate's common name: what MQTT takes for the user and Kafka for the principal. A certificate with
hosts may serve under them, every certificate may be shown as a client. Keys are P-256, PKCS#8, mode 0600. Profile of
certificates: RFC 5280.
"""

import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY = "ca"
_CLOCKS_APART = timedelta(minutes=5)  # a device whose clock is behind takes a certificate made just now
# Nothing that is a wildcard or a level in an MQTT topic, a separator in a Kafka principal, or a path.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class PkiError(Exception):
    """A certificate cannot be made or read; says why and what to do."""


@dataclass(frozen=True)
class Certificate:
    """One certificate of the folder. `hosts` are the names and addresses it may serve under."""

    name: str
    hosts: tuple[str, ...]
    starts_at: datetime
    expires_at: datetime


def create_authority(folder: Path, *, days: int, replace: bool = False, now: datetime | None = None) -> Certificate:
    """Makes the authority, valid for `days`. With `replace`, every certificate of the old one becomes worthless.

    Raises PkiError.
    """
    if not replace and (folder / f"{AUTHORITY}.key").exists():
        raise PkiError(f"{folder} has an authority already; --replace makes another, which knows none of its names")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Fieldstream authority {os.urandom(4).hex()}")])
    builder = (
        _builder(subject, subject, key, days, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )
    write_file(folder / f"{AUTHORITY}.key", _pem(key), mode=0o600)
    write_file(folder / f"{AUTHORITY}.crt", builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), mode=0o644)
    return read(folder, AUTHORITY)


def issue(
    folder: Path,
    name: str,
    hosts: Iterable[str] = (),
    *,
    days: int,
    replace: bool = False,
    now: datetime | None = None,
) -> Certificate:
    """Makes a key and a certificate for `name`, valid for `days`. Raises PkiError."""
    if not _NAME.fullmatch(name) or name == AUTHORITY:
        raise PkiError(
            f"{name!r} cannot be a name: 1 to 64 letters, digits, dots, hyphens, underscores; not {AUTHORITY!r}"
        )
    if not replace and (folder / f"{name}.key").exists():
        raise PkiError(f"{folder}/{name}.key exists; `pki renew` prolongs its certificate, --replace makes a new key")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(folder, name, tuple(hosts), key, days=days, now=now)
    write_file(folder / f"{name}.key", _pem(key), mode=0o600)
    write_file(folder / f"{name}.crt", certificate, mode=0o644)
    return read(folder, name)


def renew(folder: Path, *, within_days: float, days: int, now: datetime | None = None) -> list[Certificate]:
    """Prolongs every certificate that ends within `within_days`, by `days` from now, with the same key and hosts.

    The key stays so that one rename exchanges the certificate: no program ever finds a pair that does not fit. The
    authority itself is not renewed. Returns the new certificates. Raises PkiError.
    """
    ends = (now or datetime.now(UTC)) + timedelta(days=within_days)
    due = [one for one in everything(folder) if one.name != AUTHORITY and one.expires_at < ends]
    for one in due:
        key = _key(folder / f"{one.name}.key")
        write_file(
            folder / f"{one.name}.crt", _signed(folder, one.name, one.hosts, key, days=days, now=now), mode=0o644
        )
    return [read(folder, one.name) for one in due]


def everything(folder: Path) -> list[Certificate]:
    """The folder's certificates, by name. Raises PkiError."""
    return [read(folder, file.stem) for file in sorted(folder.glob("*.crt"))]


def read(folder: Path, name: str) -> Certificate:
    """One certificate. Raises PkiError."""
    found = _certificate(folder / f"{name}.crt")
    return Certificate(name, _hosts(found), found.not_valid_before_utc, found.not_valid_after_utc)


def _signed(
    folder: Path, name: str, hosts: tuple[str, ...], key: ec.EllipticCurvePrivateKey, *, days: int, now: datetime | None
) -> bytes:
    authority, authority_key = _certificate(folder / f"{AUTHORITY}.crt"), _key(folder / f"{AUTHORITY}.key")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, authority.subject, key, days, now)
    ends = (now or datetime.now(UTC)) + timedelta(days=days)
    if ends > authority.not_valid_after_utc:
        raise PkiError(
            f"the authority ends on {authority.not_valid_after_utc:%Y-%m-%d}, before the certificate of {name}"
        )
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if hosts:
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, now: datetime | None
) -> x509.CertificateBuilder:
    if days < 1:
        raise PkiError(f"a certificate is valid for at least one day, not {days}")
    start = now or datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _CLOCKS_APART)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(**granted: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**dict.fromkeys(names, False) | granted)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise PkiError(f"{host!r} is neither an address nor a host name: {error}") from error


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def _certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except FileNotFoundError as error:
        raise PkiError(f"{file} is missing; `fieldstream pki init` makes an authority") from error
    except (OSError, ValueError) as error:
        raise PkiError(f"{file} holds no certificate: {error}") from error


def _key(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise PkiError(f"{file} holds no private key that can be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{file} is not a key made by `fieldstream pki`")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_file(file: Path, content: bytes, *, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        new.replace(file)
    except OSError as error:
        raise PkiError(f"{file} cannot be written: {error}") from error
