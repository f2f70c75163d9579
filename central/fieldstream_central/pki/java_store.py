"""What Java programs that read no PEM files need: key and certificates as PKCS#12, with a password beside them."""

import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

from fieldstream_central.pki.authority import write_file


def make_store(folder: Path, name: str, trusted: list[str]) -> None:
    """NAME.p12 with key and certificate; NAME.trust.p12 with the certificates of `trusted`, and of nobody else.

    So a program takes these few and not everybody whom the authority knows. To be made again when one is renewed.
    """
    password_file = folder / f"{name}.password"
    if not password_file.exists():
        write_file(password_file, secrets.token_hex(16).encode(), mode=0o600)
    password = password_file.read_bytes()
    key = load_pem_private_key((folder / f"{name}.key").read_bytes(), None)
    encryption = BestAvailableEncryption(password)
    own = pkcs12.serialize_key_and_certificates(name.encode(), key, _certificate(folder, name), None, encryption)  # type: ignore[arg-type]
    write_file(folder / f"{name}.p12", own, mode=0o600)
    believed = [pkcs12.PKCS12Certificate(_certificate(folder, one), one.encode()) for one in trusted]
    write_file(folder / f"{name}.trust.p12", pkcs12.serialize_java_truststore(believed, encryption), mode=0o600)


def make_pem(folder: Path, name: str) -> None:
    """NAME.pem: key, then certificate, as Kafka's Java client and brokers read it."""
    both = (folder / f"{name}.key").read_bytes() + (folder / f"{name}.crt").read_bytes()
    write_file(folder / f"{name}.pem", both, mode=0o600)


def _certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
