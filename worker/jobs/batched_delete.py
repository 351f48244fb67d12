"""Batched deletion of many rows: searches and imports continue between two batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, delete, inspect, select, tuple_
from sqlalchemy.orm import Session

from shared.database import execute_rowcount
from shared.database.tables import Base
from shared.jobs.work import ChunkClaim
from worker.products.context import JobContext

#: Maximum number of rows deleted in one transaction.
PIECE = 1000


def delete_in_pieces(
    context: JobContext,
    claim: ChunkClaim,
    table: type[Base],
    which: ColumnElement[bool],
    note: Callable[[Session, int], None] = lambda session, gone: None,
) -> None:
    """Delete the rows of a table that ``which`` is true of, and what the database deletes with them.

    Args:
        note: called in each piece's transaction with the number of rows that it deletes.

    Raises:
        LostLease, WorkerStopping: what is deleted by then stays deleted; doing it again goes on from there.
    """
    keys: list[Any] = list(inspect(table).primary_key)
    some = select(*keys).where(which).limit(PIECE)
    while True:
        with context.database.write() as session:
            context.desk.renew_lease(session, claim)
            chosen = keys[0].in_(some.scalar_subquery()) if len(keys) == 1 else tuple_(*keys).in_(some)
            gone = execute_rowcount(session, delete(table).where(chosen))
            note(session, gone)
        if not gone:
            return
        context.give_way(claim)
