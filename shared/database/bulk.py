"""Many rows in one statement: no round trip a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from shared.database.tables import Base

Values = Mapping[str, Any]


def insert_rows(session: Session | Connection, table: type[Base], rows: Sequence[Values]) -> None:
    """Insert rows, all with the same columns; none is fine."""
    if rows:
        connection = session.connection() if isinstance(session, Session) else session
        connection.execute(_inserting(table), [dict(row) for row in rows])


def upsert_rows(
    session: Session, table: type[Base], rows: Sequence[Values], unique: Sequence[str], *wanted: str
) -> list[tuple[Any, ...]]:
    """Insert rows, or change those that have the same values in the ``unique`` columns.

    Args:
        rows: all with the same columns, no two with the same unique values.
        unique: columns of a unique constraint.
        wanted: columns to return.

    Returns:
        The wanted columns of every row, in any order; empty where none is wanted.
    """
    if not rows:
        return []
    target = _table(table)
    make = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement: Any = make(target)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in unique}
    statement = statement.on_conflict_do_update(index_elements=list(unique), set_=changed)
    if wanted:
        statement = statement.returning(*(target.c[name] for name in wanted))
    result = session.connection().execute(statement, [dict(row) for row in rows])
    return [tuple(row) for row in result] if wanted else []


@cache
def _inserting(table: type[Base]) -> Insert:
    return insert(_table(table))


def _table(table: type[Base]) -> Table:
    found = table.__table__
    assert isinstance(found, Table)
    return found
