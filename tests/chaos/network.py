"""The network between gateway and Kafka, as Toxiproxy makes it: cut, slow, or breaking off again and again."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.layout import ROOT

TOXIPROXY = ROOT / "var" / "bench-tools" / "server"
MODULE = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"


def build() -> None:
    """Builds Toxiproxy with Go, once. Without it the network drills are left out, and `make chaos` says so."""
    if TOXIPROXY.exists():
        return
    try:
        subprocess.run(["go", "install", MODULE], env=os.environ | {"GOBIN": str(TOXIPROXY.parent)}, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"Toxiproxy was not built ({error}): the network drills are left out.", file=sys.stderr)


class Proxy:
    """A Toxiproxy process with one proxy: `listen` to `upstream`, both host:port."""

    def __init__(self, api: str, listen: str, upstream: str, log: Path) -> None:
        host, port = api.split(":")
        self._url = f"http://{api}"
        with log.open("wb") as file:
            self._process = subprocess.Popen([TOXIPROXY, "-host", host, "-port", port], stdout=file, stderr=file)
        self._create({"name": "kafka", "listen": listen, "upstream": upstream, "enabled": True})

    def _create(self, proxy: dict[str, Any]) -> None:
        for _ in range(50):
            try:
                self._post("/proxies", proxy)
                return
            except urllib.error.URLError:
                time.sleep(0.1)
        raise RuntimeError(f"Toxiproxy at {self._url} did not start")

    def _post(self, path: str, body: dict[str, Any]) -> None:
        request = urllib.request.Request(self._url + path, json.dumps(body).encode(), method="POST")  # noqa: S310
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - loopback

    def cut(self, seconds: float) -> None:
        """Connections end, new ones are refused."""
        self._post("/proxies/kafka", {"enabled": False})
        time.sleep(seconds)
        self._post("/proxies/kafka", {"enabled": True})

    @contextmanager
    def toxic(self, kind: str, stream: str, **attributes: int) -> Iterator[None]:
        """One of Toxiproxy's toxics on one direction, `upstream` to Kafka or `downstream` from it, for a while."""
        name = f"{kind}-{stream}"
        self._post("/proxies/kafka/toxics", {"name": name, "type": kind, "stream": stream, "attributes": attributes})
        try:
            yield
        finally:
            path = f"{self._url}/proxies/kafka/toxics/{name}"
            urllib.request.urlopen(urllib.request.Request(path, method="DELETE"), timeout=5).close()  # noqa: S310

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    build()
