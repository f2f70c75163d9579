"""`make bench-alarms`: what a shift feels, in figures: messages, the console, a flood.

Two plants one after the other: Kafka, alerter, Alertmanager, API and console alone, then the whole stack, from
a reading to its mail. Prints a table of figures with must and goal, then one JSON object as its last line; the same in
var/bench/alarms.json. Takes about nine minutes.
"""

import argparse
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
from bench.alarms_console import Console as Browser
from chaos.world import World
from fieldstream_central import assets
from fieldstream_central.alarms.life import State
from fieldstream_central.serve.console import texts
from fieldstream_central.settings import Settings
from fieldstream_central.store.migrate import migrate
from integration.alarms.chain import Chain, break_incident_of_fifty, running_chain
from integration.alarms.conftest import Plant
from integration.serve.shift import serving
from integration.store.rig import Feed, Store, create_topics, eventually, free_port, running_kafka, schema_cache
from local.demo import PLANT
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "var" / "bench"
FLOOD, FLOOD_S, FLOOD_ASSETS = 5_000, 60.0, 250
ROUNDS, CALM_S, HIGH_S = 2, 80.0, 45.0  # calm for so long that the round before is over: what stands is no news
# One sensor of each asset of the demo's plant that has a limit H, with what is ordinary for it.
SENSORS = [(f"pump-{n}-drive", "temperature", 60.0) for n in range(1, 7)] + [
    (f"booth-{n}-air", "temperature", 22.0) for n in range(1, 4)
]
console = Console(width=120)

# Each with its must and its goal; smaller is better.
FIGURES = {
    "incident_of_50_messages": (1.0, 1.0),
    "incident_of_50_resolutions": (1.0, 1.0),
    "limit_to_mail_p95_s": (20.0, 5.0),
    "limits_not_told": (0.0, 0.0),
    "alarm_in_console_p95_s": (2.0, 0.5),
    "console_first_view_s": (1.5, 0.7),
    "console_change_of_page_s": (0.5, 0.2),
    "flood_alarms_lost": (0.0, 0.0),
    "flood_incidents_not_told": (0.0, 0.0),
    "flood_action_p95_ms": (1000.0, 100.0),
    "axe_serious_or_worse": (0.0, 0.0),
    "axe_of_any_kind": (0.0, 0.0),
}


def p95(values: list[float]) -> float:
    """The 95th percentile, the largest of fewer than twenty."""
    return round(sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)], 3)


@contextmanager
def plant_with_console(folder: Path) -> Iterator[tuple[Plant, Chain, str, str]]:
    """Kafka, the chain, a store, API and console; the addresses of the last two."""
    ids = schema_cache(folder / "schemas")
    with ExitStack() as ending:
        kafka = ending.enter_context(running_kafka(folder / "kafka"))
        create_topics(kafka)
        settings = Settings(kafka=kafka, schema_cache=folder / "schemas", registry=("http://127.0.0.1:1",))
        plant = Plant(settings, Feed(kafka, ids))
        store = Store(folder)
        ending.callback(store.process.stop)
        migrate(store.url)
        api, page = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        more = f'api = "{api}"\nconsole = "{page}"\napi_tokens_file = "{folder}/none.toml"\n'
        chain = ending.enter_context(running_chain(plant, folder, store.url, settings=more))
        for program in ("api", "console"):
            ending.callback(serving(program, chain.settings_file).stop)
        yield plant, chain, api, page


def incident_of_50(plant: Plant, chain: Chain) -> dict[str, float]:
    """An incident in whose midst alerter and Alertmanager are killed with -9, each at its beginning and at its end."""
    break_incident_of_fifty(plant, chain)
    chain.alertmanager.kill()
    chain.start_alertmanager()
    eventually(lambda: any("RESOLVED" in one for one in chain.sink.subjects()), timeout_s=120, what="its end is told")
    time.sleep(15)
    told = [subject for subject in chain.sink.subjects() if "big:" in subject]
    ends = sum("RESOLVED" in subject for subject in told)
    return {"incident_of_50_messages": len(told) - ends, "incident_of_50_resolutions": ends}


def flood(plant: Plant, chain: Chain, api: str, browser: Browser) -> dict[str, float]:
    """5,000 alarms of 250 assets within a minute, somebody at work in the list meanwhile."""
    before = len(chain.sink.subjects())

    def pour() -> None:
        began = time.monotonic()
        for number in range(FLOOD):
            asset = f"flood-{number % FLOOD_ASSETS}"
            plant.episode(f"f-{number}", device=f"{asset}-{number // FLOOD_ASSETS}", asset_id=asset)
            time.sleep(max(0.0, began + number * FLOOD_S / FLOOD - time.monotonic()))

    pouring = threading.Thread(target=pour)
    pouring.start()
    actions = []
    while pouring.is_alive():
        actions.append(browser.action_ms())
        time.sleep(0.5)
    with httpx.Client(base_url=api, timeout=30) as http:

        def counted() -> int:
            answer = http.get("/api/v1/alarms", params={"state": [*State]}).json()
            return sum(one["metric"] == "temperature" and one["device_id"].startswith("flood-") for one in answer)

        deadline = time.monotonic() + 60
        while counted() < FLOOD and time.monotonic() < deadline:
            time.sleep(1)
        lost = FLOOD - counted()
    deadline = time.monotonic() + 60
    while len(chain.sink.subjects()) - before < FLOOD_ASSETS and time.monotonic() < deadline:
        time.sleep(1)
    untold = max(0, FLOOD_ASSETS - (len(chain.sink.subjects()) - before))
    actions += [browser.action_ms() for _ in range(20)]
    return {"flood_alarms_lost": lost, "flood_incidents_not_told": untold, "flood_action_p95_ms": p95(actions)}


def parts(folder: Path) -> dict[str, float]:
    """All figures that need no stream."""
    with plant_with_console(folder) as (plant, chain, api, page):
        console.print("An incident of 50 sensors, alerter and Alertmanager killed in its midst ...")
        found = incident_of_50(plant, chain)
        console.print("The console ...")
        plant.episode("first", device="first")
        browser = Browser(page)
        try:
            found["console_first_view_s"] = browser.first_view_s()
            found["console_change_of_page_s"] = browser.change_of_page_s()
            devices = [f"shown-{number}" for number in range(20)]
            shown = [browser.shown_after_s(one, lambda one=one: plant.episode(one, device=one)) for one in devices]  # type: ignore[misc]
            found["alarm_in_console_p95_s"] = p95(shown)
            found |= browser.axe([*texts.NAVIGATION, "/incident/first/temperature/limit"])
            console.print(f"A flood of {FLOOD:,} alarms in {FLOOD_S:.0f} s ...")
            return found | flood(plant, chain, api, browser)
        finally:
            browser.close()


def limit_to_mail(folder: Path) -> list[float]:
    """Seconds from the first reading beyond a limit to its mail, one sensor of each of nine assets, twice."""
    world = World(folder, breakable=False)
    try:
        world.start()
        assets.publish(world.settings, PLANT, now_ms=time.time_ns() // 1_000_000)
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.connect("127.0.0.1", world.layout.ports["mqtt"])
        client.loop_start()
        found: list[float] = []
        for turn in range(ROUNDS):
            began = time.time()
            crossed = publish(client, turn)
            mails = f"{world.layout.url('mailbox')}/notifications?limit=1000"
            for (device, metric), at in crossed.items():
                asset = device.rpartition("-")[0]
                title = f"{asset}: {metric} limit"
                times = [
                    one["received_at_ms"] / 1000 - at
                    for one in httpx.get(mails).json()
                    if one["channel"] == "email" and one["received_at_ms"] / 1000 > began and title in one["title"]
                    and one["status"] == "firing"
                ]  # fmt: skip
                if times:
                    found.append(min(times))
        client.loop_stop()
        return found
    finally:
        world.stop()


def publish(client: mqtt.Client, turn: int) -> dict[tuple[str, str], float]:
    """A reading a second of each sensor: calm, then far above H; each one's time of crossing, seconds since 1970."""
    crossed: dict[tuple[str, str], float] = {}
    began = time.time()
    while (elapsed := time.time() - began) < CALM_S + HIGH_S:
        for number, (device, metric, usual) in enumerate(SENSORS):
            # Spread over a window's ten seconds, so that no moment within one is preferred.
            high = CALM_S + (number * 10 / len(SENSORS) + turn * 0.5) <= elapsed < CALM_S + HIGH_S - 12
            now = time.time()
            if high:
                crossed.setdefault((device, metric), now)
            body = json.dumps({"ts": round(now * 1000), "value": usual + 500 if high else usual + number % 3 * 0.1})
            client.publish(f"sensors/{device}/{metric}", body, qos=1)
        time.sleep(max(0.0, 1 - (time.time() - began - elapsed)))
    return crossed


def report(found: dict[str, float], delays: list[float]) -> dict[str, Any]:
    """The table, and what goes into the file and the last line."""
    table = Table("figure", "must", "goal", "measured", title="Alarms")
    figures = {}
    for name, (must, goal) in FIGURES.items():
        if name not in found:
            continue
        value = found[name]
        reached = "goal" if value <= goal else "must" if value <= must else "no"
        figures[name] = {"value": value, "must": must, "goal": goal, "reached": reached}
        table.add_row(name, f"{must:g}", f"{goal:g}", f"{value:g}", style="" if reached == "goal" else "yellow")
    console.print(table)
    return {"figures": figures, "limit_to_mail_s": sorted(round(one, 2) for one in delays)}


def main() -> int:
    """Measures everything once, or one half of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", choices=("parts", "stack"), help="one half: without the stack, or the way to the mail"
    )
    only = parser.parse_args().only
    folder = OUT / "alarms"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "parts").mkdir(parents=True)
    found = parts(folder / "parts") if only != "stack" else {}
    delays: list[float] = []
    if only != "parts":
        console.print("From a reading beyond its limit to the mail, on the whole stack ...")
        delays = limit_to_mail(folder / "stack")
        found["limits_not_told"] = ROUNDS * len(SENSORS) - len(delays)
        found |= {"limit_to_mail_p95_s": p95(delays)} if delays else {}
    result = report(found, delays)
    (OUT / "alarms.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
