"""Which stored files nothing in the ledger needs any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import select

from shared.database import Database
from shared.database.tables import Job, Search
from shared.ledger.jobs import OPEN_STATES


def unused_query_images(database: Database, keys: Iterable[str]) -> Iterator[str]:
    """Yield those of ``keys`` that no search waits for."""
    for key in keys:
        with database.read() as session:
            needed = session.scalar(
                select(Search.id)
                .where(Search.query_key == key, Search.state.in_(("queued", "running")))
                .limit(1)
            )
        if needed is None:
            yield key


def expired_imports(database: Database, names: Iterable[str]) -> Iterator[str]:
    """Yield those of the uploaded archives that no open job reads from."""
    with database.read() as session:
        sources = session.scalars(select(Job.source).where(Job.state.in_(OPEN_STATES))).all()
    needed = {source.get("archive") for source in sources}
    for name in names:
        if name not in needed:
            yield name
