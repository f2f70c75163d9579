"""The asset registry's real parts: Postgres with our tables, Kafka Connect with Debezium, our follower.

Debezium asks Postgres by TLS as in the chart, whose settings these are.
"""

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import httpx
from fieldstream_central.pki import authority
from integration.store.rig import ROOT, Process, eventually, free_port
from local import configs
from local.install import JAVA_PARTS, java_home, path_of
from local.layout import VENV, Layout
from local.programs import ours

ASSETS = ROOT / "deploy" / "assets"
PASSWORD = secrets.token_hex(16)
_USER = "postgres" if os.geteuid() == 0 else None  # Postgres refuses to run as root


class Postgres:
    """A database cluster in a folder of its own, with the registry's tables."""

    def __init__(self, logs: Path) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="fieldstream-postgres-"))
        self._logs = logs
        bins = Path(path_of("postgres") or "postgres").resolve().parent
        self._bins = bins
        if _USER:
            shutil.chown(self.folder, _USER)
        self.pki = self.folder / "pki"  # Postgres' authority and its certificate
        authority.create_authority(self.pki, days=2)
        authority.issue(self.pki, "postgres", ["127.0.0.1"], days=1)
        if _USER:
            for file in (self.pki, *self.pki.iterdir()):
                shutil.chown(file, _USER)
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", "owner", "-N")
        self.start()
        self._psql("-v", f"password='{PASSWORD}'", "-f", str(ASSETS / "registry.sql"))

    def start(self) -> None:
        """Runs it, with little patience for slots that nobody reads."""
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder,
                    "wal_level": "logical", "max_slot_wal_keep_size": "32MB", "min_wal_size": "32MB",
                    "max_wal_size": "32MB", "wal_keep_size": 0, "fsync": "on", "ssl": "on",
                    "ssl_cert_file": self.pki / "postgres.crt", "ssl_key_file": self.pki / "postgres.key"}  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._logs / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen([self._bins / "postgres", "-D", self.folder / "data", *options],
                                            stdout=log, stderr=log, user=_USER, cwd="/")  # fmt: skip
        eventually(self._answers, what="Postgres answers")

    def _answers(self) -> bool:
        return self._psql("-c", "SELECT 1", check=False).returncode == 0

    def sql(self, *statements: str) -> list[str]:
        """Runs statements, each a transaction of its own; the rows of the last, fields parted by |."""
        done = self._psql(*(part for statement in statements for part in ("-c", statement)))
        return done.stdout.split("\n")[:-1]

    def refused(self, statement: str) -> str:
        """The error of a statement that must fail."""
        done = self._psql("-c", statement, check=False)
        assert done.returncode
        return done.stderr

    def _psql(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        target = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "owner", "-d", "postgres"]
        done = subprocess.run([self._bins / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", *target, *arguments],
                              capture_output=True, text=True, check=False, timeout=60,
                              env=os.environ | {"PGOPTIONS": "-c search_path=registry"})  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([self._bins / program, *arguments], check=True, capture_output=True, user=_USER, cwd="/")

    def kill(self) -> None:
        """The whole server at once, as by a power cut."""
        subprocess.run([self._bins / "pg_ctl", "stop", "-m", "immediate", "-D", self.folder / "data"],
                       check=True, capture_output=True, user=_USER, cwd="/")  # fmt: skip
        self.process.wait()

    def stop(self) -> None:
        """Ends it and deletes its data."""
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Connect:
    """Kafka Connect with the connector of deploy/assets/connector.json."""

    def __init__(self, folder: Path, layout: Layout, postgres: Postgres) -> None:
        self._folder = folder
        self._port = free_port()
        self._environment = {"ASSETS_HOST": "127.0.0.1", "ASSETS_PORT": str(postgres.port),
                             "ASSETS_DATABASE": "postgres"}  # fmt: skip
        passwords = folder / "secrets"
        passwords.mkdir(mode=0o700)
        (passwords / "assets-password").write_text(PASSWORD)
        connector = json.loads((ASSETS / "connector.json").read_text())
        given = connector["config"]["database.password"]
        self.config = connector["config"]
        self.config["database.password"] = given.replace("/run/secrets", str(passwords))
        self.config |= {"database.sslmode": "verify-full", "database.sslrootcert": str(postgres.pki / "ca.crt")}
        (folder / "log4j2.properties").write_text(configs.KAFKA_LOG4J)
        (folder / "connector.json").write_text(json.dumps(connector))
        (folder / "worker.properties").write_text(
            f"bootstrap.servers={layout.address('kafka')}\n"
            f"listeners=http://127.0.0.1:{self._port}\n"
            f"offset.storage.file.filename={folder}/offsets\noffset.flush.interval.ms=1000\n"
            "key.converter=org.apache.kafka.connect.json.JsonConverter\n"
            "value.converter=org.apache.kafka.connect.json.JsonConverter\n"
            "config.providers=env,dir\n"
            "config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider\n"
            "config.providers.dir.class=org.apache.kafka.common.config.provider.DirectoryConfigProvider\n"
        )
        self.start()

    def start(self) -> None:
        """Runs it."""
        options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        options += [f"-Dlog4j2.configurationFile={self._folder}/log4j2.properties", "-cp", f"{JAVA_PARTS}/connect/*"]
        files = [str(self._folder / name) for name in ("worker.properties", "connector.json")]
        command = [f"{java_home()}/bin/java", *options, "org.apache.kafka.connect.cli.ConnectStandalone", *files]
        self.process = Process(command, self._folder / "connect.log", self._environment)

    def refused(self, **changed: str) -> str:
        """Why the connector, with other settings, would not do; empty when it would."""
        changed = {name.replace("_", "."): value for name, value in changed.items()}
        url = f"http://127.0.0.1:{self._port}/connector-plugins/PostgresConnector/config/validate"
        answer = httpx.put(url, json=self.config | {"name": "tried"} | changed, timeout=60).raise_for_status().json()
        return "; ".join(error for one in answer["configs"] for error in (one["value"] or {}).get("errors", []))

    def tasks(self) -> list[str]:
        """The state of the connector and of its tasks."""
        answer = httpx.get(f"http://127.0.0.1:{self._port}/connectors/fieldstream-assets/status")
        if answer.is_error:
            return []
        status = answer.json()
        return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]

    def runs(self) -> bool:
        """Whether connector and task run."""
        return self.tasks() == ["RUNNING", "RUNNING"]


def follower(folder: Path, layout: Layout) -> Process:
    """`fieldstream assets follow`."""
    return Process([f"{VENV}/bin/fieldstream", "assets", "follow"], folder / "follower.log", ours(layout, "assets"))
