"""Imports, and products put or deleted one at a time."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.contracts import ImportMode, ImportOptions, ProductIn
from shared.contracts.stored import NEEDS, as_object, needed_by, read_stored
from shared.database.pages import pages
from shared.database.tables import Catalogue, JobItem, Product
from shared.errors import VitrineError
from shared.imports.folder_rows import UNREADABLE_FILE
from shared.imports.manifest import Row, read_rows
from shared.imports.sources import Source
from shared.imports.tables import Reading
from shared.jobs.plan import STRETCH
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem
from worker.indexes.versions import IndexVersion, live_index, live_or_new, open_collection
from worker.jobs.dry_run import DryRunStages, dry_run_report, unknown_product
from worker.jobs.manifest_preview import describe_columns, preview_products
from worker.jobs.reconcile import reconcile
from worker.jobs.refetch import Refetch
from worker.jobs.sync import deletions, is_torn
from worker.products.context import JobContext
from worker.products.deletion import delete_products
from worker.products.manifest_source import ManifestSource
from worker.products.pipeline_runner import do_items
from worker.products.writing import ProductStages

log = logging.getLogger(__name__)

#: A job over at most that many products, and that share of the catalogue, compares only its own products.
_MAX_SMALL = 5000
_MAX_SMALL_SHARE = 0.1
_PAGE_ROWS = 200


@dataclass(frozen=True)
class ImportProducts:
    """Reads a manifest and writes its products; a single update is an import of one."""

    context: JobContext
    finishes = True

    def plan(self, claim: ChunkClaim) -> Iterator[Item | Problem]:
        options = _options(claim)
        latest: deque[str] = deque(maxlen=STRETCH)
        torn = unread = 0
        with self._source(claim) as source:
            for row in read_rows(source, self._reading(claim, options)):
                entry = _entry(row, options.mode)
                if entry.product_id is not None:
                    latest.append(entry.product_id)
                if isinstance(entry, Problem):
                    torn += is_torn(entry.product_id, entry.reason)
                    unread += entry.reason == UNREADABLE_FILE
                yield entry
        # While a file cannot be read, it may be the picture of any product that seems to be gone.
        if options.mode == "sync" and not unread:
            yield from deletions(self.context.database, claim, options, latest, torn)

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        context, options = self.context, _options(claim)
        with self._source(claim) as source:
            if options.dry_run:
                with context.database.read() as session:
                    live = live_index(session, claim.catalogue_id)
                do_items(context, claim, items, DryRunStages(context, claim, live, source))
                return
            if options.mode == "metadata_only":
                items = self._drop_unknown(claim, items)
            gone = [item for item in items if "delete" in item.payload]
            if gone:
                delete_products(context, claim, gone)
                items = [item for item in items if "delete" not in item.payload]
            live = live_or_new(
                context.database, claim.catalogue_id, context.pipelines.default, context.prefix
            )
            stages = ProductStages(context, claim, ManifestSource(context, claim, source))

            def begin() -> None:
                open_collection(context.database, context.index, live)

            do_items(context, claim, items, stages, begin=begin)

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        """Fetch failed pictures again, then compare index and catalogue; or report what a dry run found."""
        options = _options(claim)
        if options.dry_run:
            return {"dry_run": self._dry_run_report(claim, options)}
        refetched = Refetch(self.context, self.work).run(claim)
        with self.context.database.read() as session:
            live = live_index(session, claim.catalogue_id)
            is_small = _is_small(session, claim)
        if live is None:
            return refetched or None
        self._flush(claim, live)
        products = self._list_written(claim) if is_small else None
        report = reconcile(self.context, claim, live, repair=options.repair, products=products)
        if report.missing and not report.repaired:
            # Searches do not find them, which is what the import was for.
            text = f"{report.missing:,} rows are missing from the index: `vitrine reconcile {claim.catalogue}"
            self.context.desk.record_error(claim, "index_incomplete", f"{text} --repair` writes them.")
        return {"reconcile": report.as_json(), **refetched}

    def _dry_run_report(self, claim: ChunkClaim, options: ImportOptions) -> dict[str, Any]:
        context = self.context
        with self._source(claim) as source:
            columns = describe_columns(source, self._reading(claim, options))
            limit = context.limits.max_bytes
            products = preview_products(context.database, claim, source, context.pictures, limit)
        with context.database.read() as session:
            report = dry_run_report(session, claim, options)
        return {**report, "manifest": columns, "products": products}

    def _reading(self, claim: ChunkClaim, options: ImportOptions) -> Reading:
        """Return how the manifest is read: as the request says, else as the catalogue keeps it."""
        with self.context.database.read() as session:
            row = session.get_one(Catalogue, claim.catalogue_id)
            kept, currency = as_object(row.import_mapping), row.currency
        if options.mapping is None:
            return Reading(kept, currency=currency)
        return Reading(options.mapping, is_strict=True, currency=currency)

    def _flush(self, claim: ChunkClaim, live: IndexVersion) -> None:
        """Make Milvus build its index over the new rows; until then they are scanned."""
        try:
            self.context.index.flush(live.collection, wait=False)
        except VitrineError as error:
            log.warning("the index of %s is not flushed: %s", claim.catalogue, error.message)

    def _list_written(self, claim: ChunkClaim) -> Iterator[list[str]]:
        """Yield the products that the job wrote or deleted, page by page."""
        query = select(JobItem.number, JobItem.product_id).where(
            JobItem.job_id == claim.job_id, JobItem.state == "done"
        )
        for page in pages(self.context.database, query, (JobItem.number,), _PAGE_ROWS):
            yield [row.product_id for row in page]

    def _drop_unknown(self, claim: ChunkClaim, items: Sequence[Item]) -> list[Item]:
        """Record items of products that do not exist as failed; return the other items."""
        with self.context.database.read() as session:
            known = set(
                session.scalars(
                    select(Product.product_id).where(
                        Product.catalogue_id == claim.catalogue_id,
                        Product.product_id.in_([item.product_id for item in items]),
                    )
                )
            )
        unknown = [item for item in items if item.product_id not in known]
        if unknown:
            with self.context.database.write() as session:
                outcomes = [Outcome(item, "failed", 0, [unknown_product(item)]) for item in unknown]
                self.context.desk.record(session, claim, outcomes)
        return [item for item in items if item.product_id in known]

    def _source(self, claim: ChunkClaim) -> AbstractContextManager[Source]:
        """Open the source that the job reads from."""
        return self.context.sources.open(claim.job_id, claim.source, self.context.desk.report_progress)


@dataclass(frozen=True)
class DeleteProducts:
    """Deletes products from index and catalogue."""

    context: JobContext
    finishes = False

    def plan(self, claim: ChunkClaim) -> Iterable[Item | Problem]:
        return ()

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        delete_products(self.context, claim, items)

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        return None


def _options(claim: ChunkClaim) -> ImportOptions:
    return read_stored(ImportOptions, claim.options, "The options of this import")


def _entry(row: Row, mode: ImportMode) -> Item | Problem:
    """Turn a manifest's row into an item of the job, or a problem."""
    data_only = mode == "metadata_only"
    problem = None if data_only and row.product is not None else row.problem
    if problem is not None or row.product is None or row.product_id is None:
        reason, message = problem or ("invalid_row", "This row is no product.")
        return Problem(row.number, row.product_id, row.file and row.file[:500], reason, message)
    # Without names of files the product keeps its pictures.
    pictures = {"images": None} if data_only else {"files": row.images}
    payload: dict[str, Any] = {"product": row.product.model_dump(mode="json"), **pictures}
    if ProductIn.NEEDED_BY:
        payload[NEEDS] = needed_by(ProductIn, row.product.model_dump(exclude_defaults=True))
    return Item(row.number, row.number, row.product_id, payload, 0)


def _is_small(session: Session, claim: ChunkClaim) -> bool:
    """Return whether the job is small compared with the catalogue: comparing all would be a waste."""
    of_job = session.scalar(select(func.count()).where(JobItem.job_id == claim.job_id)) or 0
    there = session.scalar(select(func.count()).where(Product.catalogue_id == claim.catalogue_id)) or 0
    return of_job <= min(_MAX_SMALL, _MAX_SMALL_SHARE * there)
