"""What happens to a backlog: drained beside fresh readings, or dropped where that is configured, and said so."""

from collections.abc import Callable

from fieldstream_schemas.topics import GATEWAYS, READINGS_RAW
from integration.edge.parts import GatewayProcess, Kafka, Mosquitto, Registry
from integration.edge.test_gateway_on_real_parts import accepted, publish, readings, records

Parts = tuple[Mosquitto, Kafka, Registry]
MakeGateway = Callable[..., GatewayProcess]


def test_what_a_full_spool_dropped_reaches_the_centre_as_a_known_gap(
    parts: Parts, gateway_for: MakeGateway, prefix: str, own_kafka: Kafka
) -> None:
    small = '[spool]\nsegment_bytes = 65536\nmax_bytes = 1048576\nwhen_full = "drop-oldest"\n'
    gateway = gateway_for(f"sensors/{prefix}/#", kafka=own_kafka.bootstrap, more=small).start()
    publish(parts[0].port, f"sensors/{prefix}/t", readings(100))
    gateway.wait_drained()
    own_kafka.stop()
    for number in range(10):
        publish(parts[0].port, f"sensors/{prefix}/u{number}", readings(10_000))
    accepted(gateway, 100_100)
    gateway.kill()
    own_kafka.start()
    gateway.start()
    gateway.wait_drained(60)
    assert gateway.stop() == 0
    last = records(own_kafka, GATEWAYS, gateway.gateway_id)[-1][1]
    known = {seq for gap in last["gaps"] for seq in range(gap["first"], gap["last"] + 1)}
    arrived = {record["seq"] for _, record in records(own_kafka, READINGS_RAW, gateway.gateway_id)}
    assert {gap["reason"] for gap in last["gaps"]} == {"full"}
    assert arrived | known == set(range(1, last["last_seq"] + 1))
    assert len(known) > 10_000


def test_fresh_readings_are_acknowledged_while_a_backlog_drains(
    parts: Parts, gateway_for: MakeGateway, prefix: str
) -> None:
    mosquitto = parts[0]
    gateway = gateway_for(f"sensors/{prefix}/#", more_kafka="bytes_per_s = 250000\n").start()
    publish(mosquitto.port, f"sensors/{prefix}/t", readings(20_000))
    publish(mosquitto.port, f"sensors/{prefix}/fresh", readings(200))
    accepted(gateway, 20_200)
    assert gateway.status()["spool_readings"] > 0
    gateway.wait_drained(60)
    assert gateway.metrics()["readings_delivered_total"] == 20_200
