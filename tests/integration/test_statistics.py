"""Statistics of the tables reach connections that are open already: workers run for weeks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from shared.database import Database
from shared.database.migrate import migrate
from shared.database.statistics import refresh_statistics

_QUERY = "SELECT c FROM t WHERE a = 1 AND b = 1"


def _only_analyze(database: Database) -> None:
    with database.write_connection() as connection:
        connection.exec_driver_sql("ANALYZE")


def _index(connection: Connection, number: int) -> str:
    """Return the index of the query. The text is new each time, so that it is planned again."""
    text = _QUERY + " " * number
    connection.exec_driver_sql(text).all()
    plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()[0][3])
    return plan.partition("INDEX ")[2].split()[0]


@pytest.mark.parametrize(
    ("refresh", "is_seen"), [(refresh_statistics, True), (_only_analyze, False)], ids=["refresh", "control"]
)
def test_an_open_connection_plans_with_new_statistics(
    tmp_path: Path, refresh: Callable[[Database], None], is_seen: bool
) -> None:
    url = f"sqlite:///{tmp_path}/vitrine.sqlite3"
    database, other = Database(url), Database(url)
    with database.write_connection() as connection:
        for statement in (
            "CREATE TABLE t (a, b, c)",
            "CREATE INDEX by_a ON t (a)",
            "CREATE INDEX by_b ON t (b)",
            "INSERT INTO t WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 5000)"
            " SELECT 1, n, 0 FROM s",
        ):
            connection.exec_driver_sql(statement)
    refresh(database)
    with other.read_connection() as connection:
        assert _index(connection, 1) == "by_b"
        with database.write_connection() as writing:
            writing.exec_driver_sql("UPDATE t SET a = b, b = 1")
        refresh(database)
        assert (_index(connection, 2) == "by_a") is is_seen
    database.close()
    other.close()


def test_a_migration_leaves_statistics_and_connections_have_limits(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/vitrine.sqlite3")
    migrate(database)
    with database.read_connection() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name = 'sqlite_stat1'")
        assert tables.scalar() == "sqlite_stat1"
        for pragma, value in (("mmap_size", 0), ("journal_size_limit", 2**26)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    database.close()
