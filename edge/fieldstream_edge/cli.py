"""The command `fieldstream-gateway`."""

import argparse
import ctypes
import logging
import sys
from contextlib import suppress
from pathlib import Path

from fieldstream_edge import __version__
from fieldstream_edge.config import ConfigError, load
from fieldstream_edge.spool.errors import SpoolError

_M_ARENA_MAX = -8  # malloc.h
_DEFAULT_CONFIG = Path("/etc/fieldstream/gateway.toml")


def main(argv: list[str] | None = None) -> int:
    """Exit status 0: done; 1: a problem, said on stderr; 2: wrong usage or configuration."""
    parser = argparse.ArgumentParser(
        prog="fieldstream-gateway", description="Readings from MQTT, kept on disk, to Kafka."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the gateway until SIGTERM")
    _config_option(run)
    run.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    run.set_defaults(function=_run)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.function(arguments))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (SpoolError, OSError) as error:
        print(f"fieldstream-gateway: {error}", file=sys.stderr)
        return 1


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=_DEFAULT_CONFIG, help=f"default {_DEFAULT_CONFIG}")


def _save_memory() -> None:
    """One heap for all threads: glibc would give each of librdkafka's its own, and keep what each once needed."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _run(arguments: argparse.Namespace) -> int:
    from fieldstream_edge.gateway import Gateway

    _save_memory()
    logging.basicConfig(level=arguments.log_level, format="%(asctime)s %(levelname)s %(threadName)s: %(message)s")
    Gateway(load(arguments.config)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
