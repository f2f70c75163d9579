# ruff: noqa: T201 - commands print
"""`map --try TOPIC PAYLOAD`: what the gateway would make of a message."""

import argparse
import sys
import time
from typing import Any

from fieldstream_edge.commands.settings_page import config_option
from fieldstream_edge.config import load
from fieldstream_edge.event_time import judge
from fieldstream_edge.intake.topics import Router
from fieldstream_edge.payloads.decoded import Decoded, Item, PayloadError
from fieldstream_edge.payloads.json import decode_metric


def add(commands: Any) -> None:
    """Declares `map`."""
    parser = commands.add_parser("map", help="what a message would become: map --try TOPIC PAYLOAD")
    config_option(parser)
    parser.add_argument("--try", dest="message", nargs=2, metavar=("TOPIC", "PAYLOAD"), required=True,
                        help="PAYLOAD: text, hex:0A1B..., or - for standard input")  # fmt: skip
    parser.set_defaults(function=_map)


def _map(arguments: argparse.Namespace) -> int:
    settings = load(arguments.config)
    topic, text = arguments.message
    if text == "-":
        payload = sys.stdin.buffer.read()
    else:
        payload = bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode()
    route = Router(settings.mapping).route(topic)
    received = int(time.time() * 1000)
    try:
        if route.problem:
            raise PayloadError("bad-topic", route.problem)
        if route.decode is None:
            found = decode_metric(payload)
            decoded = found if isinstance(found, Decoded) else Decoded(items=found)
        else:
            decoded = route.decode(payload, received)
    except PayloadError as error:
        print(f"dead letter {error.reason}: {error.detail}")
        return 1
    horizon = received + int(settings.intake.future_tolerance_s * 1000)
    for item in decoded.items:
        _show(route.device_id, route.metric, item, horizon)
    for named in decoded.named:
        _show(named.device_id or route.device_id, named.metric, named.item, horizon)
    for refused in decoded.refused:
        print(f"dead letter {refused.reason}: {refused.detail}")
    return 1 if decoded.refused else 0


def _show(device_id: str, metric: str, item: Item, horizon: int) -> None:
    try:
        ts, replaced = judge(item.ts, horizon)
    except PayloadError as error:
        print(f"dead letter {error.reason}: {error.detail}")
        return
    time_text = f"receive time ({replaced.name})" if replaced else time.strftime("%FT%T", time.gmtime(ts / 1000))
    unit = f" {item.unit}" if item.unit else ""
    print(f"reading {device_id} {metric} = {item.value}{unit} at {time_text}, quality {item.quality or 'good'}")
