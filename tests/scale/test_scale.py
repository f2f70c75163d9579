"""More than one of what may be: any one may go, and both registries; an oracle counts. `make test-scale`."""

import logging
from collections.abc import Iterator

import httpx
import pytest
from chaos import harm
from chaos.harm import Drill
from chaos.run import run
from confluent_kafka.admin import AdminClient
from fieldstream_schemas.topics import READINGS_RAW
from local.layout import ROOT

from scale import registries
from scale.plant import BROKERS, ScaledWorld

log = logging.getLogger(__name__)

DRILLS = [
    Drill("scale-broker", "a broker kill -9, and away for 20 s", harm.away("kafka-2", 20)),
    Drill("scale-first-broker", "the broker that clients ask first, away for 20 s", harm.away("kafka", 20)),
    Drill("scale-taskmanager", "one of two TaskManagers away for 20 s", harm.away("flink-taskmanager-2", 20)),
    Drill("scale-loader", "one of two loaders kill -9", harm.kill("loader-2", "loader", "loader-2")),
    Drill("scale-gateway", "one of two gateways kill -9", harm.kill("gateway-2", "gateway", "gateway-2")),
    Drill("scale-rebalance", "a loader joins and leaves", harm.restart("loader-2", 15)),
    Drill("scale-registry", "each of two registries away", registries.one_dead),
    Drill("scale-registries", "both registries away", registries.both_dead),
    Drill("scale-registries-at-restart", "both away while everything starts anew", registries.both_dead_at_restart),
]


@pytest.fixture(scope="module")
def world() -> Iterator[ScaledWorld]:
    world = ScaledWorld(ROOT / "var" / "test-scale" / "stack", breakable=False)
    try:
        world.start()
        yield world
    finally:
        world.stop()


def test_every_topic_is_kept_three_times(world: ScaledWorld) -> None:
    topics = AdminClient({"bootstrap.servers": world.settings.kafka}).list_topics(timeout=10).topics
    for name in (READINGS_RAW.name, "kafkasql-journal"):
        copies = {len(partition.replicas) for partition in topics[name].partitions.values()}
        assert copies == {len(BROKERS)}, name


def test_the_jobs_are_spread_over_both_task_managers(world: ScaledWorld) -> None:
    managers = httpx.get(world.layout.url("flink") + "/taskmanagers").json()["taskmanagers"]
    assert [one["freeSlots"] < one["slotsNumber"] for one in managers] == [True, True]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_any_one_may_go(world: ScaledWorld, drill: Drill) -> None:
    report = run(drill.name, [drill], 1, world)
    log.warning("%s: longest stalls %s; %s", drill.name, stalls(world, drill.name), report.figures)
    assert report.passed, report.figures


def test_both_gateways_had_work(world: ScaledWorld) -> None:
    rows = world.store.query("SELECT gateway_id, count() AS n FROM fieldstream.readings GROUP BY gateway_id")
    assert {row["gateway_id"] for row in rows if row["n"]} == {"gateway-local", "gateway-second"}


def stalls(world: ScaledWorld, drill: str) -> dict[str, float]:
    """How long the drill held readings up, seconds: no gateway took one, none came into the store, one was underway."""

    def apart(column: str) -> str:
        times = f"arraySort(groupUniqArray(toUnixTimestamp64Milli({column})))"
        return f"arrayMax(arrayDifference({times})) / 1000"

    [row] = world.store.query(
        f"SELECT {apart('received_at')} AS none_taken_s, {apart('stored_at')} AS none_stored_s, "
        "max(dateDiff('millisecond', received_at, stored_at)) / 1000 AS underway_s "
        f"FROM fieldstream.readings WHERE device_id LIKE '{drill}-__'"
    )
    return {name: round(float(value), 1) for name, value in row.items()}
