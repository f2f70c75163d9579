"""The command `fieldstream-gateway`."""

import argparse
import logging
import sys
from contextlib import suppress
from typing import Any

from fieldstream_edge import __version__
from fieldstream_edge.commands.settings_page import config_option
from fieldstream_edge.config import ConfigError, load
from fieldstream_edge.spool.errors import SpoolError

_M_ARENA_MAX = -8  # malloc.h


def main(argv: list[str] | None = None) -> int:
    """Exit status 0: done; 1: a problem, said on stderr; 2: wrong usage or configuration."""
    parser = argparse.ArgumentParser(
        prog="fieldstream-gateway", description="Readings from MQTT, kept on disk, to Kafka."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the gateway until SIGTERM")
    config_option(run)
    run.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    run.set_defaults(function=_run)
    given = sys.argv[1:] if argv is None else argv
    if given[:1] != ["run"]:  # what `run` does not need would only cost it memory
        _add_others(commands)
    arguments = parser.parse_args(given)
    try:
        return int(arguments.function(arguments))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (SpoolError, OSError) as error:
        print(f"fieldstream-gateway: {error}", file=sys.stderr)
        return 1


def _add_others(commands: Any) -> None:
    from fieldstream_edge.commands import doctor, map_try, settings_page, spool_files, status

    for command in (settings_page, doctor, status, spool_files, map_try):
        command.add(commands)


def _save_memory() -> None:
    """One heap for all threads: glibc would give each of librdkafka's its own, and keep what each once needed."""
    with suppress(ImportError, OSError, AttributeError, MemoryError):  # a hardened unit may forbid what ctypes needs
        import ctypes

        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _run(arguments: argparse.Namespace) -> int:
    from fieldstream_edge.gateway import Gateway

    _save_memory()
    logging.basicConfig(level=arguments.log_level, format="%(asctime)s %(levelname)s %(threadName)s: %(message)s")
    Gateway(load(arguments.config), config=arguments.config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
