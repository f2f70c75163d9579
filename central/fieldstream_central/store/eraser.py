"""Erases what topic `forget` asks for, and erases it again when it comes back.

The loader runs it beside itself. The topic is read from its beginning at each start, and all of it applied to all rows:
after a restore of an old backup nothing that was erased comes back. From then on only rows stored since the last step
are looked at, since what was on its way when a person was forgotten arrives later.
"""

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from fieldstream_schemas.framed import RecordReader
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.topics import FORGET

from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouse, quoted
from fieldstream_central.store.repair import UpkeepLoop
from fieldstream_central.store.touches import Step

EVERY_S = 5.0
_AT_ONCE = 500  # names in one statement
_OVERLAP_S = 60.0  # a block counts as stored a little before it can be seen
_MUTATION = {"mutations_sync": 1, "max_execution_time": 3600}
_PSEUDONYM = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger("fieldstream.eraser")


class Eraser:
    """One step looks for new requests and for rows that must not be there."""

    def __init__(self, clickhouse: ClickHouse, settings: Settings) -> None:
        self._clickhouse = clickhouse
        self._reader = RecordReader(SchemaRegistry(settings.registry, settings.schema_cache), FORGET)
        self._table_suffix, self._on = (
            ("_local", f" ON CLUSTER '{settings.clickhouse_cluster}'") if settings.clickhouse_cluster else ("", "")
        )
        self._consumer = Consumer({
            **connection(settings), "group.id": "fieldstream-eraser", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "log_level": 0,
        })  # fmt: skip
        self._consumer.assign([TopicPartition(FORGET.name, 0, 0)])
        self._new: list[dict[str, Any]] = []  # requests that have not been applied to all rows yet
        self._known: list[dict[str, Any]] = []
        self._looked_at = 0.0

    def step(self) -> Step:
        """Erases; how many requests were new, and how many rows were changed. Raises ClickHouseError."""
        self._new += self._read()
        started = time.time()
        rows = self._erase(self._new, since_s=0.0)
        rows += self._erase(self._known, since_s=self._looked_at - _OVERLAP_S)
        done = Step(len(self._new), rows)
        self._known += self._new
        self._new, self._looked_at = [], started
        if rows:
            log.info("%d rows of forgotten people erased", rows)
        return done

    def _read(self) -> list[dict[str, Any]]:
        found = []
        for message in self._consumer.consume(1000, timeout=0.2):
            if message.error() is not None:
                continue
            try:
                found.append(self._reader.read(message.value() or b""))
            except (RegistryError, ValueError, EOFError, IndexError, KeyError) as error:
                log.error("topic forget, offset %s: cannot be read: %r", message.offset(), error)
        return found

    def _erase(self, requests: list[dict[str, Any]], *, since_s: float) -> int:
        stored = f"stored_at >= fromUnixTimestamp64Milli({int(since_s * 1000)}, 'UTC')" if since_s > 0 else "1"
        pseudonyms = [one for request in requests for one in request["pseudonyms"] if _PSEUDONYM.fullmatch(one)]
        letter_ids = [one for request in requests for one in request["letter_ids"]]
        rows = self._blank("readings_data", "operator_pseudonym", "NULL", "operator_pseudonym", pseudonyms, stored)
        return rows + self._blank("dead_letters_data", "payload", "''", "letter_id", letter_ids, stored)

    def _blank(self, table: str, column: str, nothing: str, key: str, values: list[str], stored: str) -> int:  # noqa: PLR0917
        rows = 0
        for start in range(0, len(values), _AT_ONCE):
            names = ", ".join(map(quoted, values[start : start + _AT_ONCE]))
            where = f"{key} IN ({names}) AND {column} IS NOT NULL AND {column} != ''"
            look = f"SELECT count() AS n FROM fieldstream.{table} WHERE {stored} AND {where}"  # noqa: S608 - quoted
            held = self._clickhouse.value(look)
            if held:
                target = f"fieldstream.{table}{self._table_suffix}{self._on}"
                self._clickhouse.execute(
                    f"ALTER TABLE {target} UPDATE {column} = {nothing} WHERE {where}", settings=_MUTATION
                )
                rows += int(held)
        return rows


def erasure(settings: Settings) -> UpkeepLoop:
    """The loop that the loader runs beside itself."""

    def make(clickhouse: ClickHouse) -> Callable[[], Step]:
        return Eraser(clickhouse, settings).step

    return UpkeepLoop("eraser", settings.clickhouse, make, every_s=EVERY_S)
