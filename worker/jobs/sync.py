"""Deletions of a sync: products that the manifest, read to its end, does not name."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.contracts import ImportOptions
from shared.database import Database
from shared.database.pages import pages
from shared.database.tables import Job, JobFailure, JobItem, Product
from shared.errors import InvalidManifest
from shared.jobs.work import ChunkClaim, Item

_PAGE_ROWS = 1000
#: Rows that cannot be read, and rows whose product id is missing or damaged: each may mean any product.
_TORN_REASONS = frozenset(("invalid_row", "missing_product_id", "invalid_product_id"))


def deletions(
    database: Database, claim: ChunkClaim, options: ImportOptions, latest: Collection[str], torn: int
) -> Iterator[Item]:
    """Yield the products to delete. Called when all rows of the manifest were yielded.

    A product whose row has a problem is named and stays; so does one that was written after the import
    was asked for.

    Args:
        latest: products of the last rows, which may not be among the job's items yet.
        torn: rows that could not be read at all.

    Raises:
        InvalidManifest: it would delete more than its options allow, or rows cannot be read. The job
            has no chunks yet then, so nothing was changed. A dry run is not refused but reports it.
    """
    count = 0
    for page in _list_absent(database, claim, latest):
        for product_id in page:
            count += 1
            yield Item(0, 0, product_id, {"delete": True}, 0)
    with database.read() as session:
        text = refusal(session, claim, options, count, torn)
    if text is not None and not options.dry_run:
        raise InvalidManifest(text)


def refusal(session: Session, claim: ChunkClaim, options: ImportOptions, count: int, torn: int) -> str | None:
    """Return why a sync must not be done, or None.

    Args:
        count: products that it would delete.
        torn: rows that could not be read at all.
    """
    if torn and count:
        return (
            f"{torn:,} rows of the manifest cannot be read, so the products that they name are unknown: "
            f"nothing was changed, and {count:,} products not deleted. Correct them, or import without sync."
        )
    there = session.scalar(select(func.count()).where(Product.catalogue_id == claim.catalogue_id)) or 0
    if count <= options.max_delete_share * there:
        return None
    return (
        f"This would delete {count:,} of {there:,} products, more than the allowed "
        f"{options.max_delete_share:.0%}: nothing was changed. Is the manifest whole? If it is, allow more "
        "with max_delete_share."
    )


def _list_absent(database: Database, claim: ChunkClaim, latest: Collection[str]) -> Iterator[list[str]]:
    """Yield the catalogue's products that the job does not name, page by page."""
    accepted_at = select(Job.created_at).where(Job.id == claim.job_id).scalar_subquery()
    query = select(Product.id, Product.product_id, Product.updated_at < accepted_at).where(
        Product.catalogue_id == claim.catalogue_id
    )
    for page in pages(database, query, (Product.id,), _PAGE_ROWS):
        with database.read() as session:
            named = _named(session, claim.job_id, [product_id for _, product_id, _ in page])
        yield [p for _, p, is_older in page if is_older and p not in named and p not in latest]


def _named(session: Session, job_id: str, product_ids: list[str]) -> set[str | None]:
    return {
        product_id
        for table in (JobItem, JobFailure)
        for product_id in session.scalars(
            select(table.product_id).where(table.job_id == job_id, table.product_id.in_(product_ids))
        )
    }


def is_torn(product_id: str | None, reason: str) -> bool:
    """Return whether a row that has a problem may have meant any product."""
    return product_id is None and reason in _TORN_REASONS
