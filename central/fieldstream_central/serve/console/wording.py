"""Numbers and times as a person reads them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fieldstream_central.serve.console import texts


def number(value: float) -> str:
    """1,234; from 100,000 on 123 k; from ten million on 12.3 M."""
    if value >= 10_000_000:
        return f"{value / 1e6:.1f} M"
    if value >= 100_000:
        return f"{value / 1e3:.0f} k"
    return f"{value:,.0f}"


def rate(value: float | None) -> str:
    """A rate per second: one decimal below ten."""
    if value is None:
        return "–"
    return f"{value:.1f}" if 0 < value < 9.95 else number(value)


def age(seconds: float) -> str:
    """4 s, 3 min, 2 h 05, 3 d."""
    seconds = max(seconds, 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds < 9.95 else "10 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 36 * 60:
        return f"{minutes // 60} h {minutes % 60:02d}"
    return f"{minutes // 1440} d"


def value(measured: float | None, unit: str | None = None) -> str:
    """A measured value to four significant digits, with its unit as people write it."""
    if measured is None:
        return "–"
    text = f"{measured:,.4g}" if abs(measured) < 10_000 else f"{measured:,.0f}"
    return f"{text} {unit_name(unit)}".rstrip()


_UNITS = {"Cel": "°C", "[degF]": "°F", "degF": "°F", "Ohm": "Ω", "m3/h": "m³/h", "1/min": "rpm", "mm/s": "mm/s"}


def unit_name(unit: str | None) -> str:
    """UCUM codes whose sign people know better."""
    return _UNITS.get(unit or "", unit or "")


def moment(text: str) -> datetime:
    """A time as ClickHouse writes it in ISO form."""
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def clock(epoch_ms: int | None) -> str:
    """Date and time of day in UTC; a dash for none."""
    return "–" if epoch_ms is None else datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%d %b %H:%M:%S")


def sensor(device_id: str, metric: str) -> str:
    """A sensor by its names; of a whole device the device alone."""
    return f"{device_id} · {metric}" if metric else device_id


def aside(alarm: Mapping[str, Any]) -> str:
    """Who has seen an alarm or set it aside, why and until when; of which incident it is a part."""
    hold = alarm["out_of_service"] or alarm["suppression"] or alarm["shelf"] or alarm["acknowledged"]
    words = [texts.PART_OF.format(alarm=alarm["parent"])] if alarm["parent"] else []
    if hold:
        words += [hold["who"], hold["comment"]]
        words += [texts.UNTIL.format(time=clock(hold["until"]))] if hold["until"] else []
    return ", ".join(word for word in words if word)
