"""A stack whose checkpoints lie in a bucket of versitygw, a real S3-compatible server that Go builds."""

import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path

from chaos.world import World
from fieldstream_central.stream import checkpoints
from local.layout import ROOT, Layout
from local.programs import listens

VERSITYGW = ROOT / "var" / "bench-tools" / "versitygw"
MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
PORT = 27_900
URI = "s3://fieldstream/checkpoints"


def build() -> None:
    """Builds the server, once."""
    if not VERSITYGW.exists():
        subprocess.run(["go", "install", MODULE], env=os.environ | {"GOBIN": str(VERSITYGW.parent)}, check=True)


class Bucket:
    """The server and its one bucket, a folder. Everything started afterwards finds it by the environment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "data" / "fieldstream").mkdir(parents=True)
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "fieldstream",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{PORT}",
        }
        self.start()

    def start(self) -> None:
        """Runs the server."""
        keys = {"ROOT_ACCESS_KEY": os.environ["AWS_ACCESS_KEY_ID"],
                "ROOT_SECRET_KEY": os.environ["AWS_SECRET_ACCESS_KEY"]}  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([VERSITYGW, "--port", f"127.0.0.1:{PORT}", "posix", self._folder / "data"],
                                             stdout=log, stderr=log, env=os.environ | keys)  # fmt: skip
        while not listens(PORT)():
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends it at once; the objects stay."""
        self._process.kill()
        self._process.wait()

    def complete(self) -> list[str]:
        """Paths of all complete checkpoints and savepoints, below the bucket."""
        data = self._folder / "data" / "fieldstream"
        return sorted(str(one.parent.relative_to(data)) for one in data.rglob("_metadata") if one.stat().st_size)


class BucketWorld(World):
    """A stack without small disks or proxy, and without a folder for checkpoints."""

    def _configure(self, layout: Layout) -> None:
        settings = layout.settings_file.read_text()
        folder = f"{layout.var}/flink/checkpoints"
        layout.settings_file.write_text(settings.replace(folder, URI))
        with (layout.var / "flink" / "conf" / "config.yaml").open("a") as flink:
            flink.write(
                f"s3.endpoint: http://127.0.0.1:{PORT}\ns3.path-style-access: true\ns3.region: us-east-1\n"
                f"s3.access-key: {os.environ['AWS_ACCESS_KEY_ID']}\n"
                f"s3.secret-key: {os.environ['AWS_SECRET_ACCESS_KEY']}\n"
            )

    def latest(self, job: str) -> str:
        """The job's newest complete checkpoint; empty if there is none."""
        return checkpoints.latest(self.settings, job) or ""
