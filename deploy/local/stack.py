"""`make up`, `down`, `status`, `clean`: the whole of Fieldstream on this machine, real parts, no Docker.

supervisord keeps the programs running; this file only decides what is started when, and says what is wrong.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
import xmlrpc.client  # nosec B411
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import KafkaError, KafkaException
from fieldstream_central.settings import Settings, load_settings
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.migrate import migrate
from fieldstream_central.store.retention import apply_retention
from fieldstream_central.topics_admin import create_topics, kafka_answers, register_schemas, schemas_on_disk
from supervisor.xmlrpc import SupervisorTransport

from local import configs, secure
from local.install import java_home
from local.layout import JAVA_PARTS, VENV, Layout
from local.programs import Program, our_programs, outside_parts, registry

NEEDED_MEMORY_GB = 4.0


class StackError(Exception):
    """The stack cannot start or stop; the message says why and what to do."""


class Supervisor:
    """supervisord of one layout, by its control socket."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._socket = layout.var / "run" / "supervisor.sock"

    @property
    def _rpc(self) -> Any:
        # A new connection each time: supervisor's transport does not recover from a refused one.
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def running(self) -> bool:
        """Whether supervisord answers."""
        try:
            return bool(self._rpc.getState()["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error):
            return False

    def programs(self) -> dict[str, dict[str, Any]]:
        """State of every program by name: statename, pid, start, now, exitstatus ..."""
        return {info["name"]: info for info in self._rpc.getAllProcessInfo()}

    def launch(self, programs: Iterable[Program]) -> None:
        """Starts supervisord with these programs, none of them running yet."""
        config = self._layout.config / "supervisord.conf"
        config.write_text(supervisor_config(self._layout, programs))
        subprocess.run([VENV / "bin/supervisord", "-c", config], check=True)
        wait_until("supervisord", self.running, timeout_s=10)

    def start(self, name: str) -> None:
        """Starts one program without waiting for it."""
        if self.programs()[name]["statename"] not in ("RUNNING", "STARTING"):
            self._rpc.startProcess(name, False)

    def stop(self, name: str) -> None:
        """Stops one program and keeps it stopped; returns when it is."""
        while self.programs()[name]["statename"] not in ("STOPPED", "FATAL"):
            try:
                self._rpc.stopProcess(name)
            except xmlrpc.client.Fault:  # it has just died; it can be stopped once it has been started again
                time.sleep(0.1)

    def renew(self, name: str) -> None:
        """Stops one program and starts it as the configuration file now says."""
        self._rpc.reloadConfig()
        self.stop(name)
        self._rpc.removeProcessGroup(name)
        self._rpc.addProcessGroup(name)
        self.start(name)

    def shutdown(self) -> None:
        """Stops every program, then supervisord."""
        pid = self._rpc.getPID()
        self._rpc.shutdown()
        still_running(family_of(pid)[:1], timeout_s=60)


def supervisor_config(layout: Layout, programs: Iterable[Program]) -> str:
    """supervisord.conf: every program restarts by itself and logs to one file."""
    parts = [
        f"""\
[unix_http_server]
file={layout.var}/run/supervisor.sock
[supervisord]
logfile={layout.logs}/supervisord.log
pidfile={layout.var}/run/supervisord.pid
directory={layout.var}/run
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    ]
    for program in programs:
        environment = ",".join(f'{key}="{value}"' for key, value in program.environment.items())
        parts.append(
            f"""\
[program:{program.name}]
command={program.command}
environment={environment}
autostart=false
autorestart=true
startsecs=0
startretries=1000000
stopasgroup=true
killasgroup=true
stopwaitsecs={program.stop_wait_s}
redirect_stderr=true
stdout_logfile={layout.logs}/{program.name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""
        )
    return "\n".join(parts)


def up(layout: Layout, *, configure: Callable[[Layout], None] | None = None, more: Sequence[Program] = ()) -> None:
    """Starts what is not running yet, in order of dependence, and returns when all of it is ready.

    `configure` may change the configuration files before the first program starts; `more` are run beside ours.
    """
    supervisor = Supervisor(layout)
    outside, reg, ours = [*outside_parts(layout), *more], registry(layout), our_programs(layout)
    everything = [*all_programs(layout), *more]
    started = time.monotonic()
    if not supervisor.running():
        check_memory()
        check_ports(layout, everything)
        configs.write_all(layout)
        if configure:
            configure(layout)
        format_kafka(layout)
        supervisor.launch(everything)
    settings = load_settings(layout.settings_file)
    if layout.secure:
        secure.trust(layout)
    for program in outside:
        if not program.after_topics:
            supervisor.start(program.name)
    step(layout, "kafka", lambda: kafka_answers(settings), 120)
    if layout.secure:
        secure.grant_rights(layout)
    step(layout, "topics", lambda: topics_created(settings), 60)
    for program in (reg, *outside):
        supervisor.start(program.name)
    for program in outside[1:]:
        step(layout, program.name, program.ready, 120)
    migrate(settings.clickhouse)
    with ClickHouse(settings.clickhouse) as clickhouse:
        apply_retention(clickhouse, settings.retention_days)
    if not schemas_on_disk(settings):
        # Only the first start waits here: whoever knows the schemas' ids needs no registry.
        step(layout, reg.name, reg.ready, 180)
        register_schemas(settings)
    for program in ours:
        supervisor.start(program.name)
    for program in ours:
        step(layout, program.name, program.ready, 120)
    step(layout, reg.name, reg.ready, 180)
    register_schemas(settings)
    step(layout, "pipeline and detect", lambda: jobs_running(layout), 300)
    print(f"Ready in {time.monotonic() - started:.0f} s. Console: {layout.url('console')}")


def topics_created(settings: Settings) -> bool:
    """Creates what is missing; false while a cluster that is starting has too few brokers for the copies it keeps."""
    try:
        create_topics(settings)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.INVALID_REPLICATION_FACTOR:
            raise
        return False
    return True


def all_programs(layout: Layout) -> list[Program]:
    """Every program of the stack."""
    return [*outside_parts(layout), registry(layout), *our_programs(layout)]


def jobs_running(layout: Layout) -> bool:
    """Whether both stream jobs run, by the keeper's own metric."""
    try:
        with urllib.request.urlopen(  # noqa: S310 - loopback
            layout.url("jobs") + "/metrics", timeout=2, context=layout.tls("jobs")
        ) as response:
            lines = response.read().decode().splitlines()
    except OSError:
        return False
    values = [line.split()[-1] for line in lines if line.startswith("fieldstream_job_running{")]
    return len(values) >= 2 and all(float(value) == 1 for value in values)


def step(layout: Layout, name: str, ready: Callable[[], bool], timeout_s: float) -> None:
    """Waits for one program with a line of progress; on failure shows the end of its log."""
    started = time.monotonic()
    print(f"  {name:<20} ", end="", flush=True)
    try:
        wait_until(name, ready, timeout_s=timeout_s)
    except StackError as error:
        log = layout.logs / f"{name}.log"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
        raise StackError(f"{error}\n{tail}\nThe whole log: {log}") from error
    print(f"ready ({time.monotonic() - started:.1f} s)", flush=True)


def wait_until(name: str, ready: Callable[[], bool], *, timeout_s: float) -> None:
    """Asks until the answer is yes; raises StackError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise StackError(f"{name} was not ready within {timeout_s:.0f} s.")
        time.sleep(0.2)


def check_memory() -> None:
    """Refuses to start what would be killed half-way."""
    free = psutil.virtual_memory().available / 1e9
    if free < NEEDED_MEMORY_GB:
        raise StackError(f"{free:.1f} GB of memory are free, the stack needs {NEEDED_MEMORY_GB} GB. Close something.")


def check_ports(layout: Layout, programs: Iterable[Program]) -> None:
    """Refuses ports that somebody else holds, naming who and the setting that changes the port."""
    for program in programs:
        for name in program.ports:
            port = layout.ports[name]
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise StackError(
                        f"Port {port} for {program.name} is taken by {owner_of(port)}. Stop it, or take another: "
                        f"FIELDSTREAM_PORT_{name.upper()}={port + 10000} make up"
                    ) from error


def owner_of(port: int) -> str:
    """Name and pid of the process that listens on the port, as far as it can be seen."""
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            name = psutil.Process(connection.pid).name() if connection.pid else "another user's process"
            return f"{name} (pid {connection.pid})"
    return "a process that cannot be seen"


def format_kafka(layout: Layout) -> None:
    """Prepares Kafka's folder at the first start."""
    if (layout.var / "kafka" / "meta.properties").exists():
        return
    subprocess.run(
        [java_home() / "bin/java", "-cp", f"{JAVA_PARTS}/kafka/*", "kafka.tools.StorageTool", "format", "-t",
         uuid.uuid4().hex[:22], "-c", layout.config / "kafka.properties", "--standalone"],
        check=True, capture_output=True,
    )  # fmt: skip


def down(layout: Layout) -> None:
    """Stops everything; returns when no process of the stack is left."""
    supervisor = Supervisor(layout)
    if not supervisor.running():
        print("The stack is not running.")
        return
    pids = [info["pid"] for info in supervisor.programs().values() if info["pid"]]
    family = [child for pid in pids if psutil.pid_exists(pid) for child in family_of(pid)]
    supervisor.shutdown()
    for process in still_running(family, timeout_s=10):
        process.kill()
    print(f"Stopped {len(pids)} programs.")


def family_of(pid: int) -> list[psutil.Process]:
    """The process and all its descendants."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def still_running(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Waits until the processes have ended; those that have not in time.

    psutil.wait_procs raises FileNotFoundError when an ended process's number has become a thread's.
    """
    deadline = time.monotonic() + timeout_s
    while alive := [process for process in processes if not _ended(process)]:
        if time.monotonic() > deadline:
            return alive
        time.sleep(0.1)
    return []


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def status(layout: Layout) -> int:
    """Prints a line per program; exit status 0 only if all are ready."""
    supervisor = Supervisor(layout)
    if not supervisor.running():
        print("The stack is not running. Start it: make up")
        return 1
    states = supervisor.programs()
    all_ready = True
    print(f"{'program':<20} {'state':<10} {'pid':>7} {'memory':>8}  port  ")
    total = 0.0
    for program in all_programs(layout):
        info = states[program.name]
        ready = info["statename"] == "RUNNING" and program.ready()
        all_ready &= ready
        memory = sum(p.memory_info().rss for p in family_of(info["pid"])) / 1e6 if info["pid"] else 0
        total += memory
        ports = ", ".join(str(layout.ports[name]) for name in program.ports)
        state = "ready" if ready else info["statename"].lower()
        print(f"{program.name:<20} {state:<10} {info['pid'] or '-':>7} {memory:>5.0f} MB  {ports}")
    print(f"{'together':<39} {total:>5.0f} MB")
    return 0 if all_ready else 1


def clean(layout: Layout) -> None:
    """Stops the stack and deletes its data, configuration and logs; what was installed stays."""
    if Supervisor(layout).running():
        down(layout)
    for path in layout.var.iterdir() if layout.var.exists() else []:
        if path.name not in ("installed", "java", "test-stack"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> int:
    """Command line: up, down, status or clean."""
    parser = argparse.ArgumentParser(prog="stack", description=__doc__)
    parser.add_argument("action", choices=["up", "down", "status", "clean"])
    action = parser.parse_args().action
    layout = Layout.from_environment()
    Path(layout.var).mkdir(exist_ok=True, parents=True)
    try:
        if action == "status":
            return status(layout)
        {"up": up, "down": down, "clean": clean}[action](layout)
    except StackError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
