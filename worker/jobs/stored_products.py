"""Steps that jobs over stored products share: list the products, catch up with their changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.database.pages import pages
from shared.database.tables import Product
from shared.jobs.work import ChunkClaim, Item
from worker.indexes.versions import lock_catalogue_changes
from worker.products.context import JobContext
from worker.products.stored_source import StoredSource
from worker.products.writing import ProductStages

_PAGE_ROWS = 1000
#: Products that are caught up with together, and at most while all other changes wait.
_TOGETHER, _MAX_LAST = 64, 64


def list_products(context: JobContext, claim: ChunkClaim, *conditions: Any) -> Iterator[Item]:
    """Yield the catalogue's products that meet the conditions, page by page, as items of a job."""
    query = select(Product.id, Product.product_id).where(
        Product.catalogue_id == claim.catalogue_id, *conditions
    )
    number = 0
    for page in pages(context.database, query, (Product.id,), _PAGE_ROWS):
        for row in page:
            number += 1
            yield Item(number, number, row.product_id, {}, 0)


def catch_up(
    context: JobContext,
    claim: ChunkClaim,
    source: StoredSource,
    since: int,
    complete: Callable[[Session], None],
) -> None:
    """Write again what changed after change ``since``, until nothing is left, then call ``complete``.

    Jobs that fill the version and jobs that change its products write to Milvus in any order; this writes
    what the database has, last. ``complete`` is called in a transaction in which no other change can come,
    and must begin a new epoch of the version: other jobs then write their unfinished products again.

    Raises:
        LostLease, Unavailable: as for any step of a job.
    """
    stages = ProductStages(context, claim, source, is_recorded=False)
    while True:
        with context.database.read() as session:
            waiting = _changed_products(session, claim.catalogue_id, since)
        for start in range(0, len(waiting), _TOGETHER):
            context.give_way(claim)
            batch = stages.load(_as_items(waiting[start : start + _TOGETHER]))
            stages.embed(batch)
            stages.write(batch)
        since = max([since, *(change for change, _ in waiting)])
        if len(waiting) == _PAGE_ROWS:
            continue
        with context.database.write() as session:
            context.desk.renew_lease(session, claim)
            lock_catalogue_changes(session, claim.catalogue_id)
            last = _changed_products(session, claim.catalogue_id, since)
            if len(last) <= _MAX_LAST:
                # Their new pictures were embedded for this version by the job that brought them.
                source.rewrite(session, [product_id for _, product_id in last])
                complete(session)
                return


def _as_items(changed: Sequence[tuple[int, str]]) -> list[Item]:
    return [Item(0, 0, product_id, {}, 0) for _, product_id in changed]


def _changed_products(session: Session, catalogue_id: int, since: int) -> list[tuple[int, str]]:
    """Return the first products, by their last change, that changed after ``since``.

    The products of one change are never split.
    """
    query = (
        select(Product.change, Product.product_id)
        .where(Product.catalogue_id == catalogue_id, Product.change > since)
        .order_by(Product.change, Product.id)
    )
    rows = [(change, product_id) for change, product_id in session.execute(query.limit(_PAGE_ROWS))]
    if len(rows) == _PAGE_ROWS:
        last = rows[-1][0]
        rows = [row for row in rows if row[0] < last]
        same = query.where(Product.change == last)
        rows += [(change, product_id) for change, product_id in session.execute(same)]
    return rows
