"""A real Kafka that takes names from certificates and refuses what nobody was granted: acts allowed, acts refused."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from declared import access
from fieldstream_central.kafka_access import Properties, connection, grant
from fieldstream_central.pki.authority import create_authority, issue
from fieldstream_central.settings import Settings
from fieldstream_central.topics_admin import create_topics, kafka_answers
from fieldstream_schemas.rights import COMPONENTS
from integration.edge.parts import KAFKA_JARS, Process, free_port, missing_parts, wait_until
from integration.security.kafka_acts import (
    ALLOWED,
    ALLOWED_READS,
    FORBIDDEN,
    FORBIDDEN_READS,
    REFUSED_GROUP,
    REFUSED_TOPIC,
    read,
    write,
)
from local.secure import FIELD, kafka_security

NEW_LINE = "\n"
pytestmark = pytest.mark.skipif(bool(missing_parts()), reason=missing_parts())


def chart_security(own: Path, believed: Path, _name: str, *, field: Path) -> str:
    """The chart's listeners as Strimzi writes them: programs by the centre's authority and bare names, gateways by its
    own, whose names stay CN=NAME."""
    programs = access.access()["kafkaListener"] | {"ssl.truststore.location": believed}  # type: ignore[operator]
    return f"""\
{"".join(f"listener.name.ssl.{key}={value}{NEW_LINE}" for key, value in programs.items())}\
listener.name.field.ssl.client.auth=required
listener.name.field.ssl.truststore.type=PEM
listener.name.field.ssl.truststore.location={field}
listener.name.controller.ssl.client.auth=required
inter.broker.listener.name=SSL
ssl.keystore.type=PEM
ssl.keystore.location={own}
ssl.truststore.type=PEM
ssl.truststore.location={believed}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:broker;User:CN=broker
"""


class SecureKafka:
    """One node, mutual TLS on every listener, nothing allowed that is not granted."""

    def __init__(self, folder: Path, security: Callable[..., str]) -> None:
        self.port, self.field_port, controller = free_port(), free_port(), free_port()
        self.pki, self.field = folder / "pki", folder / "field"
        for authority in (self.pki, self.field):
            create_authority(authority, days=2)
            for name in ("admin", "stranger", *COMPONENTS):
                issue(authority, name, days=1)
        issue(self.pki, "broker", ["127.0.0.1"], days=1)
        store = folder / "broker.pem"
        store.write_bytes((self.pki / "broker.key").read_bytes() + (self.pki / "broker.crt").read_bytes())
        config = folder / "server.properties"
        config.write_text(f"""process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=SSL://127.0.0.1:{self.port},FIELD://127.0.0.1:{self.field_port},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:SSL,SSL:SSL,FIELD:SSL
controller.listener.names=CONTROLLER
{security(store, self.pki / "ca.crt", "broker", field=self.field / "ca.crt")}\
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
""")
        java = ["java", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp", f"{KAFKA_JARS}/*"]
        made = ["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", str(config), "--standalone"]
        subprocess.run([*java, *made], check=True, capture_output=True)
        self.process = Process([*java, "kafka.Kafka", str(config)], folder / "kafka.log")

    def settings(self, name: str, pki: Path | None = None, *, field: bool = False) -> Settings:
        """Of a program that has the certificate of this name, and comes to the listener of the field or of programs."""
        own = pki or (self.field if field else self.pki)
        return Settings(
            kafka=f"127.0.0.1:{self.field_port if field else self.port}",
            tls_ca_file=self.pki / "ca.crt",
            tls_cert_file=own / f"{name}.crt",
            tls_key_file=own / f"{name}.key",
        )


@pytest.fixture(scope="module", params=["local", "chart"])
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """As the local stack has it, and as the chart."""
    security, mark = {"local": (kafka_security, FIELD), "chart": (chart_security, "CN=")}[request.param]
    made = SecureKafka(tmp_path_factory.mktemp("kafka"), security)
    try:
        wait_until(lambda: kafka_answers(made.settings("admin")), 60, "Kafka")
        for name, component in COMPONENTS.items():
            grant(made.settings("admin"), name, component)
        grant(made.settings("admin"), mark + "gateway", COMPONENTS["gateway"])
        create_topics(made.settings("setup"))
        yield made
    finally:
        made.process.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def written(kafka: SecureKafka) -> None:
    """A record in every topic, each by a component that may."""
    assert {
        topic: write(kafka.settings(name), topic, idempotent=True) for topic, name in ALLOWED.items()
    } == dict.fromkeys(ALLOWED, 0)


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(("who", "topic"), FORBIDDEN)
def test_nobody_writes_what_is_not_theirs(kafka: SecureKafka, who: str, topic: str) -> None:
    assert write(kafka.settings(who), topic) == REFUSED_TOPIC


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(("who", "topic", "group"), ALLOWED_READS)
def test_whoever_may_read_does(kafka: SecureKafka, who: str, topic: str, group: str) -> None:
    assert read(kafka.settings(who), topic, group) == 0


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(("who", "topic", "group"), FORBIDDEN_READS)
def test_nobody_reads_what_is_not_theirs(kafka: SecureKafka, who: str, topic: str, group: str) -> None:
    assert read(kafka.settings(who), topic, group) in (REFUSED_TOPIC, REFUSED_GROUP)


@pytest.mark.parametrize("who", [name for name in COMPONENTS if name != "setup"])
def test_only_an_administrator_gives_rights(kafka: SecureKafka, who: str) -> None:
    with pytest.raises(KafkaException) as refusal:
        grant(kafka.settings(who), who, COMPONENTS["setup"])
    assert refusal.value.args[0].code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED


def test_the_fields_authority_makes_gateways_and_nobody_else(kafka: SecureKafka) -> None:
    assert write(kafka.settings("gateway", field=True), "readings.raw", idempotent=True) == 0
    assert write(kafka.settings("loader", field=True), "dead-letters") == REFUSED_TOPIC
    with pytest.raises(KafkaException) as refusal:
        grant(kafka.settings("admin", field=True), "gateway", COMPONENTS["setup"])
    assert refusal.value.args[0].code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED
    for settings in (kafka.settings("admin", kafka.field), kafka.settings("admin", kafka.pki, field=True)):
        with pytest.raises(KafkaException):  # neither listener believes the other's authority
            AdminClient({**connection(settings), "log_level": 0}).list_topics(timeout=2)


def test_whoever_shows_no_certificate_of_ours_learns_nothing(kafka: SecureKafka, tmp_path: Path) -> None:
    create_authority(tmp_path, days=2)
    issue(tmp_path, "admin", days=1)
    plain: Properties = {"bootstrap.servers": f"127.0.0.1:{kafka.port}"}
    without = plain | {"security.protocol": "ssl", "ssl.ca.location": str(kafka.pki / "ca.crt")}
    foreign = connection(kafka.settings("admin", tmp_path))
    for properties in (plain, without, foreign):
        with pytest.raises(KafkaException):
            AdminClient({**properties, "log_level": 0}).list_topics(timeout=2)
    assert AdminClient(connection(kafka.settings("admin"))).list_topics(timeout=5).topics
