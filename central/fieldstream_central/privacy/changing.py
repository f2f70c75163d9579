"""A change of the key of pseudonyms: of the file, or on Kubernetes of the Secret that every pod has it mounted from."""

import os
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from fieldstream_central.privacy.keyring import Keyring, KeyringError, exclusive
from fieldstream_central.settings import Settings

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_KEY = "pseudonym.key"
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # where `kubectl apply` keeps a copy of the Secret


@contextmanager
def changing(settings: Settings) -> Iterator[tuple[Keyring, Callable[[Keyring], None]]]:
    """The keyring, and what puts another in its place; of two changes at once one fails. Raises KeyringError."""
    if not settings.pseudonym_key_secret:
        path = settings.pseudonym_key_file
        with exclusive(path):
            yield Keyring.load(path), lambda changed: changed.save(path)
        return
    namespace, _, name = settings.pseudonym_key_secret.partition("/")
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    account = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    believed = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    url = f"{server}/api/v1/namespaces/{namespace}/secrets/{name}"
    try:
        with httpx.Client(headers=account, verify=believed, trust_env=False) as kubernetes:
            secret = kubernetes.get(url).raise_for_status().json()

            def put(changed: Keyring) -> None:
                # With the resourceVersion that it was read with: refused when somebody else changed it meanwhile.
                secret["data"][_KEY] = b64encode(changed.text().encode()).decode()
                secret["metadata"].get("annotations", {}).pop(_APPLIED, None)
                kubernetes.put(url, json=secret).raise_for_status()

            key = b64decode(secret["data"].get(_KEY, ""))
            yield Keyring.parse(key.decode(errors="replace"), f"Secret {settings.pseudonym_key_secret}, {_KEY}"), put
    except httpx.HTTPError as error:
        raise KeyringError(f"Secret {settings.pseudonym_key_secret} cannot be changed: {error}") from error
