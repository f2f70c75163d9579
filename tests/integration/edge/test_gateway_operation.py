"""Operating a gateway: MQTT 3.1.1, TLS, reload, and a doctor who names each of ten injected faults."""

import datetime
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fieldstream_edge.payloads.sparkplug_schema import Payload
from fieldstream_schemas.topics import READINGS_RAW
from integration.edge.parts import GatewayProcess, Kafka, Mosquitto, Registry, free_port, wait_until
from integration.edge.test_gateway_on_real_parts import accepted, publish, readings, records

Parts = tuple[Mosquitto, Kafka, Registry]
MakeGateway = Callable[..., GatewayProcess]


def test_mqtt_311_broker_with_manual_acknowledgement(parts: Parts, gateway_for: MakeGateway, prefix: str) -> None:
    mosquitto = parts[0]
    gateway = gateway_for(f"sensors/{prefix}/#", extra='protocol = "3.1.1"\n').start()
    payloads = readings(500)
    publish(mosquitto.port, f"sensors/{prefix}/t", payloads)
    accepted(gateway, 500)
    gateway.kill()
    publish(mosquitto.port, f"sensors/{prefix}/t", payloads[:100] + readings(100, start=int(time.time() * 1000) - 5000))
    gateway.start()
    accepted(gateway, 100)
    wait_until(lambda: gateway.status()["duplicates_total"] >= 100, 20, "duplicates")
    gateway.wait_drained()
    assert gateway.status()["last_seq"] == 600


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_sparkplug_node_is_asked_for_its_birth_and_its_death_shows(
    parts: Parts, gateway_for: MakeGateway, prefix: str, protocol: str, tmp_path: Path
) -> None:
    mosquitto, kafka, _ = parts
    group = f"{prefix}-{protocol}"
    gateway = gateway_for(f"spBv1.0/{group}/#", extra=f'protocol = "{protocol}"\n').start()

    def send(kind: str, seq: int, **metric: Any) -> None:
        payload = Payload(timestamp=int(time.time() * 1000), seq=seq)
        payload.metrics.add(**metric)
        (tmp_path / "payload").write_bytes(payload.SerializeToString())
        topic = f"spBv1.0/{group}/{kind}/node"
        command = ["mosquitto_pub", "-p", str(mosquitto.port), "-q", "1", "-t", topic, "-f", str(tmp_path / "payload")]
        subprocess.run(command, check=True, timeout=20)

    listen = [
        "stdbuf",
        "-oL",
        "mosquitto_sub",
        "-p",
        str(mosquitto.port),
        "-t",
        f"spBv1.0/{group}/NCMD/node",
        "-C",
        "1",
        "-W",
        "20",
    ]
    with subprocess.Popen([*listen, "-d"], stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        while b"SUBACK" not in listener.stdout.readline():
            pass
        send("NDATA", 7, alias=1, float_value=1.0)
        assert b"Node Control/Rebirth" in listener.stdout.read()
    send("NBIRTH", 0, name="temperature", alias=1, datatype=9, float_value=20.5)
    send("NDATA", 1, alias=1, float_value=21.5)
    send("NDEATH", 0, name="bdSeq", datatype=8, long_value=0)
    send("NDATA", 2, alias=1, float_value=22.5)
    accepted(gateway, 3)
    gateway.wait_drained()
    found = [record for _, record in records(kafka, READINGS_RAW, gateway.gateway_id)]
    assert [(each["device_id"], each["metric"]) for each in found] == [(f"{group}/node", "temperature")] * 3
    assert [(each["value"], each["quality"]) for each in found] == [(20.5, "good"), (21.5, "good"), (22.5, "bad")]
    assert gateway.metrics()['dead_letters_total{reason="bad-payload"}'] == 1


def steady(port: int, topic: str, payloads: list[str]) -> threading.Thread:
    """Publishes 200 a second in the background."""

    def run() -> None:
        command = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", topic, "-l"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as publisher:
            assert publisher.stdin is not None
            for payload in payloads:
                publisher.stdin.write(payload.encode() + b"\n")
                publisher.stdin.flush()
                time.sleep(0.005)
        assert publisher.returncode == 0

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_reload_without_loss(parts: Parts, gateway_for: MakeGateway, prefix: str, tls: tuple[Path, int]) -> None:
    mosquitto = parts[0]
    gateway = gateway_for(f"sensors/{prefix}/#").start()
    meanwhile = steady(mosquitto.port, f"sensors/{prefix}/steady", readings(1000))

    def reload(change: Callable[[str], str], word: str) -> None:
        gateway.config.write_text(change(gateway.config.read_text()))
        before = gateway.log().count(word)
        assert gateway.process is not None
        gateway.process.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: gateway.log().count(word) > before, 10, word)

    start = int(time.time() * 1000) - 60_000
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(100, start=start))
    reload(lambda text: text, "nothing changes")
    reload(lambda text: text + "nonsense = 1\n", "the old one goes on")
    reload(lambda text: text.replace("nonsense = 1\n", ""), "nothing changes")
    reload(
        lambda text: (
            text.replace(f'"sensors/{prefix}/#"', f'"sensors/{prefix}/#", "plant/{prefix}/#"')
            + '[[mapping]]\ntopic = "plant/{device}/{metric}"\nts_field = ""\nvalue_field = ""\n'
        ),
        "is in force",
    )
    wait_until(gateway.is_ready, 20, "the new subscription")
    publish(mosquitto.port, f"plant/{prefix}/t", ["5"])
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(100, start=start + 1000))
    reload(lambda text: text.replace('gateway_id = "', 'gateway_id = "other-'), "restart the gateway")
    gateway.config.write_text(gateway.config.read_text().replace('gateway_id = "other-', 'gateway_id = "'))
    garbage = f'[mqtt.tls]\nca_file = "{tls[0]}/garbage.crt"\n'
    reload(lambda text: text + garbage, "the old one goes on")
    gateway.config.write_text(gateway.config.read_text().replace(garbage, ""))
    reload(lambda text: text.replace("[kafka]\n", "[kafka]\nlinger_ms = 20\n"), "is in force")
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(100, start=start + 2000))
    meanwhile.join()
    accepted(gateway, 1301)
    gateway.wait_drained()
    assert gateway.metrics()["readings_delivered_total"] == 1301


def test_supervisor_is_told_of_start_life_and_stop(
    gateway_for: MakeGateway, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd's protocol (Type=notify, WatchdogSec), on a socket of the test's own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(f"\0fieldstream-{prefix}-{os.getpid()}")
        supervisor.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@fieldstream-{prefix}-{os.getpid()}")
        gateway = gateway_for(f"sensors/{prefix}/#").start()
        assert [supervisor.recv(64) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        gateway.stop()
        words = {supervisor.recv(64)}
        while b"STOPPING=1" not in words:
            words.add(supervisor.recv(64))
        assert words <= {b"WATCHDOG=1", b"STOPPING=1"}


def test_several_brokers_at_once(parts: Parts, gateway_for: MakeGateway, prefix: str, tmp_path: Path) -> None:
    other = Mosquitto(tmp_path / "other")
    gateway = gateway_for(f"sensors/{prefix}/#")
    text = gateway.config.read_text().replace("[mqtt]", "[[mqtt]]")
    gateway.config.write_text(text + f'[[mqtt]]\nurl = "{other.url}"\nsubscriptions = ["sensors/{prefix}/#"]\n')
    gateway.start()
    payloads = readings(600)
    publish(parts[0].port, f"sensors/{prefix}/t", payloads[:400])
    publish(other.port, f"sensors/{prefix}/t", payloads[200:])
    accepted(gateway, 600)
    wait_until(lambda: gateway.status()["duplicates_total"] == 200, 20, "what came over both")
    gateway.wait_drained()
    other.stop()
    wait_until(lambda: not gateway.is_ready(), 20, "the loss of one to be shown")
    publish(parts[0].port, f"sensors/{prefix}/t", readings(10, start=int(time.time() * 1000)))
    accepted(gateway, 610)


# -- TLS -----------------------------------------------------------------------------------------------------------


def make_certificates(directory: Path, *, days: int = 30) -> None:
    """ca.crt, and server.crt and client.crt with their keys; other-ca.crt signs nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)

    def make(
        name: str, issuer: tuple[x509.Certificate, Any] | None, until: datetime.datetime
    ) -> tuple[x509.Certificate, Any]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer[0].subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        if issuer is not None:
            address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(address, critical=False)
        certificate = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
        (directory / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (directory / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, key

    year = now + datetime.timedelta(days=365)
    authority = make("ca", None, year)
    make("other-ca", None, year)
    make("server", authority, year)
    make("client", authority, now + datetime.timedelta(days=days))
    make("expired", authority, now - datetime.timedelta(days=1))
    for name in ("garbage.crt", "garbage.key"):
        (directory / name).write_text("garbage")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("tls")
    make_certificates(directory)
    port = free_port()
    mosquitto = Mosquitto(
        directory / "mqtt", port=port,
        extra=f"listener {port} 127.0.0.1\nallow_anonymous true\ncafile {directory}/ca.crt\n"
        f"certfile {directory}/server.crt\nkeyfile {directory}/server.key\nrequire_certificate true\n",
    )  # fmt: skip
    yield directory, port
    mosquitto.stop()


def test_mutual_tls(tls: tuple[Path, int], gateway_for: MakeGateway, prefix: str) -> None:
    directory, port = tls
    files = f'[mqtt.tls]\nca_file = "{directory}/ca.crt"\ncert_file = "{directory}/client.crt"\n'
    files += f'key_file = "{directory}/client.key"\n'
    gateway = gateway_for("sensors/#", mqtt=f"mqtts://127.0.0.1:{port}", extra=files).start()
    command = ["mosquitto_pub", "-p", str(port), "-h", "127.0.0.1", "-q", "1", "-t", f"sensors/{prefix}/t", "-l"]
    command += [
        "--cafile",
        f"{directory}/ca.crt",
        "--cert",
        f"{directory}/client.crt",
        "--key",
        f"{directory}/client.key",
    ]
    subprocess.run(command, input="\n".join(readings(2000)).encode(), check=True, timeout=30)
    accepted(gateway, 2000)
    assert gateway.status()["certificate_expires_at"] > time.time() * 1000
    assert "certificate_expires_timestamp_seconds" in gateway.metrics()
    (directory / "client.crt").touch()  # as a renewal does
    wait_until(lambda: "renewed certificates is in force" in gateway.log(), 20, "the renewed certificate")
    subprocess.run(command, input="\n".join(readings(2000, start=int(time.time() * 1000))).encode(), check=True)
    accepted(gateway, 4000)


def test_wrong_certificate_is_named_while_the_gateway_runs(tls: tuple[Path, int], gateway_for: MakeGateway) -> None:
    directory, port = tls
    extra = f'[mqtt.tls]\nca_file = "{directory}/other-ca.crt"\n'
    gateway = gateway_for("sensors/#", mqtt=f"mqtts://127.0.0.1:{port}", extra=extra).start(ready=False)
    wait_until(gateway.answers, 20, "the gateway")
    wait_until(lambda: "certificate verify failed" in str(gateway.status()["problems"]), 20, "the reason")
    wait_until(lambda: gateway.status()["kafka_connected"], 20, "the uplink, which has no part in it")
    assert gateway.metrics()["mqtt_connected"] == 0
    assert not gateway.status()["accepting"]


# -- doctor --------------------------------------------------------------------------------------------------------


def doctor(gateway: GatewayProcess) -> tuple[int, dict[str, dict[str, Any]]]:
    command = [sys.executable, "-m", "fieldstream_edge.cli", "doctor", "--json", "--config", str(gateway.config)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    findings = json.loads(done.stdout)
    return done.returncode, {finding["name"]: finding for finding in findings if not finding["ok"]}


def test_doctor_finds_nothing_wrong_with_a_healthy_gateway(parts: Parts, gateway_for: MakeGateway, prefix: str) -> None:
    gateway = gateway_for(f"sensors/{prefix}/#").start()
    assert doctor(gateway) == (0, {})


_FAULTS = {
    "typo": ("heartbeat_s", "heartbeats", "configuration", "Did you mean"),
    "broker down": ('url = "mqtt://127.0.0.1:', 'url = "mqtt://127.0.0.1:1" #', "mqtt", "start the broker"),
    "unknown host": ('url = "mqtt://127.0.0.1', 'url = "mqtt://no-such-host.invalid', "mqtt dns", "name server"),
    "kafka down": ('bootstrap = "127.0.0.1:', 'bootstrap = "127.0.0.1:1" #', "kafka", "start Kafka"),
    "registry down": (
        'urls = ["http://127.0.0.1:',
        'urls = ["http://127.0.0.1:1"] #',
        "registry",
        "start the registry",
    ),
    "state_dir not writable": ('state_dir = "', 'state_dir = "/proc/no', "disk", "state_dir"),
    "spool key open to all": ("[http]", '[spool]\nkey_file = "/etc/hostname"\n[http]', "spool key", "does not start"),
    "password file missing": ("[mqtt]", '[mqtt]\npassword_file = "/no/such"', "configuration", "Correct the path"),
    "spool beyond the disk": ("[http]", "[spool]\nmax_bytes = 100000000000000\n[http]", "disk space", "lower"),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_doctor_names_the_fault_and_the_remedy(gateway_for: MakeGateway, prefix: str, fault: str) -> None:
    old, new, name, words = _FAULTS[fault]
    gateway = gateway_for(f"sensors/{prefix}/#")
    text = gateway.config.read_text()
    assert old in text
    gateway.config.write_text(text.replace(old, new))
    status, found = doctor(gateway)
    assert status == 1
    assert list(found) == [name]
    assert words in found[name]["remedy"]


@pytest.mark.parametrize(
    ("ca", "cert", "name", "words"),
    [
        ("other-ca", "client", "mqtt tls", "ca_file"),
        ("ca", "expired", "certificate", "renew"),
        ("ca", "", "mqtt tls", "client certificate"),
        ("client", "garbage", "mqtt tls", "PEM files"),
    ],
)
def test_doctor_names_faults_of_certificates(  # noqa: PLR0917
    tls: tuple[Path, int], gateway_for: MakeGateway, ca: str, cert: str, name: str, words: str
) -> None:
    directory, port = tls
    files = f'[mqtt.tls]\nca_file = "{directory}/{ca}.crt"\n'
    if cert:
        files += f'cert_file = "{directory}/{cert}.crt"\nkey_file = "{directory}/{cert}.key"\n'
    status, found = doctor(gateway_for("sensors/#", mqtt=f"mqtts://127.0.0.1:{port}", extra=files))
    assert status == 1
    assert words in found[name]["remedy"]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_doctor_names_a_refused_login(gateway_for: MakeGateway, tmp_path: Path, protocol: str) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gw", "right"], check=True)
    port = free_port()
    extra = f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
    mosquitto = Mosquitto(tmp_path / "m", port=port, extra=extra)
    wrong = f'protocol = "{protocol}"\nusername = "gw"\npassword = "wrong"\n'  # pragma: allowlist secret
    gateway = gateway_for("sensors/#", mqtt=mosquitto.url, extra=wrong)
    status, found = doctor(gateway)
    assert (status, list(found)) == (1, ["mqtt"])
    assert "password" in found["mqtt"]["remedy"]
    gateway.config.write_text(gateway.config.read_text().replace("wrong", "right"))
    assert doctor(gateway)[0] == 0
    mosquitto.stop()


def test_doctor_names_a_clock_that_is_behind(parts: Parts, gateway_for: MakeGateway, prefix: str) -> None:
    gateway = gateway_for(f"sensors/{prefix}/#").start()
    publish(parts[0].port, f"sensors/{prefix}/t", readings(20, start=int(time.time() * 1000) + 20_000))
    accepted(gateway, 20)
    status, found = doctor(gateway)
    assert (status, list(found)) == (1, ["clock"])
