"""The alert rules with shorter waits: a drill cannot wait ten minutes for each alert."""

import re

FACTOR = 20
UNITS_S = {"s": 1, "m": 60, "h": 3600}
WAITS = re.compile(r"(?P<before>\bfor: |\[)(?P<count>\d+)(?P<unit>[smh])\b")
AGES = re.compile(r"(?P<before>_seconds\)* > )(?P<count>\d{3,})\b")


def sooner(rules: str, factor: int = FACTOR) -> str:
    """Rules as text, every wait divided by `factor`: each `for`, each range, and ages of 100 s and more in seconds.

    All else stays, because it is no wait: shorter ages are tolerances (a clock's offset, the lag of a job at rest), and
    the days of a certificate are a date.
    """
    rules = WAITS.sub(
        lambda found: f"{found['before']}{int(found['count']) * UNITS_S[found['unit']] * 1000 // factor}ms", rules
    )
    return AGES.sub(lambda found: f"{found['before']}{int(found['count']) / factor:g}", rules)
