"""The questions of the store's bench: every dashboard's, the documented ones of the API, and the naive table's."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from fieldstream_central.grafana.macros import TimeRange
from fieldstream_central.grafana.queries import all_queries
from fieldstream_central.grafana.variables import choose
from fieldstream_central.store.clickhouse import ClickHouse

# Boards that are also looked at over a year; the others speak of the last hours.
_YEARLY = ("Sensor", "Asset", "Plant overview", "Detection quality")
_HOUR_MS = 3_600_000
_SPANS = {"6 hours": 6, "1 year": 24 * 364}
Ask = Callable[[], object]


@dataclass(frozen=True)
class Questions:
    """Where to ask, and about which span."""

    clickhouse: ClickHouse
    api: httpx.Client
    start_ms: int
    end_ms: int

    def dashboards(self) -> dict[str, Ask]:
        """Every panel's, variable's, annotation's and alert's SQL, at six hours and, where it makes sense, a year."""
        variables = choose(self.clickhouse)
        found: dict[str, Ask] = {}
        for question in all_queries():
            for name, hours in _SPANS.items():
                if not question.sql or (name == "1 year" and question.dashboard not in _YEARLY):
                    continue
                span = TimeRange(max(self.start_ms, self.end_ms - hours * _HOUR_MS), self.end_ms)
                sql = question.expanded(span, variables)
                found[f"{question.dashboard}, {question.name}, {name}"] = lambda sql=sql: self.clickhouse.execute(sql)  # type: ignore[misc]
        return found

    def documented(self) -> dict[str, Ask]:
        """The API's questions, each time of another sensor."""
        sensors = [
            (row["device_id"], row["metric"]) for row in self.clickhouse.rows("SELECT * FROM fieldstream.assets")
        ]
        turn = itertools.cycle(sensors[::7])

        def get(path: str, hours: float = 0.0, **more: str) -> Ask:
            def ask() -> object:
                query = dict(more)
                if hours:
                    query["device_id"], query["metric"] = next(turn)
                    query |= {"from": str(self.end_ms - round(hours * _HOUR_MS)), "to": str(self.end_ms)}
                answer = self.api.get(f"/api/v1/{path}", params=query)
                assert answer.status_code == 200, answer.text
                return answer.content

            return ask

        return {
            "API: readings, 1 hour": get("readings", 1),
            "API: readings, 1 day": get("readings", 24),
            "API: windows, 1 day": get("windows", 24),
            "API: series, 1 day": get("series", 24),
            "API: series, 30 days": get("series", 720),
            "API: series, 1 year": get("series", 8736),
            "API: trust, 1 day": get("trust", 24),
            "API: assets": get("assets"),
            "API: gateways": get("gateways"),
            "API: anomalies": get("anomalies", state="active"),
            "API: completeness": get("completeness"),
            "API: dead letters": get("dead-letters"),
        }

    def pairs(self) -> dict[str, tuple[Ask, Ask]]:
        """The same question of our tables and of the naive one."""
        row = self.clickhouse.rows("SELECT device_id, metric, asset_id FROM fieldstream.assets LIMIT 1")[0]
        sensor = f"device_id = '{row['device_id']}' AND metric = '{row['metric']}'"

        def since(column: str, hours: float) -> str:
            first = self.end_ms - round(hours * _HOUR_MS)
            return (
                f"{column} >= fromUnixTimestamp64Milli({first}) AND {column} < fromUnixTimestamp64Milli({self.end_ms})"
            )

        def both(ours: str, naive: str) -> tuple[Ask, Ask]:
            return lambda: self.clickhouse.execute(ours), lambda: self.clickhouse.execute(naive)

        day, month, year = 24, 720, 8736
        course = "intDiv(toUnixTimestamp({0}), {1}) AS b, {2} GROUP BY b ORDER BY b"
        raw = "avg(value), min(value), max(value) FROM naive WHERE " + sensor
        found = {
            f"one sensor's readings, {name}": both(
                f"SELECT ts, value FROM fieldstream.readings WHERE {sensor} AND {since('ts', hours)} ORDER BY ts",
                f"SELECT ts, value FROM naive WHERE {sensor} AND {since('ts', hours)} ORDER BY ts",
            )
            for name, hours in (("1 hour", 1), ("1 day", day))
        }
        for name, hours, width in (("1 day", day, 600), ("30 days", month, 3600), ("1 year", year, 86_400)):
            ours = "sum(p.mean * p.count) / sum(p.count), min(p.min), max(p.max) FROM fieldstream.rollups AS p "
            ours += f"WHERE width_s = {width} AND {sensor} AND {since('bucket_start', hours)}"
            found[f"one sensor's course, {name}"] = both(
                "SELECT " + course.format("bucket_start", width, ours),
                "SELECT " + course.format("ts", width, f"{raw} AND {since('ts', hours)}"),
            )
        found["all sensors by the day, 1 year"] = both(
            "SELECT device_id, metric, bucket_start, mean, min, max FROM fieldstream.rollups WHERE width_s = 86400",
            "SELECT device_id, metric, toDate(ts) AS day, avg(value), min(value), max(value) FROM naive GROUP BY ALL",
        )
        found["ten highest, 30 days"] = both(
            "SELECT device_id, metric, max(r.max) AS top FROM fieldstream.rollups AS r WHERE width_s = 3600 AND "
            f"{since('bucket_start', month)} GROUP BY device_id, metric ORDER BY top DESC LIMIT 10",
            f"SELECT device_id, metric, max(value) AS top FROM naive WHERE {since('ts', month)} "
            "GROUP BY device_id, metric ORDER BY top DESC LIMIT 10",
        )
        found["places that arrived, per gateway"] = both(
            "SELECT gateway_id, groupBitmapMerge(places) FROM fieldstream.arrived_data GROUP BY gateway_id",
            # An exact count of so many does not fit the memory that a question may take.
            "SELECT gateway_id, uniqCombined(seq) FROM naive GROUP BY gateway_id",
        )
        return found
