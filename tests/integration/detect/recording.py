"""Windows of a small plant with faults of many kinds: a day and a half, a reading a minute, like assets among them."""

import math
import random

from fieldstream_central.detect.model import Window
from fieldstream_central.detect.windows import Key, SensorEntry, Windower

START_MS = 1_795_500_000_000
MINUTES = 2200


def recorded_windows() -> list[Window]:
    """Window rows in order of event time."""
    keys: list[Key] = [(f"pump-{number}", metric) for number in (1, 2, 3) for metric in ("flow", "power", "heat")]
    registry = {key: SensorEntry(key[0], "pump", "x", high=120.0) for key in keys}
    windower, rng = Windower(registry), random.Random(5)
    rows: list[Window] = []
    load = dict.fromkeys(("pump-1", "pump-2", "pump-3"), 0.0)
    for minute in range(MINUTES):
        at_ms = START_MS + minute * 60_000
        for pump in load:
            load[pump] = 0.99 * load[pump] + rng.gauss(0, 0.3)
        weather = 2.0 * math.sin(minute / 229.0)
        for device, metric in keys:
            gain = {"flow": 3.0, "power": -2.0, "heat": 1.0}[metric]
            value = 50 + gain * load[device] + weather * (metric == "heat") + rng.gauss(0, 0.3)
            value = _faulty(device, metric, minute, value)
            if not math.isnan(value):
                rows += windower.add((device, metric), at_ms, round(value, 3))
    rows += windower.finish()
    return rows


def _faulty(device: str, metric: str, minute: int, value: float) -> float:
    match device, metric:
        case "pump-1", "flow" if 1500 <= minute < 1560:
            return 47.123  # stuck
        case "pump-1", "heat" if 1800 <= minute < 2000:
            return value + 9.0  # shift
        case "pump-2", "power" if 1600 <= minute < 1640:
            return 130.0  # limit
        case "pump-3", "heat" if minute == 1700:
            return value + 20.0  # spike
    return value
