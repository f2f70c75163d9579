"""The API over a real store: true, bounded, paged, clear about what is wrong."""

import asyncio
import csv
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow.ipc  # type: ignore[import-untyped]
import pytest
from fastapi import FastAPI
from fieldstream_central.notify.links import signed
from fieldstream_central.serve import store as reading
from fieldstream_central.serve.api import models
from fieldstream_central.serve.api.access import add_token
from fieldstream_central.serve.api.app import create_app
from fieldstream_central.serve.api.examples import DEVICE, EXAMPLES, example_of
from fieldstream_central.serve.client import ApiRefusedError, BrokenOffError, Fieldstream
from fieldstream_central.settings import Settings
from fieldstream_central.store.migrate import migrate
from fieldstream_central.store.rollup import Rollup
from integration.serve.conftest import Scene
from integration.serve.lifelike import FAULTY
from integration.store.rig import Process, Store, eventually, free_port
from pydantic import BaseModel


class Api:
    """Calls the app without a network, each in an event loop that lives as long as the test."""

    def __init__(self, clickhouse: str, tokens: Path = Path("no-such-file"), **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self.app: FastAPI = create_app(Settings(clickhouse=clickhouse, api_tokens_file=tokens, **settings))
        self._life = self.app.router.lifespan_context(self.app)
        self._loop.run_until_complete(self._life.__aenter__())
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://api")

    def get(self, path: str, *, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        query = {"from" if key == "from_" else key: value for key, value in query.items()}
        return self._loop.run_until_complete(self._http.get(path, params=query or None, headers=headers))

    def close(self) -> None:
        self._loop.run_until_complete(self._http.aclose())
        self._loop.run_until_complete(self._life.__aexit__(None, None, None))
        self._loop.close()


@pytest.fixture(scope="module")
def api(scene: Scene) -> Iterator[Api]:
    made = Api(scene.store.url)
    yield made
    made.close()


NOTEBOOK = Path(__file__).parents[3] / "docs" / "notebooks" / "last-day.ipynb"
SENSOR: dict[str, Any] = {"device_id": FAULTY[0], "metric": FAULTY[1]}


def pages(api: Api, path: str, **query: Any) -> list[dict[str, Any]]:
    """All pages of a list, as a client walks them."""
    items: list[dict[str, Any]] = []
    cursor = None
    for _ in range(500):
        answer = api.get(path, **query, **({"cursor": cursor} if cursor else {})).json()
        items += answer["items"]
        cursor = answer["next_cursor"]
        if cursor is None:
            return items
        assert len(answer["items"]) == query.get("limit", 1000)
    pytest.fail("the pages do not end")


@pytest.mark.parametrize(
    ("path", "model", "query"),
    [
        ("/api/v1/readings", models.Reading, SENSOR),
        ("/api/v1/windows", models.Window, SENSOR),
        ("/api/v1/anomalies", models.Anomaly, {}),
        ("/api/v1/anomalies/anomaly-1/history", models.Anomaly, {}),
        ("/api/v1/assets", models.Sensor, {}),
        ("/api/v1/gateways", models.Gateway, {}),
    ],
)
def test_every_list_answers_as_documented(api: Api, path: str, model: type[BaseModel], query: dict[str, Any]) -> None:
    items = api.get(path, **query).json()["items"]
    assert items
    for item in items:
        model.model_validate(item)


def test_dead_letters_come_with_their_bytes(scene: Scene, api: Api) -> None:
    with scene.store.client() as clickhouse:
        clickhouse.execute(
            "INSERT INTO fieldstream.dead_letters_data (reason, detail, origin, source, payload, payload_size, "
            "gateway_id, epoch, seq, received_at) VALUES ('not-json', 'x', 'gateway', 's/d/m', unhex('7BFF00'), 3, "
            "'gw-letters', 1, 1, now64(3)), ('not-json', 'x', 'loader', 't/0/1', 'abc', 3, '', NULL, NULL, now64(3))"
        )
    items = api.get("/api/v1/dead-letters", reason="not-json").json()["items"]
    found = {models.DeadLetter.model_validate(item).letter_id: item for item in items}
    assert found["gw-letters/1/1"]["payload_base64"] == "e/8A"
    assert found["loader/t/0/1"]["payload_text"] == "abc"


def test_feedback_counts_each_persons_newest_mark_that_holds(scene: Scene, api: Api) -> None:
    alarm = f"{FAULTY[0]}/{FAULTY[1]}/limit"
    given = [  # revision, who, mark, offset: the third and fourth came with one number
        (1, "ann", "false", 1), (2, "ann", "useful", 2), (3, "bob", "expected", 3), (3, "eve", "false", 4),
    ]  # fmt: skip
    with scene.store.client() as clickhouse:
        for revision, who, mark, offset in given:
            clickhouse.execute(
                "INSERT INTO fieldstream.alarm_events_data (event_id, alarm_id, revision, action, anomaly_id, at, who, "
                f"mark, kafka_offset) VALUES ('m{offset}', '{alarm}', {revision}, 'mark', 'anomaly-1', "
                f"now64(3) - INTERVAL 1 HOUR, '{who}', '{mark}', {offset})"
            )
    (counted,) = api.get("/api/v1/alarms/feedback").json()
    assert (counted["useful"], counted["false"], counted["expected"]) == (1, 0, 1)
    assert (counted["device_id"], counted["metric"], counted["detector"]) == (*FAULTY, "limit")
    assert counted["episodes"] >= 1
    assert api.get("/api/v1/alarms/feedback", to="2026-01-01").json() == []


def test_a_messages_plot_is_a_picture_of_the_episode(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a key of the tests, long enough")
    api = Api(scene.store.url, link_key_file=tmp_path / "key")
    said = {"alarm": "x", "episode": "anomaly-1"}
    link = signed((tmp_path / "key").read_bytes(), "", "plot.png", said, time.time_ns() // 1_000_000)
    picture = api.get(link)
    assert picture.content.startswith(b"\x89PNG"), picture.text
    assert len(picture.content) > 4000
    api.close()


def test_walking_the_pages_gives_every_reading_once_in_order(scene: Scene, api: Api) -> None:
    with scene.store.client() as clickhouse:
        wanted = clickhouse.value(
            "SELECT groupArray(toString(ts)) FROM (SELECT ts FROM fieldstream.readings WHERE device_id = {d:String} "
            "AND metric = {m:String} AND ts < now64(3) - INTERVAL 20 MINUTE ORDER BY ts)",
            {"d": FAULTY[0], "m": FAULTY[1]},
        )
    query = SENSOR | {"from_": wanted[0].replace(" ", "T") + "Z", "limit": 157}
    found = [item["ts"].replace("T", " ").rstrip("Z") for item in pages(api, "/api/v1/readings", **query)]
    assert found[: len(wanted)] == wanted
    assert len(set(found)) == len(found)
    backwards = pages(api, "/api/v1/readings", **query, newest_first=True)
    assert [item["ts"] for item in backwards] == sorted((item["ts"] for item in backwards), reverse=True)


def test_anomalies_are_paged_newest_first_and_filtered(api: Api) -> None:
    everything = pages(api, "/api/v1/anomalies", limit=1)
    assert [item["anomaly_id"] for item in everything] == ["anomaly-1", "anomaly-2", "anomaly-3", "anomaly-4"]
    active = api.get("/api/v1/anomalies", state="active").json()["items"]
    assert {item["anomaly_id"] for item in active} == {"anomaly-1", "anomaly-2"}
    assert api.get("/api/v1/anomalies", severity="info").json()["items"][0]["anomaly_id"] == "anomaly-3"
    assert api.get("/api/v1/anomalies/anomaly-2").json()["detector"] == "level-shift"


@pytest.mark.parametrize(("hours", "points"), [(0.05, 1000), (0.5, 100), (1.4, 60), (24, 50), (240, 20)])
def test_a_series_keeps_the_extremes_at_every_resolution(scene: Scene, api: Api, hours: float, points: int) -> None:
    with scene.store.client() as clickhouse:
        clickhouse.execute(
            "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, received_at) "
            f"SELECT 'spiky-{points}', 'm', "
            "now64(3) - INTERVAL 60 SECOND - toIntervalSecond(number), if(number = 40, 999, 1), now64(3) "
            "FROM numbers(120)"
        )
        scene.plant.plant.windows(0, 4e9)
        end = clickhouse.value("SELECT toUnixTimestamp64Milli(now64(3) - INTERVAL 30 SECOND)")
    query = {"device_id": f"spiky-{points}", "metric": "m", "to": end, "from_": int(end - hours * 3_600_000)}
    query["points"] = points
    series = models.Series.model_validate(api.get("/api/v1/series", **query).json())
    assert len(series.points) <= points
    assert max(point.max for point in series.points) == 999
    assert min(point.min for point in series.points) == 1
    assert sum(point.count for point in series.points) == 120


@pytest.mark.parametrize(("days", "points", "source"), [(3, 200, "rollups"), (12, 10, "rollups"), (1, 2000, "windows")])
def test_long_ranges_read_rollups_and_give_the_figures_of_the_windows(
    scene: Scene, api: Api, days: int, points: int, source: str
) -> None:
    now = time.time()
    device = f"long-{days}"
    with scene.store.client() as clickhouse:
        clickhouse.execute(
            "INSERT INTO fieldstream.windows_data (device_id, metric, window_start, window_end, count, mean, min, max, "
            "revision) SELECT {d:String}, 'm', toDateTime64(toStartOfInterval(now64(3), INTERVAL 10 SECOND), 3) - "
            "toIntervalSecond(number * 70) AS w, w + INTERVAL 10 SECOND, 1 + number % 5, number % 97, number % 97 - 3, "
            "number % 97 + 2, 1 + number % 5 FROM numbers({n:UInt32})",
            {"d": device, "n": days * 1234},
        )
        rollup = Rollup(clickhouse, settled_after_s=0)
        for _ in range(4):  # the plant goes on: there are always touches
            rollup.step()
        start = now - days * 86_400 + 777
        found = api.get("/api/v1/series", device_id=device, metric="m", from_=int(start * 1000), points=points).json()
        assert found["source"] == source
        assert 1 < len(found["points"]) <= points
        sample = found["points"][:: len(found["points"]) // 15 + 1] + found["points"][-1:]
        for point in sample:
            at = datetime.fromisoformat(point["ts"]).timestamp()
            (wanted,) = clickhouse.rows(
                "SELECT sum(w.count) AS count, sum(w.mean * w.count) / sum(w.count) AS mean, min(w.min) AS min, "
                "max(w.max) AS max FROM fieldstream.windows AS w WHERE device_id = {d:String} AND window_start >= "
                "fromUnixTimestamp64Milli({a:Int64}) AND window_start < fromUnixTimestamp64Milli({b:Int64})",
                {
                    "d": device,
                    "a": int(max(at, start) * 1000),
                    "b": int(min(at + found["resolution_s"], now + 60) * 1000),
                },
            )
            assert {name: pytest.approx(value) for name, value in wanted.items()} == {
                name: point[name] for name in wanted
            }


def test_completeness_names_the_gap_that_was_made(api: Api) -> None:
    found = {item["gateway_id"]: item for item in api.get("/api/v1/completeness").json()}
    # The plant leaves out its 1001st reading, which is number 501 of the first gateway.
    assert found["gw-east"]["missing_ranges"] == [[501, 501]]
    assert found["gw-west"]["missing"] == 0
    models.GatewayCompleteness.model_validate(found["gw-east"])


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/api/v1/readings", SENSOR | {"from_": "2026-05-02", "to": "2026-05-01"}, "from"),
        ("/api/v1/readings", SENSOR | {"from_": "1926-05-02"}, "from"),
        ("/api/v1/readings", SENSOR | {"to": "tomorrow"}, "to"),
        ("/api/v1/readings", {"device_id": "d"}, "metric"),
        ("/api/v1/readings", SENSOR | {"limit": 1_000_000}, "limit"),
        ("/api/v1/readings", SENSOR | {"cursor": "junk"}, "cursor"),
        ("/api/v1/series", SENSOR | {"points": 1}, "points"),
        ("/api/v1/series", SENSOR | {"points": 10_000, "from_": "2026-01-01"}, "points"),
        ("/api/v1/anomalies", {"state": "half-open"}, "state"),
        ("/api/v1/anomalies/none", {}, "anomaly_id"),
    ],
)
def test_a_wrong_parameter_is_named(api: Api, path: str, query: dict[str, Any], field: str) -> None:
    answer = api.get(path, **query)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"] == field


def test_a_cursor_of_another_question_is_refused(api: Api) -> None:
    cursor = api.get("/api/v1/anomalies", limit=1).json()["next_cursor"]
    assert api.get("/api/v1/anomalies", limit=1, severity="info", cursor=cursor).json()["field"] == "cursor"


@pytest.mark.parametrize("text", ["' OR 1 = 1 --", "x\\' UNION ALL SELECT 1", "{device_id:String}", "a\tb\n"])
def test_sql_in_a_parameter_is_only_text(api: Api, text: str) -> None:
    answer = api.get("/api/v1/readings", device_id=text, metric="m")
    assert answer.status_code == 404
    assert repr(text) in answer.json()["detail"]
    assert api.get("/api/v1/dead-letters", reason=text).json()["items"] == []


@pytest.mark.parametrize("path", ["readings", "windows", "series", "trust", "live/readings"])
def test_an_unknown_sensor_is_named_with_what_there_is(api: Api, path: str) -> None:
    nobody = api.get(f"/api/v1/{path}", device_id="nobody", metric="m")
    assert (nobody.status_code, nobody.json()["field"]) == (404, "device_id")
    other = api.get(f"/api/v1/{path}", device_id=FAULTY[0], metric="speed")
    assert (other.status_code, other.json()["field"]) == (404, "metric")
    assert "pressure, temperature, vibration" in other.json()["detail"]


def test_a_known_sensor_that_measured_nothing_then_is_an_empty_page(api: Api) -> None:
    answer = api.get("/api/v1/readings", **SENSOR, from_="2020-01-01", to="2020-01-02")
    assert answer.json() == {"items": [], "next_cursor": None}
    assert api.get("/api/v1/trust", **SENSOR, from_="2020-01-01", to="2020-01-02").json()["verdict"] == "no data"


def test_a_question_that_takes_too_much_is_refused_with_how_to_narrow_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(reading._SETTINGS, "max_rows_to_read", 100)
    refused = api.get("/api/v1/trust", **SENSOR)
    assert refused.status_code == 413
    assert refused.json()["field"] == "from"
    assert "rows" in refused.json()["detail"] and "Narrow" in refused.json()["detail"]


def test_health_tells_how_fresh_the_data_are(api: Api) -> None:
    health = models.Health.model_validate(api.get("/healthz").json())
    assert health.status == "ok"
    assert health.newest_reading_age_s is not None
    assert health.newest_reading_age_s < 60


def test_without_a_store_the_answer_says_so_and_when_to_try_again() -> None:
    api = Api(f"http://127.0.0.1:{free_port()}")
    answer = api.get("/api/v1/assets")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert api.get("/healthz").json()["status"] == "degraded"
    api.close()


def test_the_openapi_document_describes_every_path_with_its_errors(api: Api) -> None:
    document = api.get("/api/v1/openapi.json").json()
    for path in ("readings", "windows", "series", "anomalies", "assets", "gateways", "completeness", "dead-letters"):
        answers = document["paths"][f"/api/v1/{path}"]["get"]["responses"]
        assert {"200", "422", "503"} <= set(answers)
    assert "Problem" in json.dumps(document["components"])


def test_a_range_comes_as_csv_and_as_arrow_with_the_same_rows(scene: Scene, api: Api) -> None:
    now = int(time.time() * 1000)
    query = SENSOR | {"from_": now - 3_600_000, "to": now - 600_000}
    listed = pages(api, "/api/v1/readings", **query)
    text = api.get("/api/v1/export/readings", **query, format="csv")
    rows = list(csv.DictReader(io.StringIO(text.text)))
    assert [float(row["value"]) for row in rows] == [item["value"] for item in listed]
    assert rows[0]["ts"] == listed[0]["ts"]
    arrow = api.get("/api/v1/export/readings", **query, format="arrow")
    table = pyarrow.ipc.open_stream(arrow.content).read_all()
    assert table.column("value").to_pylist() == [item["value"] for item in listed]
    windows = api.get("/api/v1/export/windows", **query)
    assert len(windows.text.splitlines()) > 100
    assert api.get("/api/v1/export/secrets", **query).status_code == 422


def test_trust_says_what_is_missing_late_and_doubtful(scene: Scene, api: Api) -> None:
    with scene.store.client() as clickhouse:
        clickhouse.execute(
            "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, quality, flags, received_at) SELECT "
            "'trusted', 'm', toStartOfHour(now64(3)) - INTERVAL 2 HOUR + toIntervalSecond(number) AS t, 1, "
            "if(number % 100 = 7, 'bad', 'good'), if(number = 50, 4, 0), t FROM numbers(3600) "
            "WHERE number NOT BETWEEN 1000 AND 1099"
        )
        start = clickhouse.value("SELECT toUnixTimestamp(toStartOfHour(now64(3)) - INTERVAL 2 HOUR)") * 1000
    query: dict[str, Any] = {"device_id": "trusted", "metric": "m", "from_": start, "to": start + 3_600_000}
    found = api.get("/api/v1/trust", **query).json()
    assert (found["readings"], found["expected"], found["complete_percent"]) == (3500, 3600, 97.22)
    assert (found["late"], found["doubtful"], found["clock_suspect"]) == (3500, 35, 1)
    assert [gap["seconds"] for gap in found["gaps"]] == [101.0]
    assert found["verdict"] == "fair"
    assert any("101 s" in reason for reason in found["reasons"])
    assert [span["seconds"] for span in found["clock_suspect_spans"]] == [0.0]


def test_trust_says_what_late_readings_changed_from_what_to_what_and_when(scene: Scene, api: Api) -> None:
    hour = "toStartOfHour(now64(3)) - INTERVAL 3 HOUR"
    with scene.store.client() as clickhouse:
        # Twenty seconds in time, then two readings into the first window an hour later, and a window of its own.
        clickhouse.execute(
            "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, received_at, stored_after_ds, "
            f"gateway_id, epoch, seq) SELECT 'corrected', 'm', {hour} + toIntervalMillisecond(number * 1000) AS t, 10, "
            "t, 5, 'gw-corrected', 1, number + 1 FROM numbers(20)"
        )
        for millisecond, value, seq in ((500, 40, 21), (1500, 4, 22), (30_000, 7, 24)):
            clickhouse.execute(
                "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, received_at, stored_after_ds, "
                f"gateway_id, epoch, seq) SELECT 'corrected', 'm', {hour} + toIntervalMillisecond({millisecond}) AS t, "
                f"{value}, t, 36000, 'gw-corrected', 1, {seq}"
            )
        clickhouse.execute(
            "INSERT INTO fieldstream.gateways_data (gateway_id, epoch, ts, state, started_at, last_seq, last_sent_seq, "
            f"duplicates_total) SELECT 'gw-corrected', 1, {hour} + toIntervalSecond(number * 60) AS t, 'running', "
            f"{hour} - INTERVAL 1 DAY, number * 12, number * 12, 100 + number FROM numbers(3)"
        )
        start = clickhouse.value(f"SELECT toUnixTimestamp({hour})") * 1000
    query: dict[str, Any] = {"device_id": "corrected", "metric": "m", "from_": start, "to": start + 3_600_000}
    found = api.get("/api/v1/trust", **query).json()
    assert (found["late"], found["corrected_windows"]) == (3, 2)
    new, changed = found["corrections"]
    assert (changed["readings_before"], changed["readings"]) == (10, 12)
    assert [changed[name] for name in ("mean_before", "mean", "min_before", "min", "max_before", "max")] == [
        *(10, 12, 10, 4, 10, 40)
    ]
    assert (new["readings_before"], new["mean_before"], new["mean"]) == (0, None, 7)
    assert new["corrected_at"] > changed["corrected_at"] > changed["window_start"]
    (gateway,) = found["gateways"]
    assert (gateway["accepted"], gateway["missing_ranges"], gateway["duplicates_dropped"]) == (24, [[23, 23]], 2)


def test_with_tokens_nothing_is_told_without_one_and_roles_count(scene: Scene, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    given = {role: add_token(tokens, f"the-{role}", role) for role in ("viewer", "operator")}
    expired = add_token(tokens, "the-old", "admin", days=-1)
    api = Api(scene.store.url, tokens)

    def status(path: str, token: str) -> int:
        return api.get(path, headers={"Authorization": f"Bearer {token}"}).status_code

    assert api.get("/api/v1/assets").status_code == 401
    assert api.get("/healthz").status_code == 200
    assert [status("/api/v1/assets", token) for token in (given["viewer"], expired, "guess")] == [200, 401, 401]
    assert [status("/api/v1/dead-letters", given[role]) for role in ("viewer", "operator")] == [403, 200]
    assert api.get("/api/v1/assets", headers={"Authorization": f"Bearer {expired}"}).json()["title"] == "Token expired"
    api.close()


@pytest.fixture(scope="module")
def served(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with api_process(scene.store.url, tmp_path_factory.mktemp("api")) as url:
        yield url


@contextmanager
def api_process(clickhouse: str, folder: Path) -> Iterator[str]:
    """The API as a process of its own; its address."""
    port = free_port()
    config = folder / "settings.toml"
    config.write_text(f'clickhouse = "{clickhouse}"\napi_tokens_file = "{folder}/none"\n')
    program = f"from fieldstream_central.serve.cli import api; api(port={port})"
    process = Process([sys.executable, "-c", program], folder / "log", {"FIELDSTREAM_CONFIG": str(config)})
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: httpx.get(f"{url}/healthz").status_code == 200, timeout_s=30)
    yield url
    assert process.stop() in (0, -15)  # uvicorn ends as asked, then by the signal itself


@pytest.mark.parametrize("path", [path for path in EXAMPLES if "live" not in path])
def test_the_example_of_every_path_is_answered(served: str, path: str) -> None:
    example = example_of(path).replace(DEVICE, FAULTY[0])
    answer = httpx.get(served + example, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.content


def test_every_path_that_can_be_read_has_its_example(api: Api) -> None:
    paths = api.get("/api/v1/openapi.json").json()["paths"]
    readable = {path for path, methods in paths.items() if "get" in methods}
    with_kafka = {"/api/v1/alarms", "/api/v1/maintenance", "/api/v1/incidents/{alarm_id}"}
    assert readable - with_kafka == set(EXAMPLES)
    assert FAULTY[0] not in EXAMPLES["/api/v1/series"][1].values()
    assert "curl" in paths["/api/v1/series"]["get"]["x-codeSamples"][0]["source"]


def test_a_client_that_goes_away_leaves_no_query_behind(scene: Scene, served: str) -> None:
    with scene.store.client() as clickhouse:
        clickhouse.execute(
            "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, received_at, stored_after_ds) SELECT "
            "'endless', 'm', now64(3) - toIntervalMillisecond(number), number, now64(3), 0 FROM numbers(1000000)"
        )
        query = {"device_id": "endless", "metric": "m"}
        with httpx.stream("GET", f"{served}/api/v1/export/readings", params=query, timeout=30) as answer:
            assert next(answer.iter_raw())
        running = (
            "SELECT count() FROM system.processes WHERE query LIKE '%fieldstream.readings%FORMAT CSV%' "
            "AND query NOT LIKE '%system.processes%'"
        )
        eventually(lambda: clickhouse.value(running) == 0, timeout_s=20)


def test_new_readings_come_as_events(served: str) -> None:
    events: list[dict[str, Any]] = []
    with httpx.stream("GET", f"{served}/api/v1/live/readings", params=SENSOR, timeout=30) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line[6:]))
            if len(events) == 3:
                break
    assert len({event["ts"] for event in events}) == 3
    assert [event["stored_at"] for event in events] == sorted(event["stored_at"] for event in events)


def test_the_python_client_returns_frames_and_walks_pages(served: str) -> None:
    plant = Fieldstream(served)
    end = datetime.now(UTC) - timedelta(minutes=10)
    frame = plant.readings(*FAULTY, hours=0.5, end=end)
    assert len(frame) > 500
    assert str(frame.index.dtype).startswith("datetime64") and frame.index.is_monotonic_increasing
    assert plant.polars("readings", *FAULTY, hours=0.5, end=end)["value"].to_list() == frame["value"].to_list()
    series = plant.series(*FAULTY, hours=0.5, end=end, points=50)
    assert len(series) <= 50
    assert series["max"].max() == frame["value"].max()
    assert len(plant.windows(*FAULTY, hours=0.5, end=end)) > 150
    assert plant.trust(*FAULTY, hours=0.5, end=end)["readings"] == len(frame)
    assert [one["anomaly_id"] for one in plant.anomalies(limit=2)] == [f"anomaly-{n}" for n in range(1, 5)]
    assert len(list(plant.sensors(limit=10))) == 24
    assert {one["gateway_id"] for one in plant.completeness()} >= {"gw-east", "gw-west"}
    with pytest.raises(ApiRefusedError, match="backwards") as refused:
        plant.series(*FAULTY, start=end, end=end - timedelta(hours=1))
    assert refused.value.field == "from"


def test_clickhouse_that_restarts_under_a_question_costs_an_answer_and_no_wrong_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    migrate(store.url)
    api = Api(store.url)
    with store.client() as clickhouse:
        clickhouse.execute(
            "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, received_at) "
            "SELECT 'd', 'm', now64(3) - toIntervalSecond(number), number, now64(3) FROM numbers(60)"
        )
    before = api.get("/api/v1/series", device_id="d", metric="m").json()["points"]
    store.process.kill()
    down = api.get("/api/v1/series", device_id="d", metric="m")
    assert (down.status_code, down.headers["retry-after"]) == (503, "5")
    store.start()
    assert api.get("/api/v1/series", device_id="d", metric="m").json()["points"] == before
    api.close()
    store.process.stop()


def test_an_export_under_which_clickhouse_dies_breaks_off_and_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    migrate(store.url)
    with store.client() as clickhouse:
        clickhouse.execute(
            "INSERT INTO fieldstream.readings_data (device_id, metric, ts, value, received_at, stored_after_ds) SELECT "
            "'d', 'm', now64(3) - toIntervalMillisecond(number), number, now64(3), 0 FROM numbers(1500000)"
        )
    query = {"device_id": "d", "metric": "m"}
    with api_process(store.url, tmp_path) as url:
        got = b""
        with httpx.stream("GET", f"{url}/api/v1/export/readings", params=query, timeout=30) as answer:  # noqa: SIM117
            with pytest.raises(httpx.RemoteProtocolError):
                for piece in answer.iter_raw():
                    if not got:
                        store.process.kill()
                    got += piece
        assert got.rstrip().endswith(b"this is not all, ask again")
        assert httpx.get(f"{url}/api/v1/export/readings", params=query).status_code == 503
        store.start()
        whole = httpx.get(f"{url}/api/v1/export/readings", params=query, timeout=60)
        assert len(whole.text.splitlines()) == 1_500_001
        rows = got.split(b"\r\n# broken off")[0].splitlines()
        assert whole.content.splitlines()[: len(rows) - 1] == rows[:-1]
    store.process.stop()


def test_the_python_client_tells_an_answer_that_broke_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            caller, _ = server.accept()
            caller.recv(65_536)
            caller.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            caller.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(BrokenOffError, match="export/readings broke off"):
            Fieldstream(f"http://127.0.0.1:{server.getsockname()[1]}").readings("d", "m")
        thread.join()


def test_the_notebook_runs_as_it_stands(served: str, tmp_path: Path) -> None:
    program = tmp_path / "notebook.py"
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    program.write_text(
        code.replace("http://127.0.0.1:8000", served).replace("pump-01", FAULTY[0]) + "\nprint(verdict)\n"
    )
    ran = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().splitlines()[-1] in ("good", "fair", "poor")


def test_the_api_shows_prometheus_that_it_runs_and_what_it_answered(api: Api) -> None:
    assert api.get("/api/v1/assets").status_code == 200
    assert api.get("/api/v1/assets", limit=0).status_code == 422
    text = api.get("/metrics").raise_for_status().text
    assert 'fieldstream_api_requests_total{role="admin"}' in text
    assert 'fieldstream_api_problems_total{status="422"}' in text
