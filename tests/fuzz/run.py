"""`python -m fuzz.run --inputs N [--seed S] [--target NAME]`: every decoder in turn; the last line is one JSON object.

Exit status 1 if anything was found. `make fuzz` runs ten million inputs.
"""

import argparse
import json
import logging
import sys
import time

from fuzz.engine import Outcome, run
from fuzz.targets import targets


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", default="")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    chosen = [target for target in targets() if asked.target in ("", target.name)]
    share = asked.inputs / sum(1 / target.cost for target in chosen)
    outcomes: list[Outcome] = []
    for target in chosen:
        started = time.monotonic()
        outcome = run(target, max(1, int(share / target.cost)), asked.seed)
        outcomes.append(outcome)
        rate = outcome.inputs / (time.monotonic() - started)
        print(f"{target.name:<18} {outcome.inputs:>9} inputs {outcome.refused:>9} refused {rate:>8.0f}/s "
              f"{outcome.memory_mb:>6.1f} MB {'' if outcome.clean else 'FOUND'}", flush=True)  # fmt: skip
        for trouble in (*outcome.crashes, *(f"slow: {one}" for one in outcome.slow)):
            print(f"  {trouble}")
    total = sum(outcome.inputs for outcome in outcomes)
    found = [outcome.name for outcome in outcomes if not outcome.clean]
    print(json.dumps({"inputs": total, "targets": len(outcomes), "found": found, "seed": asked.seed}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
