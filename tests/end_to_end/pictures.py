"""`make pictures`: the pictures of docs/console.md, from a running demo: its faults, and a person on shift.

The demo runs in a stack of its own to the end of its recording; then somebody works on its alarms, and each
page is photographed while the fleet goes on sending.
"""

import sys
import time
from pathlib import Path

import httpx
from fieldstream_central import assets
from fieldstream_central.settings import load_settings
from local.demo import PLANT, Demo
from local.layout import ROOT
from playwright.sync_api import sync_playwright
from rich.progress import Progress

from end_to_end.conftest import Stack

_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_WIDE, _PHONE = (1280, 800), (390, 844)
# Name, address, size, light.
PICTURES = (
    ("live", "/", _WIDE, False),
    ("plant", "/overview", _WIDE, True),
    ("alarms", "/alarms", _WIDE, False),
    ("incident", "/incident/ALARM", _WIDE, False),
    ("gateways", "/gateways", _WIDE, False),
    ("letters", "/dead-letters", _WIDE, True),
    ("handover", "/handover", _WIDE, True),
    ("alarm-health", "/alarm-health", _WIDE, False),
    ("detection", "/detection", _WIDE, False),
    ("phone", "/alarms", _PHONE, False),
)


def work(api: httpx.Client) -> str:
    """What a person does with the demo's alarms. Returns the id of one that was worked on."""
    now = time.time_ns() // 1_000_000
    alarms = [str(alarm["alarm_id"]) for alarm in api.get("/alarms").raise_for_status().json()]
    deeds: list[tuple[str, str, dict[str, object]]] = [
        ("pump-3", "acknowledge", {"comment": "sensor is being replaced"}),
        ("booth-2", "acknowledge", {"comment": "filter mat clogged"}),
        ("cold-room-2", "shelve", {"comment": "cable on order", "until": now + 3_600_000}),
        ("pump-2", "comment", {"comment": "bearing warm to the touch"}),
        ("pump-2", "mark", {"mark": "useful"}),
    ]
    for place, action, more in deeds:
        chosen = [{"alarm_id": alarm_id} for alarm_id in alarms if alarm_id.startswith(place)]
        if chosen:
            api.post("/alarms/actions", json={"action": action, "alarms": chosen, **more}).raise_for_status()
    planned = {"asset_id": "pump-4", "start": now - 600_000, "end": now + 5_400_000, "note": "change of the seal"}
    api.put("/maintenance/pump-4-seal", json=planned).raise_for_status()
    tried = {"layer": "metric", "name": "vibration", "settings": {"high": 2.9}, "hours": 24}
    api.post("/detection/comparisons", json=tried).raise_for_status()
    return next(alarm_id for alarm_id in alarms if alarm_id.startswith("pump-2"))


def take(console: str, folder: Path, alarm_id: str) -> None:
    """One picture each; `alarm_id` of the one whose page is shown."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_ARGS)
        for name, path, (width, height), light in PICTURES:
            context = browser.new_context(viewport={"width": width, "height": height})
            context.add_cookies([{"name": "fieldstream-light", "value": str(int(light)), "url": console}])
            page = context.new_page()
            page.goto(console + path.replace("ALARM", alarm_id))
            page.wait_for_timeout(8000)
            assert not page.locator(".fs-problem:visible").count(), f"{path} shows an error"
            page.screenshot(path=folder / f"{name}.png", full_page=name not in ("live", "handover"))
            context.close()
        browser.close()


def main(folder: Path) -> None:
    """Runs the demo and takes the pictures."""
    stack = Stack(ROOT / "var" / "test-stack")
    stack.run("python", "-m", "local.stack", "clean")
    with Progress(transient=True) as progress:
        task = progress.add_task("stack", total=None)
        try:
            stack.up()
            assets.publish(load_settings(stack.layout.settings_file), PLANT, now_ms=time.time_ns() // 1_000_000)
            demo = Demo(stack.layout)
            progress.update(task, description="demo, about five minutes")
            demo.start_simulators()
            try:
                while not demo.replay_ended():
                    time.sleep(2)
                progress.update(task, description="pictures")
                with httpx.Client(base_url=f"{stack.layout.url('api')}/api/v1", timeout=30) as api:
                    alarm_id = work(api)
                time.sleep(20)  # the trial of other settings takes a while, and heartbeats come every 10 s
                take(stack.layout.url("console"), folder, alarm_id)
            finally:
                demo.stop_simulators()
        finally:
            stack.down()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
