"""Writes what is made from the declarations; `--check` only says what is not as it should be.

PYTHONPATH=deploy .venv/bin/python -m declared.write [--check]
"""

import sys
from collections.abc import Iterable

import yaml
from fieldstream_schemas.rights import COMPONENTS
from fieldstream_schemas.topics import TOPICS
from local.layout import DEFAULT_PORTS, ROOT

from declared import access, compose, metrics, reference
from declared.tiers import SCALED, STATE_BYTES_PER_SENSOR, TIERS

CHART = ROOT / "deploy" / "kubernetes" / "fieldstream"
CAPACITY = ROOT / "docs" / "capacity.md"
SECURITY = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- tiers: made by declared.write -->\n", "<!-- end -->\n"
BEGIN_RIGHTS = "<!-- rights: made by declared.write -->\n"
NOTE = "# Made by `python -m declared.write`; a test compares.\n"


def files() -> dict[str, str]:
    """Path below the root -> what stands there."""
    chart = CHART.relative_to(ROOT)
    made = {f"{chart}/files/declared.yaml": NOTE + yaml.safe_dump(declared(), sort_keys=False)}
    for tier in TIERS:
        head = f"{NOTE}# {tier.rate:,} readings/s, steady; twice of it for a while. The arithmetic: docs/capacity.md.\n"
        made[f"{chart}/tiers/{tier.name}.yaml"] = head + yaml.safe_dump(tier.values(), sort_keys=False)
    made[f"{chart}/files/rules.yml"] = NOTE + (ROOT / "deploy/prometheus/fieldstream-rules.yml").read_text()
    made[f"{chart}/files/access.yaml"] = NOTE + yaml.safe_dump(
        access.access(), sort_keys=False, width=120, default_flow_style=None
    )
    made[f"{chart}/files/registry.properties"] = NOTE + access.registry()
    made[f"{chart}/files/connector.json"] = (ROOT / "deploy/assets/connector.json").read_text()
    made |= {path: NOTE + text for path, text in compose.files().items()}
    made["docs/metrics.md"] = metrics.text()
    made["docs/settings.md"] = reference.text()
    for page, begin, text in (CAPACITY, BEGIN, table()), (SECURITY, BEGIN_RIGHTS, rights_table()):
        before, _, rest = page.read_text().partition(begin)
        made[str(page.relative_to(ROOT))] = before + begin + text + END + rest.partition(END)[2]
    return made


def declared() -> dict[str, object]:
    """Topics and ports, as the chart reads them."""
    topics = [
        {"name": topic.name, "partitions": topic.partitions, "scaled": topic in SCALED, "config": topic.config}
        for topic in TOPICS.values()
    ]
    return {"topics": topics, "ports": DEFAULT_PORTS}


def rights_table() -> str:
    """Every component's rights in Kafka as a table."""
    rows = ["| component | may read | may write | groups | more |", "|---" * 5 + "|"]
    for one in COMPONENTS.values():
        more = [f"sees the lag of {_code(one.watched_groups)}"] if one.watched_groups else []
        more += (
            [f"creates {'every topic' if set(one.creates) == set(TOPICS) else _code(one.creates)}"]
            if one.creates
            else []
        )
        more += [f"asks for the offsets of {_code(t.name for t in one.watches)}"] if one.watches else []
        more += [f"writes {_code(one.rehearses)}"] if one.rehearses else []
        more += [f"reads {_code(one.follows)}"] if one.follows else []
        more += [f"keeps {_code(one.keeps)}"] if one.keeps else []
        more += [f"deletes {_code(one.deletes)}"] if one.deletes else []
        cells = [_code(topic.name for topic in topics) or "-" for topics in (one.reads, one.writes)]
        cells += [_code(one.groups) or "-", "; ".join(more) or "-"]
        rows.append(f"| **{one.name}**: {one.does} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def table() -> str:
    """The tiers as a table."""
    rows = ["| | " + " | ".join(tier.name for tier in TIERS) + " |", "|---" * (len(TIERS) + 1) + "|"]
    for label, cells in {
        "readings/s, steady": [f"{t.rate:,}" for t in TIERS],
        "cores: TaskManagers": [f"{t.cores('taskmanager'):.1f}" for t in TIERS],
        "cores: ClickHouse, one copy": [f"{t.cores('clickhouse'):.1f}" for t in TIERS],
        "cores: each broker": [f"{t.broker_cores:.1f}" for t in TIERS],
        "cores: loaders": [f"{t.cores('loader'):.1f}" for t in TIERS],
        "slots of `pipeline` / `detect`": [f"{t.slots} / {t.detect_slots}" for t in TIERS],
        "partitions of `readings.*`, `windows`": [str(t.partitions) for t in TIERS],
        "Flink state": [f"{t.rate * STATE_BYTES_PER_SENSOR / 1e6:,.0f} MB" for t in TIERS],
        "disk of each of the brokers": [f"{t.brokers} x {t.broker_gib:,} GiB" for t in TIERS],
        "ClickHouse shards, disk of each replica": [f"{t.shards} x 2 x {t.clickhouse_gib:,} GiB" for t in TIERS],
        "loaders": [str(t.loaders) for t in TIERS],
        "cores of everything": [f"{t.cores_rented:.0f}" for t in TIERS],
        "euros a month, as assumed below": [f"{t.monthly_price:,.0f}" for t in TIERS],
        "euros per million readings": [f"{t.monthly_price / (t.rate * 2.592):.4f}" for t in TIERS],
    }.items():
        rows.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def main() -> int:
    """Writes or checks; returns the exit status."""
    stale = []
    for path, text in files().items():
        file = ROOT / path
        if not file.exists() or file.read_text() != text:
            stale.append(path)
            if "--check" not in sys.argv:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
    print("\n".join(f"{path}: {'is stale' if '--check' in sys.argv else 'written'}" for path in stale) or "up to date")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
