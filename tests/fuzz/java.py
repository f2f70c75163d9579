"""The pipeline's Java decoder likewise, in a Java machine of 100 MB: `python -m fuzz.java INPUTS SEED`."""

import json
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from fieldstream_schemas.registry import frame_header
from fieldstream_schemas.topics import READINGS_RAW, parsed_schema

ROOT = Path(__file__).resolve().parents[2]
JAVA = ROOT / "var" / "java"


def fuzz_java(folder: Path, *, inputs: int, seed: int) -> dict[str, Any]:
    """How many inputs were readings and dead letters, and what was found; empty: nothing."""
    cache = folder / "var" / "schemas"  # where the decoder looks when no job tells it
    cache.mkdir(parents=True)
    (cache / "1.avsc").write_text(READINGS_RAW.schema_text)
    reading = {
        **{"gateway_id": "g", "epoch": 1, "seq": 2, "device_id": "d", "metric": "m", "ts": 1_795_517_640_000},
        **{"value": 1.5, "unit": "Cel", "operator": "Ada", "received_at": 5},
    }
    seeds = []
    for record in (reading, reading | {"unit": None, "operator": None}):
        out = BytesIO()
        fastavro.schemaless_writer(out, parsed_schema(READINGS_RAW), record)
        seeds.append((frame_header(1) + out.getvalue()).hex())
    classes = f"{JAVA}/flink/lib/*:{JAVA}/fieldstream-functions.jar"
    source = Path(__file__).with_name("DecodeFuzz.java")
    command = ["java", "-Xmx100m", "-cp", classes, str(source), str(inputs), str(seed), *seeds]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        result = fuzz_java(Path(scratch), inputs=int(sys.argv[1]), seed=int(sys.argv[2]))
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(bool(result["found"]))
