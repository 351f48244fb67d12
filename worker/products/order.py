"""Order of changes: the one that was accepted last wins, in whichever order workers carry them out.

An import that was accepted at noon does not overwrite, or bring back, a product that was changed or deleted
at one.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.database.bulk import upsert_rows
from shared.database.tables import DeletedProduct, Product
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem

#: Reason code of a row that was not applied.
SUPERSEDED = "superseded"


def find_superseded(session: Session, claim: ChunkClaim, product_ids: Collection[str]) -> set[str]:
    """Return the products of which a change was accepted later than this job."""
    ids = list(product_ids)
    return {
        product_id
        for table in (Product, DeletedProduct)
        for product_id in session.scalars(
            select(table.product_id).where(
                table.catalogue_id == claim.catalogue_id,
                table.product_id.in_(ids),
                table.accepted_at > claim.accepted_at,
            )
        )
    }


def superseded_outcome(item: Item) -> Outcome:
    """Return the outcome of an item that is not applied: the product stays, and the job reports why."""
    message = (
        "This product was changed or deleted by a request that was accepted after this job, so the row was "
        "not applied. Send it again if it is what the product should be."
    )
    return Outcome(item, "unchanged", 0, [Problem(item.row, item.product_id, None, SUPERSEDED, message)])


def note_deleted(session: Session, claim: ChunkClaim, product_ids: Collection[str]) -> None:
    """Record deletions, so that older requests do not undo them."""
    rows = [
        {"catalogue_id": claim.catalogue_id, "product_id": product_id, "accepted_at": claim.accepted_at}
        for product_id in product_ids
    ]
    upsert_rows(session, DeletedProduct, rows, ("catalogue_id", "product_id"))
