"""What the embedded server reads out of a statement."""

import pytest
from fieldstream_central.store.embedded.statement import (
    SeveralStatementsError,
    find_insert,
    output_format,
    single,
    verb,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"select 1", "SELECT"),
        (b"  -- note\n/* and\n more */ With x AS (SELECT 1) SELECT * FROM x", "WITH"),
        (b"((SELECT 1))", "SELECT"),
        (b"", ""),
        (b"'text'", ""),
    ],
)
def test_verb_is_found_behind_comments_and_parentheses(sql: bytes, expected: str) -> None:
    assert verb(sql) == expected


@pytest.mark.parametrize(
    ("sql", "statement", "name", "rows"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", "INSERT INTO t ", "CSV", b"1,2\n"),
        (b"INSERT INTO t (a) FORMAT Native \r\n\x01\x02", "INSERT INTO t (a) ", "Native", b"\x01\x02"),
        (b"insert into t format JSONEachRow {}", "insert into t ", "JSONEachRow", b"{}"),
        (b"INSERT INTO `format` FORMAT TSV\n\nx", "INSERT INTO `format` ", "TSV", b"\nx"),
        (b"INSERT INTO t SETTINGS x='FORMAT CSV' FORMAT TSV\n1", "INSERT INTO t SETTINGS x='FORMAT CSV' ", "TSV", b"1"),
        (b"INSERT /* FORMAT X */ INTO t FORMAT TSV\n1", "INSERT /* FORMAT X */ INTO t ", "TSV", b"1"),
    ],
)
def test_rows_begin_behind_the_format(sql: bytes, statement: str, name: str, rows: bytes) -> None:
    found = find_insert(sql)
    assert found is not None
    assert (found.sql, found.format, sql[found.data_start :]) == (statement, name, rows)


@pytest.mark.parametrize(
    "sql",
    [b"INSERT INTO t VALUES (1, 'FORMAT CSV')", b"INSERT INTO t SELECT 1 FORMAT Null", b"SELECT 1 FORMAT CSV", b""],
)
def test_statements_whose_rows_stand_in_the_text_are_not_split(sql: bytes) -> None:
    assert find_insert(sql) is None


@given(st.binary(max_size=300))
def test_any_rows_survive_the_split(rows: bytes) -> None:
    sql = b"INSERT INTO t FORMAT RowBinary\n" + rows
    found = find_insert(sql)
    assert found is not None
    assert sql[found.data_start :] == rows


def test_one_statement_may_end_with_a_semicolon_but_a_second_is_refused() -> None:
    assert single("SELECT ';' ; -- done\n") == "SELECT ';' "
    with pytest.raises(SeveralStatementsError):
        single("SELECT 1; DROP TABLE t")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1 FORMAT JSON", "JSON"),
        ("SELECT 1 format CSV;", "CSV"),
        ("SELECT 1 FORMAT CSV SETTINGS max_threads = 1", "CSV"),
        ("SELECT format('{}', a) FROM t", None),
        ("SELECT 'x FORMAT JSON'", None),
        ("SELECT format FROM t", None),
        ("SELECT 1", None),
    ],
)
def test_only_a_closing_format_clause_counts(sql: str, expected: str | None) -> None:
    assert output_format(sql) == expected
