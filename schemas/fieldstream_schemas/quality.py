"""Quality of a reading: the device's own word, and bits for what the gateway and the pipeline saw."""

from enum import IntFlag

GOOD, UNCERTAIN, BAD = "good", "uncertain", "bad"
LEVELS = (GOOD, UNCERTAIN, BAD)


class Flag(IntFlag):
    """Bits of `flags`. A number once given is never reused: it stands in stored data."""

    TS_ABSENT = 1  # the device sent no event time: the broker's time, or else the gateway's receive time stands in
    TS_ABSURD = 2  # event time before 2000 or unreadable as a date: replaced likewise
    TS_FUTURE = 4  # event time ahead of the gateway's clock beyond the tolerance: replaced likewise
    UNKNOWN_SENSOR = 8  # not in the asset registry: stored, not enriched
    DEVICE_DEAD = 16  # the device's session had ended (Sparkplug death) when this value was sent
    HISTORICAL = 32  # the device marked the value as buffered earlier


def names(flags: int) -> list[str]:
    """Names of the bits set in `flags`, lower case with hyphens."""
    return [flag.name.lower().replace("_", "-") for flag in Flag if flags & flag and flag.name]
