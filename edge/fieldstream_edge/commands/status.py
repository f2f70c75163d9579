# ruff: noqa: T201 - commands print
"""`status`: how a running gateway is, live in a terminal."""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from fieldstream_edge.commands.settings_page import config_option
from fieldstream_edge.config import load
from fieldstream_edge.health import headline, lines
from fieldstream_edge.settings import GatewaySettings


def add(commands: Any) -> None:
    """Declares `status`."""
    parser = commands.add_parser("status", help="how the running gateway is")
    config_option(parser)
    parser.add_argument("--json", action="store_true", help="once, as JSON")
    parser.add_argument("--watch", action="store_true", help="every second, until Ctrl-C")
    parser.set_defaults(function=_status)


def _status(arguments: argparse.Namespace) -> int:
    settings = load(arguments.config)
    while True:
        status = fetch(settings)
        if status is None:
            print(f"no gateway answers on http://{settings.http.host}:{settings.http.port}: is it running?")
            return 1
        if arguments.json:
            print(json.dumps(status, indent=2))
            return 0
        if arguments.watch and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        print(text(status))
        if not arguments.watch:
            return 0 if status["ready"] else 1
        try:
            time.sleep(1)
        except KeyboardInterrupt:
            return 0


def fetch(settings: GatewaySettings) -> dict[str, Any] | None:
    """The running gateway's status, or None when none answers."""
    url = f"http://{settings.http.host}:{settings.http.port}/status.json"
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            status: dict[str, Any] = json.load(answer)
            return status
    except (OSError, ValueError):
        return None


def text(status: dict[str, Any]) -> str:
    """The status as text."""
    width = max(len(name) for name, _ in lines(status))
    shown = [f"Gateway {status['gateway_id']}: {headline(status)}"]
    shown += [f"  ! {problem}" for problem in status["problems"]]
    shown += [f"  {name.ljust(width)}  {value}" for name, value in lines(status)]
    return "\n".join(shown)
