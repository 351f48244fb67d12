"""Products out of all index versions and the catalogue."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import delete

from shared.database.tables import Product
from shared.jobs.work import ChunkClaim, Item, Outcome
from worker.indexes.rows import row_key
from worker.indexes.versions import kept_indexes, next_change_number
from worker.indexes.writes import delete_rows
from worker.products.context import JobContext
from worker.products.existing_embeddings import load_existing_products
from worker.products.order import find_superseded, note_deleted, superseded_outcome
from worker.products.tables import ProductsChanged, require_unchanged
from worker.products.writing import MAX_TRIES

log = logging.getLogger(__name__)


def delete_products(context: JobContext, claim: ChunkClaim, items: Sequence[Item]) -> None:
    """Delete products from all index versions and the catalogue; one that is gone counts as deleted.

    A product of which a later change was accepted stays.

    Raises:
        ProductsChanged: others kept writing these products; doing the same items again is safe.
    """
    for number in range(1, MAX_TRIES + 1):
        try:
            _delete_products(context, claim, items)
            return
        except ProductsChanged as error:
            if number == MAX_TRIES:
                raise
            log.info("%s", error.message)


def _delete_products(context: JobContext, claim: ChunkClaim, items: Sequence[Item]) -> None:
    with context.database.read() as session:
        superseded = find_superseded(session, claim, [item.product_id for item in items])
        current = [item.product_id for item in items if item.product_id not in superseded]
        versions = kept_indexes(session, claim.catalogue_id)
        existing = load_existing_products(session, claim.catalogue_id, current)
    for version in versions:
        keys = [
            row_key(image_id, number)
            for each in existing.values()
            for image_id, numbers in each.numbers.get(version.id, {}).items()
            for number in numbers
        ]
        delete_rows(context.index, [version], keys)
    with context.database.write() as session:
        next_change_number(session, claim.catalogue_id, versions)
        require_unchanged(session, claim, existing, current)
        session.execute(delete(Product).where(Product.id.in_([each.row.id for each in existing.values()])))
        note_deleted(session, claim, current)
        outcomes = [
            superseded_outcome(item) if item.product_id in superseded else Outcome(item, "deleted")
            for item in items
        ]
        context.desk.record(session, claim, outcomes)
