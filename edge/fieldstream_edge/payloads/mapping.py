"""Foreign topics and payloads by configuration: `[[mapping]]`."""

import json
import re
from typing import Any

from fieldstream_edge.payloads.decoded import Decoded, Item, Named, PayloadError
from fieldstream_edge.payloads.json import check_value, decode_device, decode_metric, encodable
from fieldstream_edge.settings import MappingSettings

_MS_PER = {"ms": 1.0, "s": 1000.0, "us": 0.001, "ns": 0.000001}


class Mapping:
    """One `[[mapping]]`, ready to match topics and decode payloads."""

    def __init__(self, settings: MappingSettings) -> None:
        """Raises ValueError for a topic pattern that cannot be."""
        self.settings = settings
        self._pattern = re.compile(topic_pattern(settings.topic))

    def match(self, topic: str) -> tuple[str, str] | None:
        """Device and metric of the topic (empty where it names none), or None when it does not fit."""
        found = self._pattern.fullmatch(topic)
        if found is None:
            return None
        groups = found.groupdict()
        return groups.get("device") or self.settings.device, groups.get("metric") or self.settings.metric

    def decode(self, payload: bytes, device_id: str, metric: str, received_ms: int) -> Decoded:
        """Readings of a message on a topic that matched. Raises PayloadError."""
        if self.settings.format in ("senml-json", "senml-cbor"):
            from fieldstream_edge.payloads import senml  # CBOR: only where it is spoken

            decode = senml.decode_json if self.settings.format == "senml-json" else senml.decode_cbor
            return decode(payload, device_id, received_ms)
        if self.settings.format == "contract":
            return _contract(payload, device_id, metric)
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise PayloadError("not-json", f"neither a number nor JSON: {error}") from error
        decoded = Decoded()
        for element in document if isinstance(document, list) else [document]:
            decoded.named += self._element(element, device_id, metric)
        return decoded

    def _element(self, element: Any, device_id: str, metric: str) -> list[Named]:
        settings = self.settings
        if settings.device_field:
            device_id = _text(_at(element, settings.device_field), settings.device_field) or device_id
        if settings.metric_field:
            metric = _text(_at(element, settings.metric_field), settings.metric_field) or metric
        if not device_id:
            raise PayloadError("bad-form", "neither topic nor payload names the device; see [[mapping]]")
        ts = self._ts(_at(element, settings.ts_field)) if settings.ts_field else None
        unit = _text(_at(element, settings.unit_field), settings.unit_field) if settings.unit_field else None
        quality = (
            _text(_at(element, settings.quality_field), settings.quality_field) if settings.quality_field else None
        )
        paths = settings.fields or {metric: settings.value_field}
        named = []
        for name, path in paths.items():
            raw = _at(element, path) if path else element
            if raw is None and settings.fields:
                continue  # not every message carries every field
            value = check_value(raw) * settings.scale + settings.offset
            named.append(Named(name, Item(value, ts, unit or settings.unit or None, quality), device_id))
        if not named:
            raise PayloadError("bad-form", f"the payload has none of the mapped fields: {', '.join(paths.values())}")
        return named

    def _ts(self, value: Any) -> int | str | None:
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise PayloadError("bad-timestamp", f"`{self.settings.ts_field}` is neither a number nor a date")
        try:
            return int(value * _MS_PER[self.settings.ts_unit])
        except (OverflowError, ValueError):
            return 0


def topic_pattern(pattern: str) -> str:
    """Regular expression for a topic pattern: levels, `+`, a last `#`, `{device}` and `{metric}` within a level.

    Raises ValueError when the same name stands twice or `#` not last.
    """
    levels = pattern.split("/")
    if "#" in levels[:-1] or pattern.count("{device}") > 1 or pattern.count("{metric}") > 1:
        raise ValueError("`#` must be the last level, {device} and {metric} may stand once each")
    parts = []
    for level in levels:
        text = re.escape(level).replace(r"\{device\}", "(?P<device>[^/]+)").replace(r"\{metric\}", "(?P<metric>[^/]+)")
        parts.append({"+": "[^/]+", "#": ".*", r"\+": "[^/]+", r"\#": ".*"}.get(text, text))
    return "/".join(parts)


def _contract(payload: bytes, device_id: str, metric: str) -> Decoded:
    if not metric:
        return decode_device(payload)
    decoded = decode_metric(payload)
    whole = decoded if isinstance(decoded, Decoded) else Decoded(items=decoded)
    return Decoded(named=[Named(metric, item, device_id) for item in whole.items], refused=whole.refused)


def _at(document: Any, path: str) -> Any:
    """The value at a dotted path; a number selects from an array; None when it is not there."""
    for step in path.split("."):
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isdigit() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def _text(value: Any, path: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PayloadError("bad-form", f"`{path}` is not a text")
    return encodable(str(value))
