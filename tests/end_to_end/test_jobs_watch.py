"""`fieldstream jobs watch` shows what the keeper shows, though it keeps nothing: on Kubernetes the operator does."""

import subprocess
import urllib.request
from pathlib import Path

from local.layout import VENV
from prometheus_client.parser import text_string_to_metric_families

from end_to_end.conftest import Stack
from end_to_end.test_contract import eventually

OF_THE_KEEPER = "fieldstream_job_submissions"
Shown = dict[tuple[str, str], float]


def shown(port: int) -> Shown:
    """Our metrics at this port: name and labels to value; empty while nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name.startswith("fieldstream_") and not family.name.startswith(OF_THE_KEEPER)
    }


def test_the_jobs_are_watched_where_something_else_keeps_them(stack: Stack, tmp_path: Path) -> None:
    port = stack.layout.ports["jobs"]
    own = port + 5000
    settings = tmp_path / "fieldstream.toml"
    text = stack.layout.settings_file.read_text()
    settings.write_text(text.replace(f"jobs_metrics_port = {port}", f"jobs_metrics_port = {own}"))
    environment = stack.environment | {"FIELDSTREAM_CONFIG": str(settings)}
    with subprocess.Popen([VENV / "bin/fieldstream", "jobs", "watch"], env=environment) as watching:
        try:
            eventually(lambda: {*shown(port)} == {*shown(own)} != set())
            found = shown(own)
        finally:
            watching.terminate()
    assert {value for (name, _), value in found.items() if name == "fieldstream_job_running"} == {1.0}
    ages = [value for (name, _), value in found.items() if name == "fieldstream_job_checkpoint_age_seconds"]
    assert len(ages) == 2 and all(0 <= age < 300 for age in ages)
