"""`make demo`: the whole stack, a simulated fleet, and a machine failure recorded in 2013, live.

With ONCE=1 it runs headless to its end, checks everything against the simulator's truth, and prints one JSON line.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fieldstream_central import assets
from fieldstream_central.settings import load_settings
from rich.console import Console
from rich.live import Live
from rich.table import Table

from local import oracle, stack
from local.layout import ROOT, VENV, Layout
from local.programs import grafana
from local.shift import Shift

PLANT = ROOT / "firmware-sim/fieldstream_sim/plants/demo.toml"
SETTLE_S = 90
MALFORMED_ROUNDS = 1
DUPLICATE_SHARE = 0.02
LATE_SHARE, LATE_BY_S = 0.01, 30
console = Console()


class Demo:
    """One run: the two simulators, their truth folders, and what the mailbox received since the start."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.started_ms = time.time_ns() // 1_000_000
        self.folder = layout.var / "demo" / str(self.started_ms)
        self.truths = [self.folder / "fleet", self.folder / "replay"]
        self.store = oracle.Store(layout.url("clickhouse"))
        self.simulators: list[subprocess.Popen[bytes]] = []
        self.shift = Shift(layout, self.started_ms)

    def start_simulators(self) -> None:
        """Starts the fleet and the replay; the replay's end is the demo's."""
        self.folder.mkdir(parents=True)
        simulator = str(VENV / "bin/fieldstream-sim")
        mqtt = ["--mqtt", f"mqtt://{self.layout.address('mqtt')}"]
        fleet = [simulator, "run", str(PLANT), *mqtt, "--truth", str(self.truths[0]), "--seed", "1",
                 "--malformed", str(MALFORMED_ROUNDS), "--duplicate-share", str(DUPLICATE_SHARE),
                 "--late-share", str(LATE_SHARE), "--late-by", str(LATE_BY_S)]  # fmt: skip
        replay = [simulator, "replay", *mqtt, "--truth", str(self.truths[1]), "--asset", "recorded-machine"]
        for name, command in (("fleet", fleet), ("replay", replay)):
            log = (self.folder / f"{name}.log").open("wb")
            self.simulators.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))

    def stop_simulators(self) -> None:
        """Asks both to end, so that they finish their truth files."""
        for process in self.simulators:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.simulators:
            process.wait(timeout=60)

    def replay_ended(self) -> bool:
        """Whether the recording has been sent to its end. Raises StackError if a simulator died."""
        for name, process in zip(("fleet", "replay"), self.simulators, strict=True):
            if process.poll():
                log = (self.folder / f"{name}.log").read_text()[-1500:]
                raise stack.StackError(f"the simulator ({name}) ended with an error:\n{log}")
        return self.simulators[1].poll() is not None

    def notifications(self) -> list[dict[str, Any]]:
        """What the mailbox received since the demo began, newest first."""
        url = self.layout.url("mailbox") + "/notifications?limit=1000"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
            received: list[dict[str, Any]] = json.load(answer)
        return [entry for entry in received if entry["received_at_ms"] >= self.started_ms]

    def counts(self) -> dict[str, int]:
        """Rows that arrived since the start, for the live table."""
        since = f"fromUnixTimestamp64Milli({self.started_ms})"
        [row] = self.store.query(
            f"SELECT (SELECT count() FROM fieldstream.readings WHERE ts >= {since}) AS readings, "
            f"(SELECT count() FROM fieldstream.windows WHERE window_start >= {since}) AS windows, "
            f"(SELECT count() FROM fieldstream.anomalies WHERE detected_at >= {since}) AS anomalies, "
            f"(SELECT count() FROM fieldstream.dead_letters WHERE received_at >= {since}) AS dead_letters"
        )
        return row


def live_table(demo: Demo) -> Table:
    """The state of the demo as a small table."""
    table = Table(title=f"Fieldstream, {(time.time_ns() // 1_000_000 - demo.started_ms) // 1000} s", min_width=60)
    for column in ("readings stored", "windows", "anomalies", "dead letters", "notifications"):
        table.add_column(column, justify="right")
    counts, messages = demo.counts(), demo.notifications()
    table.add_row(*(f"{counts[name]:,}" for name in ("readings", "windows", "anomalies", "dead_letters")),
                  str(len(messages)))  # fmt: skip
    if messages:
        table.caption = f"last notification: {messages[0]['title'] or messages[0]['channel']}"
    return table


def p95(values: list[float]) -> float | None:
    """95th percentile by the nearest rank; None of nothing."""
    return round(sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)], 2) if values else None


def settle(truth: oracle.Truth, demo: Demo) -> None:
    """Waits, bounded, until every acknowledged reading is stored, every window closed and one incident over."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        oracle.check_rejects(truth, demo.store)
        checked = oracle.check_readings(truth, demo.store) | oracle.check_windows(truth, demo.store)
        handled = all(demo.shift.report(demo.notifications()).values())
        if handled and not checked["missing"] and not checked["windows_wrong"]:
            return
        time.sleep(2)


def figures(demo: Demo, truth: oracle.Truth) -> dict[str, Any]:
    """Everything the demo's JSON line reports, measured."""
    unaccounted = oracle.check_rejects(truth, demo.store)
    readings, windows = oracle.check_readings(truth, demo.store), oracle.check_windows(truth, demo.store)
    anomalies = oracle.check_anomalies(truth, demo.store)
    first_firing: dict[str, int] = {}
    for entry in reversed(demo.notifications()):
        if entry["status"] == "firing":
            for anomaly_id in entry.get("message", {}).get("anomaly_ids", []):
                first_firing.setdefault(anomaly_id, entry["received_at_ms"])
    evidence = {
        row["anomaly_id"]: row
        for row in demo.store.query(
            "SELECT anomaly_id, device_id, toUnixTimestamp64Milli(detected_at) AS detected FROM fieldstream.anomalies "
            f"WHERE {oracle.where(truth, 'detected_at', slack_ms=oracle.WINDOW_MS)}"
        )
    }
    notified = {anomaly_id: at for anomaly_id, at in first_firing.items() if anomaly_id in evidence}
    recorded = [fault for fault in truth.faults if fault.kind == "recorded-failure"]
    missed = anomalies.pop("faults_missed")
    recorded_found = bool(recorded) and not any(entry.endswith("recorded-failure") for entry in missed)
    recorded_told = any(evidence[i]["device_id"] == recorded[0].device_id for i in notified) if recorded else False
    [delays] = demo.store.query(
        "SELECT quantileExact(0.95)(dateDiff('millisecond', ts, stored_at)) / 1000 AS p95 FROM fieldstream.readings "
        f"WHERE {oracle.where(truth, 'ts')} AND received_at < ts + INTERVAL 1 SECOND"
    )
    [dead] = demo.store.query(
        "SELECT count() AS n FROM fieldstream.dead_letters "
        f"WHERE received_at >= fromUnixTimestamp64Milli({demo.started_ms})"
    )
    return {
        "published": truth.published,
        "acknowledged": len(truth.acknowledged),
        **readings,
        "dead_letters": dead["n"],
        "bad_messages_unaccounted": unaccounted,
        **windows,
        **{key: value for key, value in anomalies.items() if isinstance(value, int)},
        "recorded_failure_found": recorded_found and recorded_told,
        "incident": demo.shift.report(demo.notifications()),
        "notifications": sum(1 for entry in demo.notifications() if entry["channel"] == "webhook"),
        "event_to_clickhouse_p95_s": delays["p95"],
        "event_to_notification_p95_s": p95([(at - evidence[i]["detected"]) / 1000 for i, at in notified.items()]),
        "seconds": round(time.time() - demo.started_ms / 1000, 1),
        "details": {"faults_missed": missed, "false_alarms": anomalies["false_alarm_reasons"]},
    }


def passed(result: dict[str, Any]) -> bool:
    """Whether nothing is missing, doubled or wrong, the recorded failure was told, an incident was handled."""
    zero = ("missing", "duplicates", "unexpected", "altered", "bad_messages_unaccounted", "windows_wrong")
    whole = all(result[name] == 0 for name in zero) and result["acknowledged"] > 0 and result["windows_checked"] > 0
    told = result["recorded_failure_found"] and result["notifications"] > 0
    return whole and told and all(result["incident"].values())


@contextmanager
def running_stack(layout: Layout) -> Iterator[None]:
    """The stack, stopped afterwards if it was started here."""
    was_running = stack.Supervisor(layout).running()
    try:
        stack.up(layout)
        yield
    finally:
        if not was_running:
            stack.down(layout)


def watch(demo: Demo, *, once: bool) -> None:
    """Shows the live table until the replay's end (once) or until Ctrl-C."""
    with Live(live_table(demo), console=console, refresh_per_second=1) as live:
        while not (demo.replay_ended() and once):
            time.sleep(2)
            live.update(live_table(demo))
            if once:
                demo.shift.look(demo.notifications())


def main() -> int:
    """Runs the demo. Exit status 0 only if all was well."""
    once = bool(os.environ.get("ONCE"))
    layout = Layout.from_environment()
    result: dict[str, Any] = {}
    try:
        with running_stack(layout):
            settings = load_settings(layout.settings_file)
            assets.publish(settings, PLANT, now_ms=time.time_ns() // 1_000_000)
            demo = Demo(layout)
            demo.start_simulators()
            console.print(
                f"\n[bold]Console: {layout.url('console')}[/bold]   API: {layout.url('api')}/docs   "
                f"Mailbox: {layout.url('mailbox')}"
            )
            if grafana(layout):
                console.print(f"[bold]Grafana: {layout.url('grafana')}/d/fieldstream-plant[/bold]")
            try:
                watch(demo, once=once)
            except KeyboardInterrupt:
                console.print("Ending ...")
            finally:
                demo.stop_simulators()
            if once:
                console.print("Checking everything against the simulator's truth ...")
                truth = oracle.Truth.read(demo.truths)
                settle(truth, demo)
                result = figures(demo, truth)
    except stack.StackError as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        return 1
    except KeyboardInterrupt:
        return 130
    if once:
        print(json.dumps(result))
        return 0 if passed(result) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
