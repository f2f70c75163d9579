"""What a drill is judged by: an oracle that shares no code with the product, and the product's own audit beside it."""

import json
import time
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

from fieldstream_central.store.audit import audit
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError
from local import oracle

from chaos.world import World

SETTLE_S = 300.0
GATEWAY = "gateway-local"
MUST_BE_ZERO = ("missing", "duplicates", "unexpected", "altered", "windows_wrong", "bad_messages_unaccounted",
                "notifications_lost", "notifications_doubled", "audit_disagrees")  # fmt: skip

Verdict = dict[str, int]


def settled(world: World, since_ms: int, settle_s: float = SETTLE_S) -> tuple[oracle.Truth, Verdict, float]:
    """Waits, bounded, until nothing is wrong any more. Returns truth, verdict and the seconds it took."""
    truth = oracle.Truth.read(sorted(path.parent for path in world.drill_folder.glob("*/published.csv")))
    truth.acknowledged -= world.removed
    started = time.monotonic()
    verdict: Verdict = {}
    while time.monotonic() - started < settle_s:
        try:
            rejects = oracle.check_rejects(truth, world.store)
            verdict = oracle.check_readings(truth, world.store) | oracle.check_windows(truth, world.store)
            verdict |= check_notifications(truth, notifications(world), since_ms)
            verdict["bad_messages_unaccounted"] = rejects
            # Read last: it judges by heartbeats that are some seconds old.
            verdict["audit_disagrees"] = audit_disagrees(world, verdict)
        except (OSError, urllib.error.URLError, ClickHouseError):
            pass  # ClickHouse may still be starting
        if whole(verdict):
            break
        time.sleep(2)
    return truth, verdict, time.monotonic() - started


def whole(verdict: Verdict) -> bool:
    """Nothing missing, doubled, altered or wrong, and something was looked at."""
    return bool(verdict) and all(verdict[name] == 0 for name in MUST_BE_ZERO) and verdict["windows_checked"] > 0


def notifications(world: World) -> list[dict[str, Any]]:
    """What the mailbox received by webhook, oldest first."""
    with urllib.request.urlopen(world.layout.url("mailbox") + "/notifications?limit=1000", timeout=5) as answer:  # noqa: S310
        received: list[dict[str, Any]] = json.load(answer)
    return [entry for entry in reversed(received) if entry["channel"] == "webhook"]


def check_notifications(truth: oracle.Truth, received: list[dict[str, Any]], since_ms: int) -> Verdict:
    """notifications_lost: faults beyond a limit that nobody was told; notifications_doubled: messages that say again
    what the message before them, of the same asset, has said."""
    told: dict[str, list[set[tuple[str, str]]]] = defaultdict(list)
    for entry in received:
        if entry["received_at_ms"] >= since_ms:
            said = {(alert["labels"].get("incident", ""), alert["status"]) for alert in entry["alerts"]}
            told[entry["labels"].get("asset", "")].append(said)
    faults = {fault.asset_id for fault in truth.faults if fault.kind == "range"}
    firing = {asset for asset, messages in told.items() if any(s == "firing" for m in messages for _, s in m)}
    doubled = sum(
        later == earlier for asset in faults for earlier, later in zip(told[asset], told[asset][1:], strict=False)
    )
    return {"notifications_lost": len(faults - firing), "notifications_doubled": doubled}


def audit_disagrees(world: World, verdict: Verdict) -> int:
    """By how many readings the product's audit of the gateway differs from what the oracle counts."""
    with ClickHouse(world.layout.url("clickhouse")) as clickhouse:
        found = audit(clickhouse, gateway_id=GATEWAY)
    made = len(world.removed)
    [row] = world.store.query(f"SELECT count() AS n FROM fieldstream.readings WHERE gateway_id = '{GATEWAY}'")
    in_store: int = row["n"]
    missing = sum(item.missing for item in found)
    duplicates = sum(item.duplicates for item in found)
    stored = sum(item.stored for item in found)
    return (
        abs(missing - made - verdict["missing"])
        + abs(duplicates - verdict["duplicates"])
        + abs(stored - in_store)
        + sum(item.underway for item in found)
    )


def truth_folder(world: World, name: str) -> Path:
    """A new truth folder of the drill in hand."""
    folder = world.drill_folder / name
    folder.mkdir(parents=True)
    return folder
