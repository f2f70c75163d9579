"""`python -m fieldstream_central.stream.submit JOB [CHECKPOINT]`: submits one job and exits.

A process of its own, because PyFlink keeps a Java machine for as long as its process lives.
"""

import importlib
import sys

from fieldstream_central.settings import load_settings

MODULES = {"pipeline": "pipeline", "detect": "detect_job"}

if __name__ == "__main__":
    module = importlib.import_module(f"fieldstream_central.stream.{MODULES[sys.argv[1]]}")
    restore_from = sys.argv[2] if len(sys.argv) > 2 else None
    module.submit(load_settings(), restore_from=restore_from)
