"""The plant of one drill: names of its own, so that drills can follow each other on one stack and be told apart."""

from pathlib import Path

ASSETS = 12
METRICS = 5
FAULT_STARTS_S = (5, 9, 13)  # one asset each: an incident that somebody must be told, and once
FAULT_S = 25  # a whole window of 10 s lies within, whatever the phase
SILENT_S = 3600


def device(name: str, number: int) -> str:
    """Id of a device of the drill's plant, which is also its asset's."""
    return f"{name}-{number:02}"


def write_plant(path: Path, name: str, *, silent_from_s: float | None = None) -> Path:
    """A plant file: ASSETS devices of METRICS sensors at 5 Hz, range faults on the first three.

    `silent_from_s`: all devices but the first fall silent then, and whole Kafka partitions with them; the first alone
    has its fault.
    """
    parts = [f'site = "{name}"\n']
    for number in range(ASSETS):
        parts.append(
            f'[[asset]]\nid = "{device(name, number)}"\ntype = "drilled"\narea = "chaos"\n'
            f'[[asset.device]]\nid = "{device(name, number)}"\n'
        )
        parts += [
            f'[[asset.device.sensor]]\nmetric = "m{metric}"\nperiod_ms = 200\n'
            "base = 50.0\nnoise = 0.5\nhigh_high = 100.0\n"
            for metric in range(METRICS)
        ]
    faults: list[tuple[str, str, str, float, float]] = [
        (device(name, number), "m0", "range", start_s, FAULT_S) for number, start_s in enumerate(FAULT_STARTS_S)
    ]
    if silent_from_s is not None:
        faults = faults[:1] + [
            (device(name, number), f"m{metric}", "gap", silent_from_s, SILENT_S)
            for number in range(1, ASSETS)
            for metric in range(METRICS)
        ]
    parts += [
        f'[[fault]]\ndevice = "{of}"\nmetric = "{metric}"\nkind = "{kind}"\nstart_s = {start}\nduration_s = {length}\n'
        for of, metric, kind, start, length in faults
    ]
    path.write_text("\n".join(parts))
    return path
