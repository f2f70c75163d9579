"""The pictures of docs/console.md: `python -m integration.serve.picture FOLDER`, on a shift with a lifelike plant."""

import sys
import tempfile
import time
from pathlib import Path

from integration.serve.shift import Shift, on_shift
from playwright.sync_api import sync_playwright

_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_WIDE, _PHONE = (1280, 800), (390, 844)
# Name, address, size, light.
PICTURES = (
    ("live", "/", _WIDE, False),
    ("plant", "/overview", _WIDE, True),
    ("alarms", "/alarms", _WIDE, False),
    ("incident", "/incident/feed-pump-2/temperature/limit", _WIDE, False),
    ("handover", "/handover", _WIDE, True),
    ("alarm-health", "/alarm-health", _WIDE, False),
    ("detection", "/detection", _WIDE, False),
    ("phone", "/alarms", _PHONE, False),
)


def lived_in(shift: Shift) -> None:
    """What people did before the pictures are taken."""
    now = time.time_ns() // 1_000_000
    alarms = [("compressor-b/vibration/level-shift", "shelve", "bearing ordered", now + 3_600_000)]
    alarms += [("mixer/vibration/limit", "acknowledge", "", 0), ("feed-pump-2/temperature/limit", "comment", "", 0)]
    for alarm_id, action, comment, until in alarms:
        body = {"action": action, "alarms": [{"alarm_id": alarm_id}], "comment": comment or "is looked at"}
        shift.api("POST", "/alarms/actions", json=body | ({"until": until} if until else {}))
    mark = {"action": "mark", "alarms": [{"alarm_id": "mixer/vibration/limit"}], "mark": "false"}
    shift.api("POST", "/alarms/actions", json=mark)
    work = {"asset_id": "chiller", "start": now - 600_000, "end": now + 5_400_000, "note": "change of the filter"}
    shift.api("PUT", "/maintenance/chiller-filter", json=work)
    tried = {"layer": "metric", "name": "vibration", "settings": {"high": 2.9}, "hours": 24}
    shift.api("POST", "/detection/comparisons", json=tried)


def take(shift: Shift, folder: Path) -> None:
    """One picture each."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_ARGS)
        for name, path, (width, height), light in PICTURES:
            context = browser.new_context(viewport={"width": width, "height": height})
            for cookie, value in (("token", shift.tokens["operator"]), ("light", str(int(light)))):
                context.add_cookies([{"name": f"fieldstream-{cookie}", "value": value, "url": shift.url}])
            page = context.new_page()
            page.goto(shift.url + path)
            page.wait_for_timeout(8000)
            page.screenshot(path=folder / f"{name}.png", full_page=name not in ("live", "handover"))
            context.close()
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, on_shift(Path(place)) as running:
        time.sleep(10)
        lived_in(running)
        time.sleep(30)
        take(running, Path(sys.argv[1]))
