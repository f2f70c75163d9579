"""Ways to try an act on a running secure stack. Each gives a function that says in a word what came of it."""

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import paho.mqtt.client as mqtt
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from fieldstream_central.kafka_access import connection
from fieldstream_central.kafka_access import grant as grant_rights
from fieldstream_central.pki import authority
from fieldstream_central.settings import Settings
from fieldstream_schemas.rights import COMPONENTS
from local import secure
from local.layout import Layout
from paho.mqtt.enums import CallbackAPIVersion

DONE = "done"
DEVICES = ("press-1", "press-2")
FORGED = "forged"  # has the name admin from the field's authority
NO_HTTP = ("mqtt", "kafka", "kafka_field")
# Who may open a part: its name, and so its certificate.
CALLERS = {
    "kafka": "loader", "kafka_field": "gateway", "mqtt": "press-1",
    "flink": "flink", "prometheus": "console", "alertmanager": "alerter",
    "loader": "prometheus", "registry": "setup", "clickhouse": "setup", "api": "setup", "console": "setup",
}  # fmt: skip
ClickHouseCodes = {164: "READONLY", 497: "ACCESS_DENIED", 516: "AUTHENTICATION_FAILED"}


@dataclass(frozen=True)
class Plant:
    """A running secure stack, and a folder with certificates that it must refuse."""

    layout: Layout
    bad: Path

    @classmethod
    def with_strangers(cls, layout: Layout, bad: Path) -> "Plant":
        """Makes the devices' certificates, those that are to be refused, and a sensor of the site `here`."""
        pki, field, now = layout.pki, layout.pki / "field", datetime.now(UTC)
        for device in DEVICES:
            authority.issue(field, device, days=1, replace=True)
        authority.issue(pki, "expired", days=1, now=now - timedelta(days=3), replace=True)
        authority.issue(pki, "early", days=30, now=now + timedelta(days=2), replace=True)
        authority.create_authority(bad, days=2, replace=True)
        authority.issue(bad, "foreign", days=1, replace=True)
        authority.issue(field, "admin", days=1, replace=True)
        for suffix in (".crt", ".key"):  # aside, so that `admin` stays the centre's
            (field / f"admin{suffix}").rename(bad / f"{FORGED}{suffix}")
        plant = cls(layout, bad)
        sensor = f"VALUES ('{DEVICES[0]}', 'force', 'here', 'press')"
        query(plant, "setup", f"INSERT INTO fieldstream.assets_data (device_id, metric, site, asset_id) {sensor}")
        return plant

    def files(self, who: str) -> tuple[Path, Path]:
        """Certificate and key of a name."""
        name = {"gateway": secure.GATEWAY, "device": DEVICES[0]}.get(who, who)
        folders = (self.bad, self.layout.pki / "field", self.layout.pki / "flink")
        own = [folder for folder in folders if (folder / f"{name}.crt").exists()]
        folder = next(iter(own), self.layout.pki)
        return folder / f"{name}.crt", folder / f"{name}.key"

    def settings(self, who: str) -> Settings:
        """Of a program that has the certificate of this name."""
        cert, key = self.files(who)
        ca, field = self.layout.pki / "ca.crt", who == FORGED or cert.parent.name == "field"
        address = self.layout.address("kafka_field" if field else "kafka")
        return Settings(kafka=address, tls_ca_file=ca, tls_cert_file=cert, tls_key_file=key)

    def context(self, who: str) -> ssl.SSLContext:
        """TLS with the certificate of this name; `nobody` has none. Servers of all authorities are believed."""
        context = ssl.create_default_context(cafile=str(self.layout.pki / "ca.crt"))
        context.load_verify_locations(self.layout.pki / "flink" / "ca.crt")
        if who != "nobody":
            context.load_cert_chain(*self.files(who))
        return context


Try = Callable[[Plant], str]


def _said(code: int) -> str:
    return DONE if code == 0 else next(name for name in dir(KafkaError) if getattr(KafkaError, name) == code)


def write(who: str, topic: str) -> Try:
    """A record that is nothing."""

    def tried(plant: Plant) -> str:
        codes: list[int] = []
        producer = Producer({**connection(plant.settings(who)), "log_level": 0, "message.timeout.ms": 20_000})
        producer.produce(topic, b"x", b"tried", on_delivery=lambda error, _: codes.append(error.code() if error else 0))
        producer.flush(25)
        return _said(codes[0])

    return tried


def _consumer(plant: Plant, who: str, group: str) -> Consumer:
    return Consumer({
        **connection(plant.settings(who)), "group.id": group, "enable.auto.commit": False, "log_level": 0,
        "auto.offset.reset": "earliest",
    })  # fmt: skip


def read(who: str, topic: str) -> Try:
    """Every partition from its first record, as no group: nobody else's place is moved."""

    def tried(plant: Plant) -> str:
        consumer = _consumer(plant, who, "tried")
        try:
            found = consumer.list_topics(topic, timeout=10).topics[topic]
            if found.error is not None:
                return _said(found.error.code())
            consumer.assign([TopicPartition(topic, partition, 0) for partition in found.partitions])
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                message = consumer.poll(1)
                if message is None:
                    continue
                error = message.error()
                if error is None or error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # of `tried`, not asked for
                    return _said(error.code() if error else 0)
            return "nothing comes"
        finally:
            consumer.close()

    return tried


def place(who: str, group: str) -> Try:
    """The place of a group in its topics."""

    def tried(plant: Plant) -> str:
        admin = AdminClient({**connection(plant.settings(who)), "log_level": 0})
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=15)
        try:
            asked[group].result(20)
        except KafkaException as error:
            return _said(error.args[0].code())
        return DONE

    return tried


def grant(who: str) -> Try:
    """A component's rights, given to the gateway that has them."""

    def tried(plant: Plant) -> str:
        try:
            grant_rights(plant.settings(who), secure.FIELD + secure.GATEWAY, COMPONENTS["gateway"])
        except KafkaException as error:
            return _said(error.args[0].code())
        return DONE

    return tried


def open_tls(part: str, who: str) -> Try:
    """A handshake to its end: in TLS 1.3 a server's refusal comes with the first answer."""

    def tried(plant: Plant) -> str:
        try:
            with (
                socket.create_connection(("127.0.0.1", plant.layout.ports[part]), timeout=10) as raw,
                plant.context(who).wrap_socket(raw, server_hostname="127.0.0.1") as link,
            ):
                link.settimeout(5)
                link.sendall(b"GET / HTTP/1.0\r\n\r\n" if part not in NO_HTTP else b"\x10")
                link.recv(1)
        except TimeoutError:  # it waits for more: we are in
            return DONE
        except ssl.SSLError:
            return "handshake refused"
        except ConnectionError:
            return "handshake refused"
        return DONE

    return tried


def plain_text(part: str) -> Try:
    """A request without TLS. Anything that is no answer in its protocol counts as none."""

    def tried(plant: Plant) -> str:
        with socket.create_connection(("127.0.0.1", plant.layout.ports[part]), timeout=10) as link:
            link.settimeout(5)
            try:
                link.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = link.recv(64)
            except (TimeoutError, ConnectionError):
                return "no answer"
        # A server may say in plain text that it speaks TLS, or in TLS (21: alert) that this was none.
        said_no = (
            not answer or answer[0] == 21 or any(code in answer for code in (b" 400 ", b" 301 ", b" 302 ", b" 308 "))
        )
        return "no answer" if said_no else DONE

    return tried


def _mqtt(plant: Plant, who: str) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"tried-{who}", protocol=mqtt.MQTTv5)
    client.tls_set_context(plant.context(who))
    client.connect("127.0.0.1", plant.layout.ports["mqtt"])
    client.loop_start()
    return client


def publish(who: str, topic: str) -> Try:
    """A reading in MQTT 5, where a refusal has a reason."""

    def tried(plant: Plant) -> str:
        client = _mqtt(plant, who)
        reasons: list[str] = []
        client.on_publish = lambda _c, _d, _m, reason, _p: reasons.append(str(reason))
        client.publish(topic, b"1.5", qos=1)
        deadline = time.monotonic() + 15
        while not reasons and time.monotonic() < deadline:
            time.sleep(0.05)
        client.loop_stop()
        client.disconnect()
        return (reasons or ["no answer"])[0].replace("Success", DONE).replace("No matching subscribers", DONE)

    return tried


def listen(who: str, topic: str) -> Try:
    """A subscription while a device publishes. mosquitto grants it, and gives nothing."""

    def tried(plant: Plant) -> str:
        client = _mqtt(plant, who)
        heard: list[bytes] = []
        client.on_message = lambda _c, _d, message: heard.append(bytes(message.payload))
        client.subscribe(topic, qos=1)
        time.sleep(1)
        publish(topic.split("/")[1], topic)(plant)
        deadline = time.monotonic() + 3
        while not heard and time.monotonic() < deadline:
            time.sleep(0.05)
        client.loop_stop()
        client.disconnect()
        return DONE if heard else "nothing comes"

    return tried


def _http(plant: Plant) -> httpx.Client:
    return httpx.Client(verify=plant.context("nobody"), timeout=30, trust_env=False)


def query(plant: Plant, who: str, sql: str) -> str:
    """ClickHouse's answer to a statement of a user."""
    with _http(plant) as http:
        user = (who, secure.secret(plant.layout, f"{who}.password"))
        return http.post(plant.layout.url("clickhouse"), content=sql, auth=user).raise_for_status().text


def _status(answer: httpx.Response) -> str:
    return DONE if answer.status_code < 400 else f"HTTP {answer.status_code}"


def ask(who: str, sql: str, *, password: str | None = None) -> Try:
    """A statement in ClickHouse."""

    def tried(plant: Plant) -> str:
        key = secure.secret(plant.layout, f"{who}.password") if password is None else password
        with _http(plant) as http:
            answer = http.post(plant.layout.url("clickhouse"), content=sql, auth=(who, key))
        code = answer.headers.get("X-ClickHouse-Exception-Code")
        return ClickHouseCodes.get(int(code), answer.text) if code else _status(answer)

    return tried


def registry(role: str, method: str, path: str, body: str) -> Try:
    """A request to the registry."""

    def tried(plant: Plant) -> str:
        user = (f"registry-{role}", secure.secret(plant.layout, f"registry-{role}.password")) if role else None
        with _http(plant) as http:
            url = f"{plant.layout.url('registry')}/apis/ccompat/v7{path}"
            return _status(http.request(method, url, content=body, auth=user, headers=_JSON))

    return tried


def api(name: str, method: str, path: str, body: str = "") -> Try:
    """A request to the API with the token of this name. Its answer may go on for ever: only its beginning is read."""

    def tried(plant: Plant) -> str:
        token = "invented" if name == "invented" else secure.secret(plant.layout, f"{name}.token") if name else ""
        headers = _JSON | ({"Authorization": f"Bearer {token}"} if token else {})
        url = plant.layout.url("api") + path
        with _http(plant) as http, http.stream(method, url, content=body, headers=headers) as answer:
            return _status(answer)

    return tried


_JSON = {"Content-Type": "application/json"}
