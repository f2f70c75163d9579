"""A stack with more than one of what may be: brokers, registries, TaskManagers, loaders, gateways."""

import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chaos.world import World
from local import configs
from local.install import java_home
from local.layout import JAVA_PARTS, Layout
from local.programs import Program, listens, our_programs, outside_parts, registry

BROKERS = (1, 2, 3)
OFFSET = 100  # of the second one's ports from the first one's
MISSED_SOON = {"broker.session.timeout.ms": 3000, "broker.heartbeat.interval.ms": 500}  # as in the chart
SHARED = "$share/plant/sensors/#"  # the broker hands each message to one of the gateways


class ScaledWorld(World):
    """Topics are kept three times, and a write counts once two brokers have it. Both jobs run on two slots.

    Everybody knows both registries. The second gateway keeps its schemas in a folder of its own.
    """

    def _configure(self, layout: Layout) -> None:
        bootstrap = ",".join(f"127.0.0.1:{_ports(layout, number)[0]}" for number in BROKERS)
        first, second_one = (f'"{one.url("registry")}/apis/ccompat/v7"' for one in (layout, second_registry(layout)))
        both = f"{first}, {second_one}"
        settings = layout.settings_file.read_text().replace(layout.address("kafka"), bootstrap) + "parallelism = 2\n"
        settings = settings.replace(first, both)
        layout.settings_file.write_text(settings)
        port = layout.ports["loader"]
        second = settings.replace(f"loader_metrics_port = {port}", f"loader_metrics_port = {port + OFFSET}")
        (layout.config / "second.toml").write_text(second)
        gateway = configs.gateway(layout).replace(layout.address("kafka"), bootstrap).replace(first, both)
        gateway = gateway.replace("[mqtt]\n", f'[mqtt]\nsubscriptions = ["{SHARED}"]\n')
        (layout.config / "gateway.toml").write_text(gateway)
        for old, new in (
            ('"gateway-local"', '"gateway-second"'),
            (f"{layout.var}/gateway", f"{layout.var}/gateway-second"),
            (f"{layout.var}/schemas", f"{layout.var}/gateway-second/schemas"),
            (f"port = {layout.ports['gateway']}", f"port = {layout.ports['gateway'] + OFFSET}"),
        ):
            gateway = gateway.replace(old, new)
        (layout.config / "gateway-second.toml").write_text(gateway)
        with (layout.var / "flink" / "conf" / "config.yaml").open("a") as flink:
            flink.write("taskmanager.load-balance.mode: SLOTS\n")
        cluster = uuid.uuid4().hex[:22]
        for number in BROKERS:
            _format(_properties(layout, number), cluster)

    def _more(self) -> Sequence[Program]:
        second = registry(second_registry(self.layout))
        theirs = {program.name: program for program in (*outside_parts(self.layout), *our_programs(self.layout))}
        kafka, loader, gateway = theirs["kafka"], theirs["loader"], theirs["gateway"]
        config = str(self.layout.config)
        return [
            *(
                replace(kafka, name=f"kafka-{n}", ports=(), ready=listens(_ports(self.layout, n)[0]),
                        command=kafka.command.replace("kafka.properties", f"kafka-{n}.properties"))
                for n in BROKERS[1:]
            ),
            # Two that make the same topics at once: the later one stays up and answers 500 for good. This one waits.
            replace(second, name="registry-2", ports=(),
                    environment=second.environment | {"APICURIO_KAFKASQL_TOPIC_AUTO_CREATE": "false"}),
            replace(theirs["flink-taskmanager"], name="flink-taskmanager-2"),
            replace(loader, name="loader-2", ports=(), ready=lambda: True,
                    environment=loader.environment | {"FIELDSTREAM_CONFIG": f"{config}/second.toml"}),
            replace(gateway, name="gateway-2", ports=(), ready=lambda: True,
                    command=gateway.command.replace("gateway.toml", "gateway-second.toml")),
        ]  # fmt: skip


def second_registry(layout: Layout) -> Layout:
    """The same stack, as the second registry sees it."""
    own = {name: layout.ports[name] + OFFSET for name in ("registry", "registry_management")}
    return replace(layout, ports=layout.ports | own)


def _ports(layout: Layout, number: int) -> tuple[int, int]:
    """A broker's port and its controller's."""
    more = (number - 1) * OFFSET
    return layout.ports["kafka"] + more, layout.ports["kafka_controller"] + more


def _properties(layout: Layout, number: int) -> Path:
    """The configuration file of one of the brokers, each of them a controller too."""
    own, controller = _ports(layout, number)
    voters = ",".join(f"{each}@127.0.0.1:{_ports(layout, each)[1]}" for each in BROKERS)
    lines = [
        line
        for line in configs.kafka(layout).splitlines()
        if not line.startswith(("controller.quorum", "node.id", "log.dirs")) and ".replication.factor" not in line
    ]
    text = "\n".join(lines).replace(layout.address("kafka_controller"), f"127.0.0.1:{controller}")
    text = text.replace(layout.address("kafka"), f"127.0.0.1:{own}").replace("min.isr=1", "min.isr=2")
    folder = layout.var / ("kafka" if number == 1 else f"kafka-{number}")
    path = layout.config / ("kafka.properties" if number == 1 else f"kafka-{number}.properties")
    path.write_text(
        f"{text}\nnode.id={number}\nlog.dirs={folder}\ncontroller.quorum.voters={voters}\n"
        "default.replication.factor=3\nmin.insync.replicas=2\noffsets.topic.replication.factor=3\n"
        "transaction.state.log.replication.factor=3\nshare.coordinator.state.topic.replication.factor=3\n"
        + "".join(f"{name}={value}\n" for name, value in MISSED_SOON.items())
    )
    return path


def _format(properties: Path, cluster: str) -> None:
    subprocess.run(
        [java_home() / "bin/java", "-cp", f"{JAVA_PARTS}/kafka/*", "kafka.tools.StorageTool", "format",
         "-t", cluster, "-c", properties],
        check=True, capture_output=True,
    )  # fmt: skip
