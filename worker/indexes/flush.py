"""Periodic flush of the rows of single updates: until a flush they are in Milvus' log only.

A bulk job flushes at its end. Rows of single updates were missing after a restart of Milvus 2.3.5
(docs/milvus.md), and many of them make the next start slow.
"""

from __future__ import annotations

import logging

from sqlalchemy import select

from shared.database import Database
from shared.database.tables import Catalogue, IndexVersionRow
from shared.errors import VitrineError
from shared.process.background import Periodic
from worker.indexes.versions import WRITTEN
from worker.vector_index.contract import VectorIndex

log = logging.getLogger(__name__)

#: Each flush of few rows makes a small segment, which Milvus has to merge later.
FLUSH_INTERVAL_S = 300.0


class IndexFlusher:
    """Flushes the collections whose catalogues changed since their last flush."""

    def __init__(self, database: Database, index: VectorIndex) -> None:
        self._database = database
        self._index = index
        self._flushed: dict[str, int] = {}

    def flush_changed(self) -> list[str]:
        """Flush changed collections, all of them at the first call; return those flushed."""
        with self._database.read() as session:
            found = session.execute(
                select(IndexVersionRow.collection, Catalogue.changes)
                .join(Catalogue, Catalogue.id == IndexVersionRow.catalogue_id)
                .where(IndexVersionRow.state.in_(WRITTEN), Catalogue.changes > 0)
            ).all()
        done = []
        for collection, changes in found:
            if self._flushed.get(collection) == changes:
                continue
            try:
                self._index.flush(collection)
            except VitrineError as error:
                log.info("%s is not flushed: %s", collection, error.message)
                continue
            self._flushed[collection] = changes
            done.append(collection)
        return done

    def keep_flushing(self) -> Periodic:
        """Flush every ``FLUSH_INTERVAL_S`` from a thread, until the returned object is stopped."""
        return Periodic("flush", FLUSH_INTERVAL_S, self.flush_changed).start()
