"""Where the local stack lives: its folder and its ports. All ports are on 127.0.0.1.

FIELDSTREAM_VAR names another folder, FIELDSTREAM_PORT_OFFSET is added to every port (two stacks can run side
by side), FIELDSTREAM_PORT_<NAME> sets one port. SECURE=1 makes it a secure one (local.secure).
"""

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
JAVA_PARTS = ROOT / "var" / "java"

DEFAULT_PORTS = {
    "mqtt": 1883,
    "kafka": 9092,
    "kafka_controller": 9094,
    "kafka_field": 9095,
    "registry": 8085,
    "registry_management": 8086,
    "flink": 8082,
    "flink_rpc": 6123,
    "clickhouse": 8123,
    "api": 8000,
    "console": 8080,
    "prometheus": 9090,
    "alertmanager": 9093,
    "gateway": 9108,
    "loader": 9109,
    "alerter": 9110,
    "jobs": 9111,
    "mailbox": 9112,
    "watchdog": 9113,
    "assets": 9114,
    "tracer": 9115,
    "smtp": 2525,
    "grafana": 3000,
}


@dataclass(frozen=True)
class Layout:
    """One local stack: its folder (`var`) and its ports by name."""

    var: Path
    ports: dict[str, int] = field(default_factory=lambda: dict(DEFAULT_PORTS))
    secure: bool = False

    # What is served by TLS when the stack is secure.
    ENCRYPTED: ClassVar = frozenset(
        {"registry", "flink", "clickhouse", "api", "console", "prometheus", "alertmanager", "loader", "alerter", "jobs"}
    )

    @classmethod
    def from_environment(cls) -> "Layout":
        """The stack that the environment names, by default the one in var/ on the contract's ports."""
        offset = int(os.environ.get("FIELDSTREAM_PORT_OFFSET", "0"))
        ports = {
            name: int(os.environ.get(f"FIELDSTREAM_PORT_{name.upper()}", port + offset))
            for name, port in DEFAULT_PORTS.items()
        }
        var = Path(os.environ.get("FIELDSTREAM_VAR", ROOT / "var")).absolute()
        return cls(var, ports, secure=os.environ.get("SECURE", "") not in ("", "0"))

    def url(self, name: str) -> str:
        """HTTP address of a program by the name of its port."""
        scheme = "https" if self.secure and name in self.ENCRYPTED else "http"
        return f"{scheme}://127.0.0.1:{self.ports[name]}"

    def address(self, name: str) -> str:
        """host:port of a program."""
        return f"127.0.0.1:{self.ports[name]}"

    @property
    def config(self) -> Path:
        """Folder of the generated configuration files."""
        return self.var / "config"

    @property
    def settings_file(self) -> Path:
        """Settings of the centre's programs."""
        return self.config / "fieldstream.toml"

    def settings_of(self, program: str) -> Path:
        """Settings of one of the centre's programs: a file of its own when the stack is secure."""
        return self.config / f"{program}.toml" if self.secure and program != "setup" else self.settings_file

    @property
    def pki(self) -> Path:
        """Folder of the certificates of a secure stack."""
        return self.var / "pki"

    def tls(self, name: str) -> ssl.SSLContext | None:
        """For asking a program of a secure stack as the one who sets it up."""
        if not self.secure:
            return None
        folder, who = (self.pki / "flink", "flink") if name == "flink" else (self.pki, "setup")
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(folder / f"{who}.crt", folder / f"{who}.key")
        return context

    @property
    def logs(self) -> Path:
        """Folder with one log file per program."""
        return self.var / "log"
