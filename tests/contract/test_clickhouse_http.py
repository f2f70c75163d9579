"""The ClickHouse HTTP interface as clients that are not ours use it.

Against the embedded server, and against a real one too where FIELDSTREAM_CLICKHOUSE names its URL.
"""

import gzip
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import httpx
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from integration.store.rig import Store

HERE = Path(__file__).parent
REAL = os.environ.get("FIELDSTREAM_CLICKHOUSE")


@pytest.fixture(scope="module", params=["embedded", *([REAL] if REAL else [])])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param != "embedded":
        yield str(request.param)
        return
    store = Store(tmp_path_factory.mktemp("contract"))
    yield store.url
    assert store.process.stop() == 0


def connect(url: str, **options: object) -> Client:
    parts = urlsplit(url)
    made: Client = clickhouse_connect.get_client(host=parts.hostname, port=parts.port, **options)  # type: ignore[arg-type]
    return made


def curl(url: str, *args: str, data: bytes = b"") -> bytes:
    return subprocess.run(["curl", "-sS", *args, url], input=data, capture_output=True, check=False).stdout


# --- curl -------------------------------------------------------------------------------------------------------


def test_curl_asks_inserts_and_is_told_of_errors(url: str) -> None:
    assert curl(f"{url}/ping") == b"Ok.\n"
    assert curl(url + "/?query=SELECT%201") == b"1\n"
    assert curl(url, "--data-binary", "@-", data=b"SELECT 2 FORMAT JSONEachRow").startswith(b'{"2":2')
    curl(url, "-d", "CREATE TABLE IF NOT EXISTS curl_t (a UInt32, b String) ENGINE = Memory")
    curl(url, "-d", "TRUNCATE TABLE curl_t")
    curl(url, "--data-binary", "@-", data=b"INSERT INTO curl_t VALUES (1, 'x'), (2, 'y; z')")
    curl(url, "--data-binary", "@-", data=b"INSERT INTO curl_t FORMAT CSV\n3,foo\n")
    target = url + "/?query=INSERT%20INTO%20curl_t%20FORMAT%20JSONEachRow"
    curl(target, "-H", "Content-Encoding: gzip", "--data-binary", "@-", data=gzip.compress(b'{"a":4,"b":"q"}'))
    curl(target, "-H", "Transfer-Encoding: chunked", "--data-binary", "@-", data=b'{"a":5,"b":"c"}')
    assert curl(url, "-d", "SELECT groupArray((a, b)) FROM (SELECT * FROM curl_t ORDER BY a)") == (
        b"[(1,'x'),(2,'y; z'),(3,'foo'),(4,'q'),(5,'c')]\n"
    )
    assert b"UNKNOWN_IDENTIFIER" in curl(url, "-d", "SELECT nope")
    curl(url, "-d", "DROP TABLE curl_t")


def test_a_get_request_changes_nothing(url: str) -> None:
    curl(url, "-d", "CREATE TABLE IF NOT EXISTS get_t (a UInt32) ENGINE = Memory")
    assert b"READONLY" in curl(url + "/?query=DROP%20TABLE%20get_t")
    assert curl(url, "-d", "EXISTS TABLE get_t") == b"1\n"


def test_several_statements_in_one_request_are_refused(url: str) -> None:
    answer = httpx.post(url, content="SELECT 1; SELECT 2")
    assert answer.status_code == 400
    assert answer.headers["X-ClickHouse-Exception-Code"] == "62"


def test_settings_and_parameters_come_in_the_url(url: str) -> None:
    answer = httpx.post(
        url,
        params={"max_threads": "1", "param_x": "it's\\ta", "param_n": "\\N"},
        content="SELECT getSetting('max_threads') = 1, {x:String}, {n:Nullable(Int32)}",
    )
    assert answer.text == "1\tit\\'s\\ta\t\\N\n"
    unknown = httpx.post(url, params={"no_such_setting": "1"}, content="SELECT 1")
    assert unknown.headers["X-ClickHouse-Exception-Code"] == "115"


def test_a_session_keeps_its_temporary_table_and_another_does_not_see_it(url: str) -> None:
    mine = {"session_id": "contract-mine"}
    httpx.post(url, params=mine, content="CREATE TEMPORARY TABLE session_t (a UInt8)")
    httpx.post(url, params=mine, content="INSERT INTO session_t VALUES (7)")
    assert httpx.post(url, params=mine, content="SELECT * FROM session_t").text == "7\n"
    assert (
        httpx.post(url, params={"session_id": "contract-other"}, content="SELECT * FROM session_t").status_code == 404
    )


@pytest.mark.parametrize("rows", [b"FORMAT Native\n\x01\x02garbage", b"FORMAT CSV\nx,y"])
def test_a_damaged_insert_stores_nothing(url: str, rows: bytes) -> None:
    httpx.post(url, content="CREATE TABLE IF NOT EXISTS broken (a UInt32) ENGINE = Memory")
    answer = httpx.post(url, content=b"INSERT INTO broken " + rows)
    assert answer.status_code >= 400
    assert "X-ClickHouse-Exception-Code" in answer.headers
    assert httpx.post(url, content="SELECT count() FROM broken").text == "0\n"


def test_queries_run_side_by_side_with_parameters_of_their_own(url: str) -> None:
    wrong: list[str] = []

    def ask(number: int) -> None:
        with httpx.Client(base_url=url) as client:
            for turn in range(20):
                text = client.post("/", params={"param_x": f"{number}-{turn}"}, content="SELECT {x:String}").text
                if text != f"{number}-{turn}\n":
                    wrong.append(text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- clickhouse-connect -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_clickhouse_connect_inserts_and_reads_back(url: str, compress: bool | str) -> None:
    client = connect(url, compress=compress)
    client.command(
        "CREATE OR REPLACE TABLE cc (a UInt32, s String, d DateTime64(3, 'UTC'), n Nullable(Float64)) ENGINE = Memory"
    )
    when = datetime(2026, 5, 1, 12, 0, 0, 123000, tzinfo=UTC)
    rows = [[number, "ü" * number, when, None if number % 2 else 1.5] for number in range(100)]
    client.insert("cc", rows, column_names=["a", "s", "d", "n"])
    found = client.query("SELECT * FROM cc ORDER BY a", query_tz="UTC").result_rows
    assert [row[:2] for row in found] == [(number, "ü" * number) for number in range(100)]
    assert client.query("SELECT max(d), sum(n) FROM cc").result_rows[0][1] == 75.0
    assert client.query_df("SELECT a, n FROM cc ORDER BY a").shape == (100, 2)
    assert client.query_arrow("SELECT a FROM cc").num_rows == 100
    client.command("DROP TABLE cc")


def test_clickhouse_connect_binds_parameters_of_all_kinds(url: str) -> None:
    client = connect(url)
    given = {"a": "it's\t\\ ok\n", "b": [1, 2], "c": datetime(2026, 1, 1), "d": None}
    sql = "SELECT {a:String}, {b:Array(Int32)}, {c:DateTime}, {d:Nullable(String)}"
    assert client.query(sql, parameters=given).result_rows == [("it's\t\\ ok\n", [1, 2], datetime(2026, 1, 1), None)]


def test_clickhouse_connect_streams_a_large_answer(url: str) -> None:
    client = connect(url)
    total = 0
    with client.query_row_block_stream("SELECT number FROM numbers(2000000)") as stream:
        for block in stream:
            total += sum(row[0] for row in block)
    assert total == 1999999 * 1000000


def test_an_error_before_the_answer_and_one_in_the_middle_are_both_told(url: str) -> None:
    client = connect(url)
    with pytest.raises(ClickHouseError, match="nope"):
        client.query("SELECT nope")
    with pytest.raises(ClickHouseError, match="Value passed to 'throwIf'"):
        client.query("SELECT throwIf(number = 2500000), number FROM numbers(3000000)").result_rows  # noqa: B018 - lazy
    assert client.query("SELECT 1").result_rows == [(1,)]


def test_sqlalchemy_reflects_and_asks(url: str) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    parts = urlsplit(url)
    engine = sqlalchemy.create_engine(f"clickhousedb://{parts.hostname}:{parts.port}/default")
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("CREATE OR REPLACE TABLE alchemy (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
        )
        connection.execute(sqlalchemy.text("INSERT INTO alchemy VALUES (1, 'x')"))
        table = sqlalchemy.Table("alchemy", sqlalchemy.MetaData(schema="default"), autoload_with=engine)
        assert [column.name for column in table.columns] == ["a", "b"]
        assert list(connection.execute(sqlalchemy.select(table.c.b).where(table.c.a == 1))) == [("x",)]
        connection.execute(sqlalchemy.text("DROP TABLE alchemy"))


# --- clickhouse-go ----------------------------------------------------------------------------------------------


def test_clickhouse_go_connects_inserts_and_reads_in_every_compression(url: str, tmp_path: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    program = tmp_path / "contract"
    built = subprocess.run(
        ["go", "build", "-o", str(program), "."],
        cwd=HERE / "clickhouse_go",
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        pytest.skip(f"the Go modules cannot be had here: {built.stderr[-300:]}")
    ran = subprocess.run([str(program), urlsplit(url).netloc], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert sorted(ran.stdout.splitlines()) == [
        f"{name} 1000 1700000000123 200000 true" for name in ("gzip", "lz4", "none", "zstd")
    ]
