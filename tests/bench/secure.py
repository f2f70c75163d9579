"""`make bench-secure`: the same backlog drained by the plain stack and by the secure one, one after the other."""

import json
import subprocess
import sys
import time

from bench.load import Load
from fieldstream_central.settings import load_settings
from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.stream.cluster import Cluster
from fieldstream_central.stream.job_metrics import JOBS
from local import stack
from local.layout import DEFAULT_PORTS, ROOT, Layout
from rich.console import Console

OFFSET = 22_000
DEVICES = 1000
READINGS = 1_000_000
MUST, GOAL = 0.8, 0.95
console = Console()


def drained(*, secure: bool) -> float:
    """Readings/s from the first that is stored to the last, of a backlog that is in Kafka before the jobs start."""
    ports = {name: port + OFFSET for name, port in DEFAULT_PORTS.items()}
    layout = Layout(ROOT / "var" / "bench" / ("secure" if secure else "plain"), ports, secure=secure)
    stack.clean(layout)
    layout.var.mkdir(parents=True, exist_ok=True)
    try:
        stack.up(layout)
        supervisor = stack.Supervisor(layout)
        supervisor.stop("jobs")
        cluster = Cluster(load_settings(layout.settings_of("jobs")))
        for name in JOBS:
            if job := cluster.running(name):
                cluster.cancel(job)
        load = Load(load_settings(layout.settings_of("admin")), "backlog", DEVICES)
        load.backlog(READINGS)
        with ClickHouse(load_settings(layout.settings_of("console")).clickhouse) as store:

            def stored() -> int:
                return int(str(store.value("SELECT count() FROM fieldstream.readings_data")))

            supervisor.start("jobs")
            while not (first := stored()):
                time.sleep(0.1)
            started = time.monotonic()
            while (last := stored()) < READINGS:
                time.sleep(0.2)
            return (last - first) / (time.monotonic() - started)
    finally:
        stack.down(layout)
        stack.clean(layout)


def main() -> int:
    """Prints both rates and their ratio; one JSON line. Each stack has a process: it keeps whom it trusts."""
    if sys.argv[1:]:
        print(drained(secure=sys.argv[1] == "secure"))
        return 0
    rates = {}
    for name in ("plain", "secure"):
        told = subprocess.run(
            [sys.executable, "-m", "bench.secure", name], check=True, stdout=subprocess.PIPE, text=True
        )
        rates[name] = float(told.stdout.splitlines()[-1])
    ratio = rates["secure"] / rates["plain"]
    reached = "goal" if ratio >= GOAL else "must" if ratio >= MUST else "not reached"
    console.print(
        f"plain {rates['plain']:,.0f}/s, secure {rates['secure']:,.0f}/s: {ratio:.2f} (must {MUST}): {reached}"
    )
    print(json.dumps({"figures": {"secure_to_plain": {"value": ratio, "must": MUST, "goal": GOAL}}, "rates": rates}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
