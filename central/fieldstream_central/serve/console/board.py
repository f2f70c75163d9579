"""What all open consoles show, gathered once for all of them."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from fieldstream_central.certificate import client_context
from fieldstream_central.serve.console.hops import QUERIES, Extras, Hop, hops
from fieldstream_central.serve.store import StoreReader
from fieldstream_central.settings import Settings
from fieldstream_central.store.audit import Completeness, audit
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError

log = logging.getLogger("fieldstream.console")

_EVERY_S = 1.0
_IDLE_EVERY_S = 4.0
_METRICS_EVERY_S = 2.0
_ASSETS_EVERY_S = 3.0
_AUDIT_EVERY_S = 5.0
_SENSORS_EVERY_S = 10.0
_SPARK_SAMPLES = 90
_SHOWN_ALARMS = 200

_FRESHNESS = """
SELECT (toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(max(stored_at))) / 1000 AS age_s, count() AS n,
    quantileIf(0.95)((toUnixTimestamp64Milli(stored_at) - toUnixTimestamp64Milli(ts)) / 1000,
        stored_at > now64(3) - INTERVAL 30 SECOND AND ts > now64(3) - INTERVAL 5 MINUTE) AS p95,
    countIf(stored_at > now64(3) - INTERVAL 30 SECOND) AS recent
FROM fieldstream.readings_data WHERE stored_at > now64(3) - INTERVAL 10 MINUTE
"""
_ALARMS = """
SELECT a.*, s.unit AS unit, s.label AS label FROM fieldstream.anomalies AS a
LEFT JOIN fieldstream.assets AS s ON s.device_id = a.device_id AND s.metric = a.metric
WHERE NOT shadow AND (state != 'close' OR started_at > now64(3) - INTERVAL 1 DAY)
ORDER BY state = 'close', if(state = 'close', 0, indexOf(['critical', 'warning', 'info'], toString(severity))),
    started_at DESC
LIMIT {limit:UInt32}
"""
_SENSORS = """
SELECT device_id, metric, any(label) AS label, any(unit) AS unit, any(asset_id) AS asset_id,
    any(low_low) AS low_low, any(low) AS low, any(high) AS high, any(high_high) AS high_high FROM
(SELECT device_id, metric, label, unit, asset_id, low_low, low, high, high_high FROM fieldstream.assets
 UNION ALL
 SELECT DISTINCT device_id, metric, '', NULL, '', NULL, NULL, NULL, NULL FROM fieldstream.windows_data
 WHERE stored_at > now64(3) - INTERVAL 1 DAY AND asset_id = '')
GROUP BY device_id, metric ORDER BY asset_id, device_id, metric
"""
# An asset's sensors by the registry, which of them reported in the last two minutes, and the alarms that hold.
_ASSETS = """
SELECT s.site AS site, s.area AS area, s.asset_id AS asset_id, any(s.asset_type) AS asset_type, count() AS sensors,
    countIf(w.n > 0) AS reporting, any(e.critical) AS critical, any(e.warning) AS warning, any(e.info) AS info,
    any(e.reason) AS reason
FROM fieldstream.assets AS s
LEFT JOIN (SELECT device_id, metric, count() AS n FROM fieldstream.windows_data
    WHERE stored_at > now64(3) - INTERVAL 2 MINUTE GROUP BY device_id, metric) AS w
    ON w.device_id = s.device_id AND w.metric = s.metric
LEFT JOIN (SELECT asset_id, countIf(severity = 'critical') AS critical, countIf(severity = 'warning') AS warning,
        countIf(severity = 'info') AS info,
        argMin(reason, indexOf(['critical', 'warning', 'info'], toString(severity))) AS reason
    FROM fieldstream.anomalies_data FINAL WHERE NOT shadow AND state != 'close' GROUP BY asset_id) AS e
    ON e.asset_id = s.asset_id
WHERE s.asset_id != '' GROUP BY site, area, asset_id ORDER BY site, area, asset_id
"""
_GATEWAYS = """
SELECT * EXCEPT (counts, gaps), (toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(ts)) / 1000 AS age_s,
    if(certificate_expires_at IS NULL, NULL, dateDiff('day', now64(3), assumeNotNull(certificate_expires_at)))
        AS certificate_days
FROM fieldstream.gateways_data AS g FINAL
WHERE (g.gateway_id, g.ts) IN (SELECT gateway_id, max(ts) FROM fieldstream.gateways_data GROUP BY gateway_id)
ORDER BY gateway_id
"""
_LETTERS = "SELECT count() AS n FROM fieldstream.dead_letters_data WHERE stored_at > now64(3) - INTERVAL 1 DAY"


@dataclass
class Board:
    """The newest of everything. A part that could not be had keeps its last value and names its problem."""

    hops: list[Hop] = field(default_factory=lambda: hops({}, Extras()))
    rates: dict[str, deque[float | None]] = field(default_factory=dict)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    sensors: list[dict[str, Any]] = field(default_factory=list)
    assets: list[dict[str, Any]] = field(default_factory=list)
    gateways: list[dict[str, Any]] = field(default_factory=list)
    notifications: list[dict[str, Any]] | None = None
    completeness: list[Completeness] = field(default_factory=list)
    newest_age_s: float | None = None
    newest_taken: float = 0.0
    latency_p95_s: float | None = None
    dead_letters: int = 0
    store_problem: str = ""
    store_answered: float = 0.0

    def reading_age_s(self) -> float | None:
        """Age of the newest stored reading now."""
        if self.newest_age_s is None:
            return None
        return self.newest_age_s + time.monotonic() - self.newest_taken


class Gatherer:
    """Asks ClickHouse, Prometheus and the mailbox, over and over, and keeps the board."""

    def __init__(self, settings: Settings) -> None:
        self.board = Board()
        self.store = StoreReader(settings.clickhouse)
        self.settings = settings
        self._http = httpx.AsyncClient(timeout=2.0, trust_env=False, verify=client_context(settings))
        self._due: dict[str, float] = {}
        self._figures: dict[str, float] = {}

    async def run(self, watched: Callable[[], bool] = lambda: True) -> None:
        """Until cancelled; slower while nobody watches."""
        while True:
            started = time.monotonic()
            try:
                await self.gather()
            except Exception:  # the outermost loop: what failed is logged, the page says that data are old
                log.exception("gathering failed")
            every_s = _EVERY_S if watched() else _IDLE_EVERY_S
            await asyncio.sleep(max(0.1, every_s - (time.monotonic() - started)))

    async def gather(self) -> None:
        """One round."""
        await asyncio.gather(self._ask_store(), self._ask_metrics(), self._ask_mailbox())
        board = self.board
        sent = board.notifications
        hour_ago = (time.time() - 3600) * 1000
        extras = Extras(
            latency_p95_s=board.latency_p95_s,
            notifications_last_hour=None if sent is None else sum(n.get("received_at_ms", 0) > hour_ago for n in sent),
            dead_letters=board.dead_letters,
        )
        board.hops = hops(self._figures, extras)

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True

    async def _ask_store(self) -> None:
        board = self.board
        try:
            (fresh,) = await self.store.rows(_FRESHNESS)
            board.newest_age_s = fresh["age_s"] if fresh["n"] else board.newest_age_s and board.reading_age_s()
            board.newest_taken = time.monotonic()
            board.latency_p95_s = fresh["p95"] if fresh["recent"] else None
            board.alarms = await self.store.rows(_ALARMS, {"limit": _SHOWN_ALARMS})
            if not board.sensors or self._is_due("sensors", _SENSORS_EVERY_S):
                board.sensors = await self.store.rows(_SENSORS)
                board.dead_letters = (await self.store.rows(_LETTERS))[0]["n"]
            if self._is_due("assets", _ASSETS_EVERY_S):
                board.assets = await self.store.rows(_ASSETS)
            if self._is_due("audit", _AUDIT_EVERY_S):
                board.gateways = await self.store.rows(_GATEWAYS)
                board.completeness = await asyncio.to_thread(_audit, self.settings.clickhouse)
        except ClickHouseError as error:
            if not board.store_problem:
                log.warning("the store does not answer: %s", str(error)[:300])
            board.store_problem = str(error)[:300]
            return
        if board.store_problem:
            log.info("the store answers again")
        board.store_problem = ""
        board.store_answered = time.monotonic()

    async def _ask_metrics(self) -> None:
        if not self._is_due("metrics", _METRICS_EVERY_S):
            return
        answers = await asyncio.gather(*(self._prometheus(query) for query in QUERIES.values()))
        self._figures = {name: value for name, value in zip(QUERIES, answers, strict=True) if value is not None}
        for name in ("gateway", "kafka", "pipeline", "store", "detect"):
            samples = self.board.rates.setdefault(name, deque(maxlen=_SPARK_SAMPLES))
            samples.append(self._figures.get(f"{name}_rate"))

    async def _prometheus(self, query: str) -> float | None:
        try:
            response = await self._http.get(f"{self.settings.prometheus}/api/v1/query", params={"query": query})
            result = response.json()["data"]["result"]
            value = float(result[0]["value"][1]) if result else None
        except (httpx.HTTPError, ValueError, KeyError, IndexError):
            return None
        return None if value is None or math.isnan(value) else value

    async def _ask_mailbox(self) -> None:
        if not self._is_due("mailbox", _METRICS_EVERY_S):
            return
        try:
            response = await self._http.get(f"{self.settings.mailbox}/notifications")
            found = response.json()
            self.board.notifications = found if isinstance(found, list) else None
        except (httpx.HTTPError, ValueError):
            self.board.notifications = None


def _audit(url: str) -> list[Completeness]:
    with ClickHouse(url, timeout_s=10.0) as clickhouse:
        return audit(clickhouse, duplicate_hours=1)
