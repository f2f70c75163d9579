"""What is done to the two registries, and what must go on meanwhile."""

import random
import shutil
import tempfile
import time
from pathlib import Path

from chaos.harm import DrillError, until
from chaos.world import World
from fieldstream_schemas.registry import RegistryUnreachableError, SchemaRegistry
from fieldstream_schemas.topics import TOPICS
from local.programs import answers

from scale.plant import second_registry

BOTH = ("registry", "registry-2")
RESTARTED = ("flink-jobmanager", "flink-taskmanager", "flink-taskmanager-2", "jobs", "loader", "loader-2", "alerter",
             "gateway", "gateway-2")  # fmt: skip
UNTIL_STORED_S = 600.0


def one_dead(world: World, _chance: random.Random) -> None:
    """Whichever of the two is dead: whoever comes with nothing on disk learns every schema."""
    for name in BOTH:
        world.supervisor.stop(name)
        newcomer_learns(world)
        back(world)


def both_dead(world: World, _chance: random.Random) -> None:
    """Readings are stored; whoever comes with nothing on disk is told why it cannot start."""
    for name in BOTH:
        world.supervisor.stop(name)
    stores_on(world)
    try:
        newcomer_learns(world)
    except RegistryUnreachableError:
        pass
    else:
        raise DrillError("somebody with nothing on disk found a schema where no registry runs")
    back(world)


def both_dead_at_restart(world: World, _chance: random.Random) -> None:
    """Everybody starts anew from what is on disk; a gateway that has nothing there keeps its readings."""
    for name in BOTH:
        world.supervisor.stop(name)
    world.supervisor.stop("gateway-2")
    shutil.rmtree(world.folder / "gateway-second/schemas")
    for name in RESTARTED:
        world.supervisor.stop(name)
    for name in RESTARTED:
        world.supervisor.start(name)
    stores_on(world)
    back(world)


def newcomer_learns(world: World) -> None:
    """A program that has met no schema yet asks for all of them."""
    with tempfile.TemporaryDirectory() as folder:
        registry = SchemaRegistry(world.settings.registry, Path(folder))
        for topic in TOPICS.values():
            registry.schema_text(registry.id_of(topic))


def stores_on(world: World) -> None:
    """Returns once readings measured from now on are stored."""
    now_ms = time.time_ns() // 1_000_000
    until("new readings are stored", lambda: world.stores(now_ms), UNTIL_STORED_S)


def back(world: World) -> None:
    """Both registries run again."""
    for name in BOTH:
        world.supervisor.start(name)
    until("both registries answer", lambda: answer(world))


def answer(world: World) -> bool:
    """Whether both registries do."""
    layouts = (world.layout, second_registry(world.layout))
    return all(answers(layout, "registry", "/apis/ccompat/v7/subjects")() for layout in layouts)
