"""Users of the embedded server who may do, and see, a part only."""

import sys
from collections.abc import Iterator

import httpx
import pytest
from integration.edge.parts import Process, free_port
from integration.store.rig import eventually

USERS = """
[owner]

[north]
readonly = true
sites = ["north"]

[clerk]
readonly = true
inserts = ["fieldstream.notes"]

[loader]
statements = ["SELECT", "INSERT"]

[elsewhere]
addresses = ["10.0.0.0/8"]
"""
SETUP = (
    "CREATE DATABASE fieldstream",
    "CREATE TABLE fieldstream.readings_data (site String, v Int64) ENGINE = ReplacingMergeTree ORDER BY v",
    "CREATE VIEW fieldstream.readings AS SELECT * FROM fieldstream.readings_data FINAL",
    "CREATE TABLE fieldstream.notes (v Int64) ENGINE = MergeTree ORDER BY v",
    "INSERT INTO fieldstream.readings_data VALUES ('north', 1), ('south', 2)",
    "INSERT INTO fieldstream.notes VALUES (1)",
)
REFUSED = httpx.codes.FORBIDDEN


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("users"), free_port()
    (folder / "users.toml").write_text(USERS)
    args = ["--path", str(folder / "data"), "--port", str(port), "--users", str(folder / "users.toml")]
    process = Process([sys.executable, "-m", "fieldstream_central.store.embedded", *args], folder / "log")
    address = f"http://127.0.0.1:{port}"
    eventually(lambda: httpx.get(f"{address}/ping").text == "Ok.\n")
    for sql in SETUP:
        assert ask(address, "owner", sql).status_code == httpx.codes.OK
    yield address
    process.stop()


def ask(url: str, user: str, sql: str, **params: str) -> httpx.Response:
    return httpx.post(url, params={"user": user} | params, content=sql)


@pytest.mark.parametrize(
    ("sql", "seen"),
    [
        ("SELECT v FROM fieldstream.readings", "1\n"),
        ("SELECT v FROM fieldstream.readings_data", "1\n"),
        ("SELECT count() FROM fieldstream.readings_data", "1\n"),
        (
            "SELECT count() FROM (SELECT * FROM fieldstream.readings_data AS a JOIN fieldstream.readings AS b USING v)",
            "1\n",
        ),
        ("SELECT count() FROM fieldstream.notes", "0\n"),
    ],
)
def test_one_sees_the_rows_of_ones_sites_only(url: str, sql: str, seen: str) -> None:
    assert ask(url, "north", sql).text == seen
    assert ask(url, "owner", sql).text != seen


def test_a_table_without_its_database_is_filtered_too(url: str) -> None:
    assert ask(url, "north", "SELECT v FROM readings_data", database="fieldstream").text == "1\n"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM merge('fieldstream', 'readings_data')",
        "SELECT * FROM `merge`('fieldstream', 'readings_data')",
        "SELECT * FROM fieldstream.readings SETTINGS additional_table_filters = {}",
        "SELECT * FROM remote('127.0.0.1', 'fieldstream', 'readings_data')",
    ],
)
def test_nobody_gets_around_the_filter(url: str, sql: str) -> None:
    assert ask(url, "north", sql).status_code in (REFUSED, httpx.codes.INTERNAL_SERVER_ERROR)
    assert ask(url, "north", "SELECT 1", additional_table_filters="{}").text == "1\n"
    assert ask(url, "north", "SELECT count() FROM fieldstream.readings", additional_table_filters="{}").text == "1\n"


def test_a_reader_fills_the_tables_named_for_it_and_no_other(url: str) -> None:
    assert ask(url, "clerk", "INSERT INTO fieldstream.notes VALUES (2)").status_code == httpx.codes.OK
    assert ask(url, "clerk", "INSERT INTO fieldstream.readings_data VALUES ('x', 3)").status_code == REFUSED
    from_a_file = "INSERT INTO fieldstream.notes SELECT length(line) FROM file('/etc/hostname', LineAsString)"
    assert ask(url, "clerk", from_a_file).status_code == REFUSED


def test_a_writer_uses_its_verbs_only(url: str) -> None:
    assert ask(url, "loader", "INSERT INTO fieldstream.readings_data VALUES ('south', 9)").status_code == httpx.codes.OK
    assert ask(url, "loader", "TRUNCATE TABLE fieldstream.notes").status_code == REFUSED


def test_who_comes_from_elsewhere_is_refused(url: str) -> None:
    assert ask(url, "elsewhere", "SELECT 1").status_code == REFUSED
