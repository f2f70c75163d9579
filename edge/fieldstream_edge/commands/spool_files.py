# ruff: noqa: T201 - commands print
"""`spool ls | verify | repair | export | import`: look into the buffer, of a gateway that is stopped or running.

`ls`, `verify` and `export` only read, and may be used while the gateway runs. `repair` and `import` take ownership.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fieldstream_edge.commands.settings_page import config_option
from fieldstream_edge.config import load
from fieldstream_edge.settings import GatewaySettings
from fieldstream_edge.spool.batch import Batch, DeadLetter, Descriptor, StoredBatch
from fieldstream_edge.spool.errors import DamagedBatchError
from fieldstream_edge.spool.format import (
    BATCH_HEADER_BYTES,
    FOOTER_BYTES,
    SEGMENT_HEADER_BYTES,
    Footer,
    SegmentHeader,
    scan,
    unpack_body,
)
from fieldstream_edge.spool.ledger import Spool, load_keys
from fieldstream_edge.spool.recovery import Cursor
from fieldstream_edge.spool.segment import read

_IMPORT_BATCH = 5000


def add(commands: Any) -> None:
    """Declares `spool`."""
    parser = commands.add_parser("spool", help="look into the buffer on disk")
    parser.add_argument("what", choices=("ls", "verify", "repair", "export", "import"))
    config_option(parser)
    parser.add_argument("--file", type=Path, help="export to or import from this file instead of stdout, stdin")
    parser.add_argument("--all", action="store_true", help="export: delivered entries too, as far as they are kept")
    parser.set_defaults(function=_spool)


def _spool(arguments: argparse.Namespace) -> int:
    settings = load(arguments.config)
    if not settings.spool_dir.exists():
        print(f"no spool in {settings.spool_dir}: the gateway has not run yet, or state_dir is another one")
        return 1
    actions = {"ls": _list, "verify": _verify, "repair": _repair, "export": _export, "import": _import}
    return actions[arguments.what](settings, arguments)


def _segments(directory: Path) -> list[tuple[int, Path]]:
    return sorted((int(path.stem), path) for path in directory.glob("*.seg") if path.stem.isdigit())


def _list(settings: GatewaySettings, _: argparse.Namespace) -> int:
    delivered = Cursor.load(settings.spool_dir) or 0
    print(f"{'segment':>20} {'last seq':>14} {'readings':>10} {'bytes':>10}  newest entry received   state")
    for first_seq, path in _segments(settings.spool_dir):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - FOOTER_BYTES))
            footer = Footer.unpack(file.read())
        if footer is None:
            print(f"{first_seq:>20} {'-':>14} {'-':>10} {path.stat().st_size:>10}  {'-':22}  open")
            continue
        newest = time.strftime("%F %T", time.gmtime(footer.newest_received / 1000))
        state = "delivered" if footer.last_seq <= delivered else "waiting"
        size = path.stat().st_size
        print(f"{first_seq:>20} {footer.last_seq:>14} {footer.readings:>10} {size:>10}  {newest:22}  {state}")
    print(f"everything up to seq {delivered} is delivered")
    return 0


def _read_segment(settings: GatewaySettings, first_seq: int, path: Path) -> Iterator[StoredBatch | DamagedBatchError]:
    data = read(path)
    table: list[Descriptor] = []
    try:
        cipher = SegmentHeader.unpack(bytes(data[:SEGMENT_HEADER_BYTES])).cipher(load_keys(settings.spool))
    except DamagedBatchError:
        cipher = None
    for at, header in scan(data, first_seq):
        try:
            yield unpack_body(data[at : at + BATCH_HEADER_BYTES + header.body_bytes], header, table, cipher)
        except DamagedBatchError as error:
            yield error


def _damage(settings: GatewaySettings, first_seq: int, path: Path, following: int | None) -> list[str]:
    """What is wrong with a segment."""
    found, expected = [], first_seq
    for batch in _read_segment(settings, first_seq, path):
        if isinstance(batch, DamagedBatchError):
            found.append(str(batch))
            continue
        if batch.first_seq > expected:
            found.append(f"seq {expected} to {batch.first_seq - 1} cannot be read")
        expected = batch.last_seq + 1
    data = read(path)
    footer = Footer.unpack(bytes(data[-FOOTER_BYTES:]))
    end = footer.last_seq + 1 if footer else following
    if end is not None and expected < end:
        found.append(f"seq {expected} to {end - 1} cannot be read")
    return found


def _verify(settings: GatewaySettings, _: argparse.Namespace) -> int:
    segments = _segments(settings.spool_dir)
    damaged = 0
    for number, (first_seq, path) in enumerate(segments):
        following = segments[number + 1][0] if number + 1 < len(segments) else None
        for problem in _damage(settings, first_seq, path, following):
            damaged += 1
            print(f"{path.name}: {problem}")
    print(f"{len(segments)} segments, {damaged} damaged places")
    if damaged:
        print("the gateway skips them; `spool repair` sets damaged files aside and keeps what is readable")
    return 1 if damaged else 0


def _repair(settings: GatewaySettings, _: argparse.Namespace) -> int:
    """Copies damaged files aside. The gateway itself reads around damage, so nothing is rewritten."""
    spool = Spool(settings.spool_dir, settings.gateway_id, settings.spool)  # recovers, and proves ownership
    try:
        aside = settings.spool_dir / f"damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        segments, count = _segments(settings.spool_dir), 0
        for number, (first_seq, path) in enumerate(segments):
            following = segments[number + 1][0] if number + 1 < len(segments) else None
            problems = _damage(settings, first_seq, path, following)
            if problems:
                aside.mkdir(exist_ok=True)
                (aside / path.name).write_bytes(path.read_bytes())
                count += 1
                print(f"{path.name}: {'; '.join(problems)}; the original is kept in {aside}")
        print(f"{count} damaged segments; readable entries stay in the spool")
        print(f"torn bytes cut off: {spool.counters.torn_bytes}")
    finally:
        spool.close()
    return 0


def _export(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    delivered = 0 if arguments.all else Cursor.load(settings.spool_dir) or 0
    out = arguments.file.open("w") if arguments.file else sys.stdout
    count = 0
    try:
        for first_seq, path in _segments(settings.spool_dir):
            for batch in _read_segment(settings, first_seq, path):
                if isinstance(batch, DamagedBatchError) or batch.last_seq <= delivered:
                    continue
                for row in _rows(batch):
                    if row["seq"] > delivered:
                        out.write(json.dumps(row) + "\n")
                        count += 1
    finally:
        if arguments.file:
            out.close()
    print(f"{count} entries exported", file=sys.stderr)
    return 0


def _rows(batch: StoredBatch) -> Iterator[dict[str, Any]]:
    names = ("device_id", "metric", "unit", "quality", "flags", "operator")
    columns = zip(batch.numbers, batch.ts, batch.values, batch.received, strict=True)
    for offset, (number, ts, value, received) in enumerate(columns):
        row = dict(zip(names, batch.table[number].fields(), strict=True))
        yield {"seq": batch.first_seq + offset, "ts": ts, "value": value, "received_at": received} | row
    for offset, letter in enumerate(batch.dead, len(batch.ts)):
        fields = {name: getattr(letter, name) for name in letter.__dataclass_fields__}
        yield {"seq": batch.first_seq + offset, "dead_letter": fields | {"payload": letter.payload.hex()}}


def _import(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    """Takes exported entries into this spool, with seqs of its own."""
    lines = arguments.file.open() if arguments.file else sys.stdin
    spool = Spool(settings.spool_dir, settings.gateway_id, settings.spool)
    count, batch = 0, Batch()
    try:
        for line in lines:
            _take(json.loads(line), batch)
            if len(batch) >= _IMPORT_BATCH:
                spool.store(batch)
                count, batch = count + len(batch), Batch()
        if len(batch):
            spool.store(batch)
            count += len(batch)
    finally:
        spool.close()
        if arguments.file:
            lines.close()
    print(f"{count} entries imported; the gateway sends them when it starts")
    return 0


def _take(row: dict[str, Any], batch: Batch) -> None:
    letter = row.get("dead_letter")
    if letter:
        batch.add_dead(DeadLetter(**letter | {"payload": bytes.fromhex(letter["payload"])}))
        return
    fields = [row[name] for name in ("device_id", "metric", "unit", "quality", "flags", "operator")]
    batch.descriptors.append(Descriptor(*fields))
    batch.ts.append(row["ts"])
    batch.values.append(row["value"])
    batch.received.append(row["received_at"])
