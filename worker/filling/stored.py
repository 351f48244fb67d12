"""Products that need no model into the collections of an index version: rebuild and catching up.

What the database has of a product is written as it is. Products change meanwhile: if any did since a batch
was read, the transaction that records it takes out of the index what is no longer there, and what is there
in another form is caught up with at the end of the job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from sqlalchemy.orm import Session

from worker.indexes.expected_rows import known_keys
from worker.indexes.stored_rows import StoredRows, rows_of_products
from worker.indexes.versions import IndexVersion, lock_catalogue_changes, require_same_places
from worker.indexes.writes import delete_rows, write_rows
from worker.products.context import JobContext
from worker.vector_index.contract import IndexRow


class RowFiller:
    """Writes the rows of products, as the database has them, into one index version.

    Args:
        collections: where the rows go, if not to all collections of the version.
    """

    def __init__(
        self,
        tools: JobContext,
        catalogue_id: int,
        version: IndexVersion,
        collections: Sequence[str] | None = None,
    ) -> None:
        self._tools = tools
        self._catalogue_id = catalogue_id
        self._version = version
        self._collections = collections

    def load(self, product_ids: Collection[str]) -> StoredRows:
        """Read products with their embeddings."""
        with self._tools.database.read() as session:
            return rows_of_products(session, self._catalogue_id, self._version.id, product_ids)

    def write(self, stored: StoredRows, record: Callable[[Session, float], None] | None = None) -> None:
        """Write the rows, then make sure that they are still wanted.

        Args:
            record: called in the transaction that makes sure of it, with the session and the seconds that
                the index took.

        Raises:
            Unavailable: index or database are away; the same again is safe.
        """
        started = time.perf_counter()
        self._upsert(stored.rows)
        write_s = time.perf_counter() - started
        with self._tools.database.write() as session:
            changes = lock_catalogue_changes(session, self._catalogue_id)
            require_same_places(session, self._version)
            if record is not None:
                record(session, write_s)
            if changes != stored.changes:
                # Before the commit: a death after it would leave them, and nobody would come back here.
                self._drop_gone(session, stored.rows)

    def rewrite(self, session: Session, product_ids: Collection[str]) -> None:
        """Write the rows of products again from what the database has in this transaction."""
        self._upsert(rows_of_products(session, self._catalogue_id, self._version.id, product_ids).rows)

    def bring_up(self, product_ids: Collection[str]) -> None:
        """Read and write products."""
        self.write(self.load(product_ids))

    def _upsert(self, rows: Sequence[IndexRow]) -> None:
        if self._collections is None:
            write_rows(self._tools.index, self._version, rows)
            return
        for collection in self._collections:
            self._tools.index.upsert(collection, rows)

    def _drop_gone(self, session: Session, rows: Sequence[IndexRow]) -> None:
        keys = [row.key for row in rows]
        there = known_keys(session, self._version.id, keys)
        gone = [key for key in keys if key not in there]
        if self._collections is None:
            delete_rows(self._tools.index, [self._version], gone)
            return
        for collection in self._collections:
            self._tools.index.delete(collection, gone)
