"""One stack, one fleet and its truth: what a drill breaks and what it is judged by."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from fieldstream_central import assets
from fieldstream_central.settings import Settings, load_settings
from local import oracle, stack
from local.layout import DEFAULT_PORTS, ROOT, VENV, Layout

PLANT = ROOT / "firmware-sim/fieldstream_sim/plants/demo.toml"
PORT_OFFSET = 18_000  # clear of the other tests, which may run at the same time
SETTLE_S = 180.0


@dataclass
class World:
    """A running stack in a folder of its own, with the means to hurt it."""

    folder: Path
    layout: Layout = field(init=False)

    def __post_init__(self) -> None:
        self.layout = Layout(self.folder, {name: port + PORT_OFFSET for name, port in DEFAULT_PORTS.items()})
        self.supervisor = stack.Supervisor(self.layout)
        self.store = oracle.Store(self.layout.url("clickhouse"))

    @property
    def settings(self) -> Settings:
        """Addresses of this stack's parts."""
        return load_settings(self.layout.settings_file)

    def start(self) -> None:
        """An empty stack with the demo plant's assets."""
        if self.supervisor.running():
            stack.down(self.layout)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        stack.up(self.layout)
        assets.publish(self.settings, PLANT, now_ms=time.time_ns() // 1_000_000)

    def stop(self) -> None:
        """Ends every process of the stack; folder and logs stay."""
        if self.supervisor.running():
            stack.down(self.layout)

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

    def pause(self, program: str, seconds: float) -> None:
        """Stops a program with SIGSTOP for a while: it neither answers nor dies."""
        process = psutil.Process(self.pid(program))
        process.suspend()
        time.sleep(seconds)
        process.resume()

    def away(self, program: str, seconds: float) -> None:
        """Kills a program and keeps it down for a while."""
        pid = self.pid(program)
        # Told to stop and killed at once: the supervisor does not start it again by itself.
        os.kill(pid, signal.SIGKILL)
        self.supervisor.stop(program)
        time.sleep(seconds)
        self.supervisor.start(program)

    def notifications(self) -> list[dict[str, Any]]:
        """What the mailbox received."""
        with urllib.request.urlopen(self.layout.url("mailbox") + "/notifications?limit=1000", timeout=5) as answer:  # noqa: S310
            received: list[dict[str, Any]] = json.load(answer)
        return received

    def healthy(self, since_ms: int) -> bool:
        """Whether every program is ready, both jobs run, and readings measured after `since_ms` are stored."""
        fresh = f"SELECT count() AS n FROM fieldstream.readings WHERE ts > fromUnixTimestamp64Milli({since_ms + 1000})"
        try:
            ready = all(program.ready() for program in stack.all_programs(self.layout))
            return ready and stack.jobs_running(self.layout) and self.store.query(fresh)[0]["n"] > 0
        except (OSError, urllib.error.URLError):
            return False


class Fleet:
    """The demo plant's fleet, sending to a world's broker and writing its truth."""

    def __init__(self, world: World, name: str, *options: str) -> None:
        self.folder = world.folder / "truth" / name
        self.folder.mkdir(parents=True)
        self._log = (self.folder / "simulator.log").open("wb")
        command = [str(VENV / "bin/fieldstream-sim"), "run", str(PLANT), "--truth", str(self.folder),
                   "--mqtt", f"mqtt://{world.layout.address('mqtt')}", *options]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True)

    def stop(self) -> None:
        """Asks the fleet to end and to complete its truth."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        if self._process.returncode:
            raise stack.StackError(f"the fleet ended with an error: {self.folder}/simulator.log")


def settled(world: World, folders: list[Path]) -> tuple[oracle.Truth, dict[str, int], float]:
    """Waits, bounded, until nothing is missing or wrong any more. Returns truth, verdict and the seconds it took."""
    truth = oracle.Truth.read(folders)
    started = time.monotonic()
    verdict: dict[str, int] = {}
    while time.monotonic() - started < SETTLE_S:
        try:
            rejects = oracle.check_rejects(truth, world.store)
            verdict = oracle.check_readings(truth, world.store) | oracle.check_windows(truth, world.store)
            verdict["bad_messages_unaccounted"] = rejects
        except OSError:
            pass  # ClickHouse may still be starting
        if verdict and whole(verdict):
            break
        time.sleep(2)
    return truth, verdict, time.monotonic() - started


def whole(verdict: dict[str, int]) -> bool:
    """Nothing missing, doubled, altered or wrong."""
    names = ("missing", "duplicates", "unexpected", "altered", "windows_wrong", "bad_messages_unaccounted")
    return all(verdict[name] == 0 for name in names) and verdict["windows_checked"] > 0
