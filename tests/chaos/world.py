"""One stack and the means to hurt it. Drills follow each other on it, each with a fleet and a truth of its own."""

import os
import shutil
import signal
import subprocess
import time
import urllib.error
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from fieldstream_central import assets
from fieldstream_central.settings import Settings, load_settings
from local import configs, oracle, stack
from local.layout import DEFAULT_PORTS, VENV, Layout
from local.programs import Program

from chaos.disks import Disk, mount_in_memory, no_loop_device, unmount
from chaos.network import TOXIPROXY, Proxy

PORT_OFFSET = 18_000  # clear of the other tests, which may run at the same time
MORE_PORTS = {"kafka_edge": 9095, "kafka_proxy": 9096, "proxy_api": 8474}


@dataclass
class World:
    """A running stack in a folder of its own.

    `breakable`: its gateway is behind a proxy, and the folders of gateway, Kafka and checkpoints lie on small disks.
    `code`: a changed copy of the product's package, to run in place of the installed one.
    """

    folder: Path
    breakable: bool = True
    code: Path | None = None
    layout: Layout = field(init=False)
    proxy: Proxy | None = field(init=False, default=None)
    gateway_disk: Disk | None = field(init=False, default=None)
    drill_folder: Path = field(init=False)
    removed: set[oracle.Identity] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        ports = {name: port + PORT_OFFSET for name, port in (DEFAULT_PORTS | MORE_PORTS).items()}
        self.layout = Layout(self.folder, ports)
        self.supervisor = stack.Supervisor(self.layout)
        self.store = oracle.Store(self.layout.url("clickhouse"))

    @property
    def settings(self) -> Settings:
        """Addresses of this stack's parts."""
        return load_settings(self.layout.settings_file)

    @property
    def can_mount(self) -> bool:
        """Whether disks of its own lie below gateway, Kafka and checkpoints."""
        return self.gateway_disk is not None

    def start(self) -> None:
        """An empty stack, breakable where that is possible."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._mount()
        before = os.environ.get("PYTHONPATH")
        if self.code:
            os.environ["PYTHONPATH"] = f"{self.code}:{before}" if before else str(self.code)
        try:
            stack.up(self.layout, configure=self._configure, more=self._more())
        finally:
            if self.code and before is None:
                del os.environ["PYTHONPATH"]
            elif before is not None:
                os.environ["PYTHONPATH"] = before

    def _mount(self) -> None:
        if not self.breakable or no_loop_device():
            return
        try:
            mount_in_memory(self.folder / "kafka", 1500)
            mount_in_memory(self.folder / "flink/checkpoints", 256)
            self.gateway_disk = Disk(self.folder / "gateway-disk", self.folder / "gateway")
        except subprocess.CalledProcessError:
            self._unmount()

    def _unmount(self) -> None:
        for name in ("gateway", "kafka", "flink/checkpoints"):
            unmount(self.folder / name)
        self.gateway_disk = None

    def _configure(self, layout: Layout) -> None:
        """Kafka gets a second listener that says of itself that it is the proxy; the gateway uses that."""
        if self.breakable and TOXIPROXY.exists():
            edge, proxy = layout.address("kafka_edge"), layout.address("kafka_proxy")
            properties = configs.kafka(layout)
            for plain, both in (
                (f"listeners=PLAINTEXT://{layout.address('kafka')},", f"EDGE://{edge},"),
                (f"advertised.listeners=PLAINTEXT://{layout.address('kafka')}", f",EDGE://{proxy}"),
            ):
                properties = properties.replace(f"\n{plain}", f"\n{plain}{both}")
            protocols = "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,EDGE:PLAINTEXT\n"
            (layout.config / "kafka.properties").write_text(properties + protocols)
            gateway = configs.gateway(layout).replace(layout.address("kafka"), proxy)
            (layout.config / "gateway.toml").write_text(gateway)
            self.proxy = Proxy(layout.address("proxy_api"), proxy, edge, layout.logs / "proxy.log")

    def _more(self) -> Sequence[Program]:
        """Programs beside those of the local stack."""
        return ()

    def stop(self) -> None:
        """Ends every process of the stack; configuration, truth and logs stay."""
        if self.supervisor.running():
            stack.down(self.layout)
        if self.proxy:
            self.proxy.stop()
            self.proxy = None
        self._unmount()

    def pid(self, program: str) -> int:
        """Process id of a supervised program, once it has one."""
        deadline = time.monotonic() + 30
        while not (pid := int(self.supervisor.programs()[program]["pid"])):
            if time.monotonic() > deadline:
                raise stack.StackError(f"{program} is not running")
            time.sleep(0.1)
        return pid

    def kill(self, program: str) -> None:
        """kill -9; the supervisor starts it again."""
        os.kill(self.pid(program), signal.SIGKILL)

    def kill_python_workers(self) -> int:
        """kill -9 for the Python processes that the TaskManager has started. Returns how many."""
        children = psutil.Process(self.pid("flink-taskmanager")).children(recursive=True)
        workers = [child for child in children if "python" in child.name()]
        for worker in workers:
            worker.kill()
        return len(workers)

    def away(self, program: str, seconds: float) -> None:
        """Kills a program and keeps it down for a while."""
        pid = self.pid(program)
        # Killed and told to stop at once: the supervisor does not start it again by itself.
        os.kill(pid, signal.SIGKILL)
        self.supervisor.stop(program)
        time.sleep(seconds)
        self.supervisor.start(program)

    def healthy(self, since_ms: int) -> bool:
        """Whether every program is ready, both jobs run, and readings measured after `since_ms` are stored."""
        ready = all(program.ready() for program in stack.all_programs(self.layout))
        return ready and stack.jobs_running(self.layout) and self.stores(since_ms)

    def stores(self, since_ms: int) -> bool:
        """Whether readings measured after `since_ms` are stored."""
        fresh = f"SELECT count() AS n FROM fieldstream.readings WHERE ts > fromUnixTimestamp64Milli({since_ms + 1000})"
        try:
            return bool(self.store.query(fresh)[0]["n"])
        except (OSError, urllib.error.URLError):
            return False


class Fleet:
    """A plant's fleet, sending to a world's broker and writing its truth into a folder of the drill in hand."""

    def __init__(self, world: World, plant: Path, *options: str, truth: str = "fleet") -> None:
        folder = world.drill_folder / truth
        folder.mkdir(parents=True)
        assets.publish(world.settings, plant, now_ms=time.time_ns() // 1_000_000)
        command = [str(VENV / "bin/fieldstream-sim"), "run", str(plant), "--truth", str(folder),
                   "--mqtt", f"mqtt://{world.layout.address('mqtt')}", *options]  # fmt: skip
        self._log = world.drill_folder / f"{truth}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def stop(self) -> None:
        """Asks the fleet to end and to complete its truth."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        if self._process.returncode:
            raise stack.StackError(f"the fleet ended with an error: {self._log}")
