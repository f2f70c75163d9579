"""The migrations as a cluster gets them. No cluster runs here: the engine's parser judges each statement."""

from fieldstream_central.store.clickhouse import ClickHouse
from fieldstream_central.store.cluster import render
from fieldstream_central.store.migrate import _PREPARE, migrations
from integration.store.rig import Store

STATEMENTS = [*_PREPARE, *(statement for migration in migrations() for statement in migration.statements)]


def test_every_statement_for_a_cluster_is_sql_to_the_engine(store: Store) -> None:
    with ClickHouse(store.url) as clickhouse:
        for statement in STATEMENTS:
            for one in render(statement, "plant"):
                assert clickhouse.execute(f"EXPLAIN AST {one.rstrip().rstrip(';')}")


def test_every_table_is_replicated_and_has_a_distributed_one_before_it() -> None:
    made: dict[str, str] = {}
    for statement in STATEMENTS:
        for one in render(statement, "plant"):
            if one.startswith("CREATE TABLE"):
                made[one.split("fieldstream.")[1].split()[0].split("(")[0]] = one
    spread = {name: sql for name, sql in made.items() if f"{name}_local" in made}
    assert {"readings_data", "windows_data", "rollups_data", "anomalies_data", "migrations"} <= spread.keys()
    for name, sql in spread.items():
        key = sql.rsplit("cityHash64(", 1)[1].rstrip(")")
        if " AS fieldstream." not in made[f"{name}_local"]:
            assert key in made[f"{name}_local"], f"{name} is spread by {key}, which it has not"
        assert "ENGINE = Replicated" in made[f"{name}_local"]
        assert "Distributed('plant'" in sql
        assert "non_replicated" not in made[f"{name}_local"]


def test_views_that_feed_tables_work_on_their_own_nodes_rows() -> None:
    feeds = [one for sql in STATEMENTS for one in render(sql, "plant") if one.startswith("CREATE MATERIALIZED")]
    assert len(feeds) >= 6
    for feed in feeds:
        head, _, body = feed.partition(" TO ")
        assert "ON CLUSTER 'plant'" in head
        assert body.split()[0].endswith("_local")
        assert all(word.rstrip(",)").endswith("_local") for word in body.split() if word.startswith("fieldstream."))
