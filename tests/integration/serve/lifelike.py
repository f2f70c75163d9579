"""A plant that looks alive, for the console's tests and pictures: signals, an alarm, a notification, metrics.

Rows go straight into ClickHouse; figures of the other hops are exported for a real Prometheus to scrape.
`python -m integration.serve.lifelike --clickhouse URL --port N` runs it on its own.
"""

import argparse
import contextlib
import json
import math
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from fieldstream_central.store.clickhouse import ClickHouse, UnreachableError
from fieldstream_central.store.migrate import migrate
from fieldstream_schemas.topics import ANOMALIES

if TYPE_CHECKING:
    from integration.store.rig import Feed

KINDS = (
    ("temperature", "Cel", 62.0, 4.0, {"high": 70.0, "high_high": 78.0}),
    ("vibration", "mm/s", 2.4, 0.5, {"high": 4.5, "high_high": 7.1}),
    ("pressure", "bar", 6.1, 0.25, {"low": 5.2, "high": 6.9}),
)
ASSETS = (
    "Feed pump 1",
    "Feed pump 2",
    "Circulation pump",
    "Compressor A",
    "Compressor B",
    "Exhaust fan",
    "Chiller",
    "Mixer",
)
FAULTY = ("feed-pump-2", "temperature")
_TIMES = ("started_at", "detected_at", "ended_at", "evidence_start", "evidence_end")


def sensors() -> list[dict[str, Any]]:
    return [
        {"asset": name, "device": name.lower().replace(" ", "-"), "metric": metric, "unit": unit, "base": base}
        | {"swing": swing, "limits": limits, "phase": number * 1.7}
        for number, name in enumerate(ASSETS)
        for metric, unit, base, swing, limits in KINDS
    ]


def value_at(sensor: dict[str, Any], at_s: float, fault_from_s: float, rng: random.Random) -> float:
    slow = math.sin(at_s / 1400 + sensor["phase"]) * 0.7 + math.sin(at_s / 211 + 2 * sensor["phase"]) * 0.25
    measured = sensor["base"] + sensor["swing"] * (slow + rng.gauss(0, 0.06))
    if (sensor["device"], sensor["metric"]) == FAULTY and at_s > fault_from_s:
        measured += 17 * (1 - math.exp(-(at_s - fault_from_s) / 90))
    return round(float(measured), 2)


class Plant:
    """Fills the past, then goes on in real time. Anomalies go by way of Kafka when there is a `feed`."""

    def __init__(self, url: str, *, history_s: int = 5400, gap_seq: int = 0, feed: "Feed | None" = None) -> None:
        self.clickhouse = ClickHouse(url)
        self._feed = feed
        migrate(url)
        self._rng = random.Random(7)
        self._seq = 0
        self._gap_seq = gap_seq
        self.epoch = int(time.time() * 1000) - 86_400_000
        self.fault_from_s = time.time() - 420
        self.notifications: list[dict[str, Any]] = []
        self._assets()
        now = time.time()
        for start in range(int(now - history_s), int(now), 600):
            self.readings(start, min(start + 600, now), step_s=2.0)
        self.made_until = now
        self.windows(now - history_s, now)
        self.clickhouse.execute("TRUNCATE TABLE fieldstream.late_touches")  # the past was made late: nothing to repair
        self._events(now)
        self._repaired(now - 1800)
        self._dead_letters(now)
        self.heartbeat()

    def _assets(self) -> None:
        rows = []
        for sensor in sensors():
            limits = [str(sensor["limits"].get(name, "NULL")) for name in ("low_low", "low", "high", "high_high")]
            label = f"{sensor['asset']} {sensor['metric']}"
            rows.append(
                f"('{sensor['device']}', '{sensor['metric']}', 'north', 'hall-1', '{sensor['device']}', 'pump', "
                f"'{label}', '{sensor['unit']}', {', '.join(limits)}, 2000, now64(3), 1)"
            )
        self.clickhouse.execute(
            "INSERT INTO fieldstream.assets_data (device_id, metric, site, area, asset_id, asset_type, label, unit, "
            f"low_low, low, high, high_high, period_ms, updated_at, kafka_ts) VALUES {', '.join(rows)}"
        )

    def readings(self, start_s: float, end_s: float, *, step_s: float) -> int:
        lines = []
        at = start_s
        while at < end_s:
            for sensor in sensors():
                self._seq += 1
                if self._seq == self._gap_seq:
                    continue
                ts = int(at * 1000) + self._rng.randrange(40)
                lines.append(
                    json.dumps(
                        {"device_id": sensor["device"], "metric": sensor["metric"], "ts": ts / 1000}
                        | {"value": value_at(sensor, at, self.fault_from_s, self._rng), "unit": sensor["unit"]}
                        | {"quality": "good", "gateway_id": f"gw-{'east' if self._seq % 2 else 'west'}"}
                        | {"epoch": self.epoch, "seq": (self._seq + 1) // 2, "received_at": ts / 1000 + 0.02}
                        | {"asset_id": sensor["device"], "asset_type": "pump", "site": "north", "area": "hall-1"}
                        | {"processed_at": ts / 1000 + 0.3}
                    )
                )
            at += step_s
        if lines:
            settings = {"date_time_input_format": "best_effort"}
            body = "\n".join(lines).encode()
            columns = ", ".join(json.loads(lines[0]))
            self.clickhouse.insert(
                f"INSERT INTO fieldstream.readings_data ({columns}) FORMAT JSONEachRow", body, settings
            )
        return len(lines)

    def windows(self, start_s: float, end_s: float) -> None:
        self.clickhouse.execute(
            "INSERT INTO fieldstream.windows_data (device_id, metric, window_start, window_end, site, area, asset_id, "
            "unit, count, mean, stddev, min, max, first, last, first_ts, last_ts, revision) "
            "SELECT device_id, metric, toDateTime64(toStartOfInterval(ts, INTERVAL 10 SECOND), 3) AS w, "
            "w + INTERVAL 10 SECOND, any(site), any(area), any(asset_id), any(unit), count(), "
            "avg(value), stddevPop(value), min(value), "
            "max(value), argMin(value, ts), argMax(value, ts), min(ts), max(ts), count() FROM fieldstream.readings "
            f"WHERE ts >= toDateTime64({start_s:.3f}, 3) AND ts < toDateTime64({end_s:.3f}, 3) GROUP BY ALL"
        )

    def anomaly(self, number: int, sensor: tuple[str, str], began_s: float, **more: Any) -> None:
        row: dict[str, Any] = {
            **{"anomaly_id": f"anomaly-{number}", "device_id": sensor[0], "metric": sensor[1], "asset_id": sensor[0]},
            **{"detector": "limit", "kind": "limit-high", "severity": "warning", "state": "open", "score": 1.0},
            **{"started_at": began_s, "detected_at": began_s + 10, "evidence_start": began_s, "revision": 1},
            **{"evidence_end": began_s + 10, "ended_at": None, "reason": "", "members": [], "site": "north"},
            "area": "hall-1",
        } | more
        if self._feed is not None:
            times = {name: round(float(row[name]) * 1000) for name in _TIMES if row[name] is not None}
            self._feed.send(ANOMALIES, [row | times])
            return
        self.clickhouse.insert(
            "INSERT INTO fieldstream.anomaly_steps_data FORMAT JSONEachRow",
            json.dumps(row).encode(),
            {"date_time_input_format": "best_effort"},
        )

    def _events(self, now: float) -> None:
        began = self.fault_from_s
        reason = "Above the limit HH of 78 °C: 79.4 °C observed, 62 to 66 °C expected. Its mates are normal."
        self.anomaly(1, FAULTY, began + 60, severity="critical", kind="limit-high-high", reason=reason, observed=79.4)
        self.anomaly(
            2, ("compressor-b", "vibration"), now - 1500, detector="level-shift", kind="level-shift",
            reason="The level rose from 2.4 to 3.3 mm/s in two minutes and stays there.", observed=3.3, expected=2.4,
        )  # fmt: skip
        self.anomaly(
            3, ("chiller", "pressure"), now - 3100, state="close", ended_at=now - 2600, detector="gap", kind="gap",
            severity="info", reason="No reading for 8 min 20 s, while every 2 s is usual.", revision=2,
        )  # fmt: skip
        self.anomaly(
            4, ("mixer", "vibration"), now - 4800, state="close", ended_at=now - 4650, kind="limit-high", revision=3,
            reason="Above the limit H of 4.5 mm/s: 4.8 mm/s observed.", observed=4.8,
        )  # fmt: skip
        for age, status, channel, title in (
            (345, "firing", "email", "feed-pump-2: Feed pump 2 temperature above HH"),
            (345, "firing", "webhook", "feed-pump-2: Feed pump 2 temperature above HH"),
            (1480, "firing", "email", "compressor-b: vibration level has shifted"),
            (2590, "resolved", "email", "chiller: no readings from pressure"),
            (3060, "firing", "email", "chiller: no readings from pressure"),
        ):
            at = int((now - age) * 1000)
            self.notifications.append(
                {"received_at_ms": at, "channel": channel, "status": status, "title": title, "labels": {}}
            )

    def _repaired(self, at_s: float) -> None:
        """One window of the faulty sensor, computed anew for a reading that came very late."""
        self.clickhouse.execute(
            "INSERT INTO fieldstream.windows_data SELECT * REPLACE (w.count + 1 AS count, "
            "w.revision + 1 AS revision, w.version + 1 AS version, 'repair' AS origin, now64(3) AS stored_at) "
            f"FROM fieldstream.windows_data AS w WHERE device_id = '{FAULTY[0]}' AND metric = '{FAULTY[1]}' "
            f"AND window_start = toStartOfInterval(toDateTime64({at_s:.3f}, 3), INTERVAL 10 SECOND)"
        )

    def _dead_letters(self, now: float) -> None:
        rows = [
            {"reason": reason, "detail": "not a number: 21,5", "origin": "gateway", "gateway_id": "gw-east"}
            | {"source": f"sensors/feed-pump-1/{reason}-{number}", "payload": "21,5", "payload_size": 4}
            | {"received_at": now - 60 * number - 5}
            for number, reason in enumerate(("malformed", "malformed", "not-finite", "too-large"))
        ]
        self.clickhouse.insert(
            "INSERT INTO fieldstream.dead_letters_data FORMAT JSONEachRow",
            "\n".join(json.dumps(row) for row in rows).encode(),
        )

    def heartbeat(self) -> None:
        last = self._seq // 2
        rows = ", ".join(
            f"('{gateway}', {self.epoch}, now64(3) - INTERVAL {age} SECOND, 'running', '0.1.0', {last}, {last}, "
            f"{last}, 3, 4096, 0.1, 118.5, 12.5, now64(3) + INTERVAL 60 DAY, 31000000000, 48000000)"
            for gateway in ("gw-east", "gw-west")
            for age in (0, 25)
        )
        self.clickhouse.execute(
            "INSERT INTO fieldstream.gateways_data (gateway_id, epoch, ts, state, version, last_seq, last_sent_seq, "
            "accepted_total, spool_readings, spool_bytes, spool_oldest_age_s, spool_hours_left, clock_offset_ms, "
            f"certificate_expires_at, disk_free_bytes, memory_bytes) VALUES {rows}"
        )

    def tick(self) -> int:
        """Readings up to now, and windows of the last half minute."""
        now = time.time()
        made = self.readings(self.made_until, now, step_s=1.0)
        if made:
            self.made_until = now
        self.windows(now - 30, now)
        return made


class Exporter(ThreadingHTTPServer):
    """Metrics of all programs, and the mailbox, at one address."""

    daemon_threads = True

    def __init__(self, port: int, plant: Plant) -> None:
        self.plant = plant
        self.total = 0
        self.down: set[str] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def metrics(self) -> str:
        n = self.total
        lines = {
            "gateway_readings_accepted_total": n,
            "gateway_readings_delivered_total": n,
            "gateway_spool_readings": 3,
            'job_records_total{job="pipeline"}': n,
            'job_records_total{job="detect"}': n // 10,
            'lag_seconds{hop="pipeline",topic="readings.raw"}': 1.6,
            'lag_seconds{hop="detect",topic="windows"}': 2,
            'job_running{job="pipeline"}': 1,
            'job_running{job="detect"}': 0 if "detect" in self.down else 1,
            'loader_rows_total{topic="readings.clean"}': n,
            'loader_lag_seconds{topic="readings.clean"}': 0.3,
            "loader_lag_records": 12,
            "alerter_incidents_open": 2,
        }
        return "".join(f"fieldstream_{name} {value}\n" for name, value in lines.items())


class _Handler(BaseHTTPRequestHandler):
    server: Exporter

    def do_GET(self) -> None:
        notes = self.path.startswith("/notifications")
        body = json.dumps(self.server.plant.notifications) if notes else self.server.metrics()
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if notes else "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def alive(url: str, port: int, **options: Any) -> Iterator[Exporter]:
    """The plant, running until left."""
    exporter = Exporter(port, Plant(url, **options))
    stop = threading.Event()

    def go_on() -> None:
        beat = 0.0
        while not stop.wait(0.7):
            with contextlib.suppress(UnreachableError):  # a test may take the store away
                exporter.total += exporter.plant.tick()
                if time.monotonic() > beat:
                    exporter.plant.heartbeat()
                    beat = time.monotonic() + 5

    threads = [threading.Thread(target=run, daemon=True) for run in (go_on, exporter.serve_forever)]
    for thread in threads:
        thread.start()
    yield exporter
    stop.set()
    threads[0].join(5)
    exporter.shutdown()
    exporter.server_close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clickhouse", required=True)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    with alive(args.clickhouse, args.port):
        threading.Event().wait()


if __name__ == "__main__":
    main()
