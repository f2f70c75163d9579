"""`python -m fieldstream_central.stream.submit JOB [CHECKPOINT | --plan-only]`: submits or plans one job and exits.

A process of its own, because PyFlink keeps a Java machine for as long as its process lives.
"""

import importlib
import sys

from fieldstream_central.settings import load_settings

MODULES = {"pipeline": "pipeline", "detect": "detect_job"}

if __name__ == "__main__":
    name, argument = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    module = importlib.import_module(f"fieldstream_central.stream.{MODULES[name]}")
    if argument == "--plan-only":
        module.prepare(load_settings(), restore_from=None).explain()
    else:
        module.prepare(load_settings(), restore_from=argument).execute()
