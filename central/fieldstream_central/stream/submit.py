"""`python -m fieldstream_central.stream.submit JOB [CHECKPOINT] [--plan-only | --rehearsal]`: submits one job.

A process of its own, because PyFlink keeps a Java machine for as long as its process lives.
"""

import argparse
import importlib

from fieldstream_central.settings import load_settings

MODULES = {"pipeline": "pipeline", "detect": "detect_job"}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=MODULES)
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--plan-only", action="store_true")
    parser.add_argument("--rehearsal", action="store_true")
    asked = parser.parse_args()
    module = importlib.import_module(f"fieldstream_central.stream.{MODULES[asked.job]}")
    statements = module.prepare(load_settings(), restore_from=asked.checkpoint, rehearsal=asked.rehearsal)
    if asked.plan_only:
        statements.explain()
    else:
        statements.execute()
