"""`python -m fieldstream_central.stream.submit JOB [CHECKPOINT] [--when-told | --rehearsal]`: submits one job.

A process of its own, because PyFlink keeps a Java machine for as long as its process lives.
"""

import argparse
import importlib
import sys

from fieldstream_central.settings import load_settings
from fieldstream_central.stream.cluster import restoring

PLANNED = "planned"
MODULES = {"pipeline": "pipeline", "detect": "detect_job"}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=MODULES)
    parser.add_argument("checkpoint", nargs="?")
    # Plans, says so, and waits for a savepoint on standard input: so that between stop and start of a job is little.
    parser.add_argument("--when-told", action="store_true")
    parser.add_argument("--rehearsal", action="store_true")
    asked = parser.parse_args()
    module = importlib.import_module(f"fieldstream_central.stream.{MODULES[asked.job]}")
    statements = module.prepare(load_settings(), restore_from=asked.checkpoint, rehearsal=asked.rehearsal)
    if asked.when_told:
        statements.explain()
        print(PLANNED, flush=True)  # noqa: T201
        if not (savepoint := sys.stdin.readline().strip()):
            sys.exit("nobody gave a savepoint")
        for key, value in restoring(asked.job, savepoint).items():
            statements._t_env.get_config().set(key, value)
    statements.execute()
