"""The migrations as files."""

from fieldstream_central.store.clickhouse import encode_param
from fieldstream_central.store.migrate import Migration, migrations


def test_numbers_rise_without_gap_and_every_file_has_statements() -> None:
    found = migrations()
    assert [migration.number for migration in found] == list(range(1, len(found) + 1))
    assert all(migration.statements for migration in found)


def test_statements_can_be_run_again() -> None:
    again = ("IF NOT EXISTS", "OR REPLACE", "IF EXISTS", "MODIFY COLUMN", "MATERIALIZE INDEX",
             "INSERT INTO fieldstream.rollup_touches")  # fmt: skip
    for migration in migrations():
        for when, statement in migration.guarded:
            assert when or any(mark in statement for mark in again), statement[:80]


def test_a_guard_belongs_to_the_statement_behind_it() -> None:
    text = "-- why\nDROP VIEW IF EXISTS a;\n\n-- when: SELECT 1 -- now\n-- why\nRENAME TABLE a TO b;\n"
    assert Migration(1, "a", text).guarded == [
        ("", "DROP VIEW IF EXISTS a"),
        ("SELECT 1 -- now", "RENAME TABLE a TO b;"),
    ]


def test_semicolons_in_comments_do_not_split_and_comments_do_not_count() -> None:
    one = Migration(1, "a", "-- first; second;\nCREATE TABLE IF NOT EXISTS t (a Int8);\n")
    other = Migration(1, "a", "-- something else\nCREATE TABLE IF NOT EXISTS t (a Int8);\n")
    assert one.statements == ["CREATE TABLE IF NOT EXISTS t (a Int8);"] or len(one.statements) == 1
    assert one.sha256 == other.sha256


def test_parameters_are_written_as_clickhouse_reads_them() -> None:
    assert encode_param("a\tb\\c\nd") == "a\\tb\\\\c\\nd"
    assert encode_param(None) == "\\N"
    assert encode_param(["it's", "b"]) == "['it\\'s','b']"
    assert encode_param(True) == "1"
