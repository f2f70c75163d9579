"""What only the embedded server has: kill -9, users, limits, a clean stop."""

import hashlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fieldstream_central.store.clickhouse import ClickHouse, UnreachableError
from integration.store.rig import Process, Store, eventually, free_port


def test_blocks_acknowledged_before_a_kill_are_whole_and_none_is_half(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.client() as clickhouse:
        clickhouse.execute(
            "CREATE TABLE blocks (block UInt32, n UInt32) ENGINE = MergeTree ORDER BY block "
            "SETTINGS non_replicated_deduplication_window = 1000"
        )
    rows_per_block = 2000
    acknowledged: set[int] = set()
    for round_number in range(3):
        done = threading.Event()

        def insert(first: int = round_number * 1000, done: threading.Event = done) -> None:
            with store.client() as writer:
                for block in range(first, first + 1000):
                    body = "".join(f"{block},{n}\n" for n in range(rows_per_block)).encode()
                    try:
                        writer.insert(
                            "INSERT INTO blocks FORMAT CSV", body, {"insert_deduplication_token": f"block-{block}"}
                        )
                    except UnreachableError:
                        done.set()
                        return
                    acknowledged.add(block)

        writer_thread = threading.Thread(target=insert)
        enough = len(acknowledged) + 5 + 7 * round_number
        writer_thread.start()
        while len(acknowledged) < enough:
            done.wait(0.001)
        store.process.kill()
        writer_thread.join(20)
        store.start()
    with store.client() as clickhouse:
        found = {
            row["block"]: row["n"] for row in clickhouse.rows("SELECT block, count() AS n FROM blocks GROUP BY block")
        }
        assert {block for block, n in found.items() if n != rows_per_block} == set()
        assert acknowledged <= set(found)
        again = max(found)
        body = "".join(f"{again},{n}\n" for n in range(rows_per_block)).encode()
        clickhouse.insert("INSERT INTO blocks FORMAT CSV", body, {"insert_deduplication_token": f"block-{again}"})
        assert clickhouse.value(f"SELECT count() FROM blocks WHERE block = {again}") == rows_per_block
    assert store.process.stop() == 0


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    users = tmp_path / "users.toml"
    digest = hashlib.sha256(b"secret").hexdigest()
    users.write_text(
        f'[owner]\npassword_sha256 = "{digest}"\n\n[viewer]\nreadonly = true\n'
        "[viewer.settings]\nmax_execution_time = 1\nmax_memory_usage = 50000000\n"
    )
    port = free_port()
    args = ["--path", str(tmp_path / "data"), "--port", str(port), "--users", str(users)]
    process = Process([sys.executable, "-m", "fieldstream_central.store.embedded", *args], tmp_path / "log")
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: httpx.get(f"{url}/ping").text == "Ok.\n")
    yield url
    process.stop()


def ask(url: str, sql: str, user: str = "viewer", **settings: str) -> httpx.Response:
    headers = {"X-ClickHouse-User": user} | ({"X-ClickHouse-Key": "secret"} if user == "owner" else {})
    return httpx.post(url, params=settings, content=sql, headers=headers)


def test_a_wrong_password_and_an_unknown_user_are_turned_away(guarded: str) -> None:
    assert ask(guarded, "SELECT 1", "owner").text == "1\n"
    assert httpx.post(guarded, content="SELECT 1", auth=("owner", "wrong")).status_code == 403
    assert httpx.post(guarded, content="SELECT 1", auth=("owner", "secret")).text == "1\n"
    assert httpx.post(guarded, content="SELECT 1").status_code == 403


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE viewer_t (a UInt8) ENGINE = Memory",
        "INSERT INTO kept VALUES (1)",
        "INSERT INTO kept FORMAT CSV\n1\n",
        "DROP TABLE kept",
        "SET readonly = 0",
        "SET max_execution_time = 100",
        "SELECT 1 SETTINGS max_memory_usage = 10000000000",
        "TRUNCATE TABLE kept",
    ],
)
def test_a_reader_can_neither_write_nor_lift_its_limits(guarded: str, sql: str) -> None:
    ask(guarded, "CREATE TABLE IF NOT EXISTS kept (a UInt8) ENGINE = Memory", "owner")
    assert ask(guarded, sql).status_code == 403
    assert ask(guarded, "SELECT count() FROM kept").text == "0\n"


def test_limits_of_a_reader_end_long_and_large_queries(guarded: str) -> None:
    long = ask(
        guarded, "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1", max_execution_time="60"
    )
    assert long.headers["X-ClickHouse-Exception-Code"] == "159"
    large = ask(guarded, "SELECT uniqExact(number) FROM numbers(20000000)", max_memory_usage="0")
    assert large.headers["X-ClickHouse-Exception-Code"] == "241"
    assert ask(guarded, "SELECT 1").text == "1\n"


def test_a_client_that_goes_away_in_mid_answer_leaves_no_query_behind(store: Store) -> None:
    with httpx.stream("POST", store.url, content="SELECT number, sleepEachRow(0.0001) FROM numbers(100000000)"):
        pass
    question = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%processes%'"
    with ClickHouse(store.url) as clickhouse:
        eventually(lambda: clickhouse.value(question) == 0, timeout_s=20)


def test_a_second_server_on_the_same_data_is_refused_with_words(store: Store, tmp_path: Path) -> None:
    data = store._folder / "clickhouse"
    args = ["--path", str(data), "--port", str(free_port())]
    process = Process([sys.executable, "-m", "fieldstream_central.store.embedded", *args], tmp_path / "log")
    eventually(lambda: "cannot serve" in process.output(), timeout_s=20)
    assert process.wait() == 1


def test_a_question_knows_nothing_of_the_settings_and_parameters_of_the_one_before(store: Store) -> None:
    def asked(sql: str, **more: str) -> str:
        return httpx.post(store.url, params=more, content=sql).text

    for _ in range(3):
        assert asked("SELECT {x:String}", param_x="secret") == "secret\n"
        assert "UNKNOWN_QUERY_PARAMETER" in asked("SELECT {x:String}")
        assert asked("SELECT getSetting('max_threads')", max_threads="1") == "1\n"
        assert asked("SELECT getSetting('max_threads')") == "2\n"
        assert asked("SELECT currentDatabase()", database="fieldstream_other") != "fieldstream_other\n"
        assert asked("SELECT currentDatabase()") == "default\n"


def test_many_clients_that_go_away_leave_the_server_answering(store: Store) -> None:
    for _ in range(40):
        with httpx.stream("POST", store.url, content="SELECT number FROM numbers(100000000) FORMAT JSONEachRow"):
            pass
    assert httpx.post(store.url, content="SELECT sum(number) FROM numbers(10)").text == "45\n"
