"""Insert or update many rows in one statement."""

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
    """Insert rows, all with the same columns; do nothing without rows."""
    if rows:
        connection = session.connection() if isinstance(session, Session) else session
        connection.execute(_insert_statement(table), [dict(row) for row in rows])


def upsert_rows(
    session: Session, table: type[Base], rows: Sequence[Values], unique: Sequence[str], *returning: str
) -> list[tuple[Any, ...]]:
    """Insert rows, or update those with the same values in the ``unique`` columns.

    Args:
        rows: all with the same columns, no two with the same unique values.
        unique: columns of a unique constraint.
        returning: columns to return.

    Returns:
        Those columns of every row, in any order; empty without ``returning``.
    """
    if not rows:
        return []
    target = _table(table)
    make = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement: Any = make(target)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in unique}
    statement = statement.on_conflict_do_update(index_elements=list(unique), set_=changed)
    if returning:
        statement = statement.returning(*(target.c[name] for name in returning))
    result = session.connection().execute(statement, [dict(row) for row in rows])
    return [tuple(row) for row in result] if returning else []


@cache
def _insert_statement(table: type[Base]) -> Insert:
    return insert(_table(table))


def _table(table: type[Base]) -> Table:
    found = table.__table__
    assert isinstance(found, Table)
    return found
