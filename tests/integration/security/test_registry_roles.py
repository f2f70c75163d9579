"""The real registry with the chart's properties: TLS, who reads, who writes. Schemas in memory in place of Kafka."""

import os
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import fastavro
import pytest
from declared import access
from fieldstream_central.pki.authority import create_authority, issue
from fieldstream_schemas.registry import RegistryError, SchemaRegistry, frame_header
from fieldstream_schemas.topics import READINGS_RAW, WINDOWS, parsed_schema
from integration.edge.parts import Process, free_port, wait_until
from local.install import java_home
from local.layout import DEFAULT_PORTS, JAVA_PARTS

JAR = JAVA_PARTS / "registry/quarkus-run.jar"
PASSWORDS = {"reader": "r-password", "writer": "w-password"}
pytestmark = pytest.mark.skipif(not JAR.exists(), reason="the registry is missing: make install")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    create_authority(folder, days=2)
    issue(folder, "tls", ["127.0.0.1"], days=1)
    (folder / "tls-combined.pem").write_bytes((folder / "tls.key").read_bytes() + (folder / "tls.crt").read_bytes())
    port = free_port()
    text = access.registry().replace(str(access.TLS), str(folder))
    (folder / "registry.properties").write_text(text.replace(f"port={DEFAULT_PORTS['registry']}", f"port={port}"))
    environment = {f"REGISTRY_{role.upper()}": password for role, password in PASSWORDS.items()} | {
        "QUARKUS_CONFIG_LOCATIONS": str(folder / "registry.properties"),
        "QUARKUS_HTTP_HOST": "127.0.0.1",
        "QUARKUS_HTTP_PORT": "0",
        "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
        "QUARKUS_MANAGEMENT_PORT": str(free_port()),
        "APICURIO_STORAGE_KIND": "sql",
    }
    command = [f"{java_home()}/bin/java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", str(JAR)]
    process = Process(command, folder / "registry.log", os.environ | environment)
    address = f"127.0.0.1:{port}/apis/ccompat/v7"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "ca.crt"))
        try:
            wait_until(lambda: status(f"https://{address}/subjects") == 401, 90, "the registry")
            yield address
        finally:
            process.stop(signal.SIGKILL)


def status(url: str) -> int:
    """Of the answer to a request by nobody; 0 without one."""
    try:
        with urllib.request.urlopen(url, timeout=3, context=ssl.create_default_context()) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def by(role: str, address: str, tmp_path: Path) -> SchemaRegistry:
    return SchemaRegistry([f"https://registry-{role}:{PASSWORDS[role]}@{address}"], tmp_path / role)


def test_a_reader_asks_for_what_the_writer_registered_and_registers_nothing(registry: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="403"):
        by("reader", registry, tmp_path).register(WINDOWS)
    registered = by("writer", registry, tmp_path).register(WINDOWS)
    assert by("reader", registry, tmp_path).id_of(WINDOWS) == registered
    assert status(f"https://{registry}/schemas/ids/{registered}") == 401
    assert status(f"http://{registry}/subjects") == 0


def test_the_jobs_functions_believe_the_registry_by_kafkas_authority_and_by_no_other(
    registry: str, tmp_path: Path
) -> None:
    reading = {
        **{"gateway_id": "g", "epoch": 1, "seq": 2, "device_id": "d", "metric": "m", "ts": 1_795_517_640_000},
        **{"value": 1.5, "unit": "Cel", "operator": "Ada", "received_at": 5},
    }
    record = BytesIO(frame_header(by("writer", registry, tmp_path).register(READINGS_RAW)))
    record.seek(0, 2)
    fastavro.schemaless_writer(record, parsed_schema(READINGS_RAW), reading)
    create_authority(tmp_path / "foreign", days=2)
    probe = str(Path(__file__).with_name("DecodeProbe.java"))
    classes = f"{JAVA_PARTS}/flink/lib/*:{JAVA_PARTS}/fieldstream-functions.jar"
    said = {}
    for name, believed in {"ours": os.environ["SSL_CERT_FILE"], "foreign": f"{tmp_path}/foreign/ca.crt"}.items():
        cache = tmp_path / f"cache-{name}"
        cache.mkdir()
        address = f"https://registry-reader:{PASSWORDS['reader']}@{registry}"
        command = ["java", "-cp", classes, probe, address, believed, str(cache)]
        done = subprocess.run([*command, record.getvalue().hex()], capture_output=True, text=True, check=False)
        said[name] = done.stdout + done.stderr
    assert said["ours"].endswith("a reading\n")
    assert "no registry answered" in said["foreign"] and "a reading" not in said["foreign"]
