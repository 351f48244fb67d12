"""Remove what an abandoned try of a chunk left in the index.

The index is written before the database. A try that dies or loses its lease in between leaves rows, which the
next try writes again under the same keys. If a later change or deletion of the product won by then, no try
writes them again: they would stay, and searches would find them in vain.
"""

from __future__ import annotations

import logging

from shared.errors import NotFound, VitrineError
from shared.jobs.work import ChunkClaim
from worker.indexes.expected_rows import keys_of_products, known_keys
from worker.indexes.stored_rows import rows_of_keys
from worker.indexes.versions import IndexVersion, change_version, kept_indexes
from worker.indexes.writes import delete_rows, write_rows
from worker.products.context import JobContext
from worker.vector_index import matches

log = logging.getLogger(__name__)

#: Products of one question to the index.
_PAGE_PRODUCTS = 500


def remove_leftovers(context: JobContext, claim: ChunkClaim) -> None:
    """Delete index rows of a chunk's products that the database does not have. Safe next to other writers.

    Raises:
        IndexUnavailable, DatabaseUnavailable: doing it again is safe.
    """
    ids = context.desk.product_ids(claim)
    with context.database.read() as session:
        versions = kept_indexes(session, claim.catalogue_id)
    for version in versions:
        for first in range(0, len(ids), _PAGE_PRODUCTS):
            for collection in version.collections:
                _clean(context, claim, version, collection, ids[first : first + _PAGE_PRODUCTS])


def try_to_remove_leftovers(context: JobContext, claim: ChunkClaim) -> None:
    """Do it after a lost lease; what is left if index or database are away, `vitrine reconcile` finds."""
    try:
        remove_leftovers(context, claim)
    except VitrineError as error:
        log.warning("leftovers of chunk %s stay in the index: %s", claim.id, error.message)


def _clean(
    context: JobContext, claim: ChunkClaim, version: IndexVersion, collection: str, ids: list[str]
) -> None:
    try:
        found = set(context.index.sorted_keys(collection, matches("product_id", ids)))
    except NotFound:
        return  # of a version that is dropped, or waits for a rebuild
    with context.database.read() as session:
        leftovers = sorted(found - keys_of_products(session, version.id, claim.catalogue_id, ids))
    if not leftovers:
        return
    delete_rows(context.index, [version], leftovers, collection)
    # Another worker may be about to commit rows under these keys. It commits before the new epoch, and its
    # rows are written again here, or after it, and has to write them again itself.
    with context.database.write() as session:
        change_version(session, version)
    with context.database.read() as session:
        known = sorted(known_keys(session, version.id, leftovers))
        rows = rows_of_keys(session, version.id, known)
    write_rows(context.index, version, rows, collection)
    log.info("removed %d rows of an abandoned try from %s", len(leftovers) - len(known), collection)
