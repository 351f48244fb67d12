"""The one write path: load, embed and write products, whatever they come from and wherever they go.

The sources are a manifest's items (``ManifestSource``) and what the database has (``StoredSource``). The
index is written before the database: a death in between leaves rows that the next try writes again under
the same keys.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy.orm import Session

from shared.jobs.work import ChunkClaim, Item, Outcome, Problem, StageTimes
from shared.retention.picture_sweep import PicturesSwept
from worker.indexes.versions import IndexVersion
from worker.indexes.writes import delete_rows, write_rows
from worker.products.batch import Batch, Content, PreparedProduct, Target
from worker.products.context import JobContext
from worker.products.embedding import embed_contents, name_colours
from worker.products.index_rows import new_rows, surplus_keys
from worker.products.tables import ProductsChanged

log = logging.getLogger(__name__)

#: Products that others keep writing are left to a later try of the chunk.
MAX_TRIES = 4


class ProductSource(Protocol):
    """Where products come from, and what of them the catalogue's tables get."""

    @property
    def versions(self) -> Sequence[IndexVersion]:
        """The index versions that are written."""

    @property
    def targets(self) -> Sequence[Target]:
        """Those of them that pictures are embedded for, with their models."""

    @property
    def only_collection(self) -> str | None:
        """The one collection that is written, None for all of each version."""

    @property
    def keeps_unusable(self) -> bool:
        """Whether a picture that cannot be used stays with its product as it is."""

    def load(self, items: Sequence[Item]) -> Batch:
        """Read the items' products, and decode the pictures that are to be embedded."""

    def reload(self, batch: Batch) -> Batch:
        """Load the items again, and undo what the abandoned try wrote of those that are left alone now."""

    def products_to_write(self, batch: Batch) -> list[PreparedProduct]:
        """Return the products that index and catalogue have to be written for."""

    def versions_to_clear(self, session: Session) -> list[IndexVersion]:
        """Return the index versions that surplus rows are deleted from."""

    def lock(self, session: Session, batch: Batch, products: Sequence[PreparedProduct]) -> int:
        """Keep other changes of the catalogue away; return the number that ``commit`` gets.

        Raises:
            ProductsChanged, PicturesSwept: the batch is out of date: it is to be loaded again.
            IndexUnavailable: rows go elsewhere now.
        """

    def commit(
        self, session: Session, batch: Batch, products: Sequence[PreparedProduct], change: int
    ) -> None:
        """Write the catalogue's tables."""


@dataclass(frozen=True)
class ProductStages:
    """Products of one source on their way into index versions and catalogue; see ``pipeline_runner``.

    Attributes:
        is_recorded: whether outcomes are recorded; not for products that no item of the job stands for.
    """

    context: JobContext
    claim: ChunkClaim
    source: ProductSource
    is_recorded: bool = True

    def load(self, items: Sequence[Item]) -> Batch:
        return self.source.load(items)

    def embed(self, batch: Batch) -> None:
        embed_contents(batch, self.source.targets, lambda: self.context.give_way(self.claim))

    def write(self, batch: Batch) -> None:
        """Write the index versions and the catalogue, and record the outcomes.

        Raises:
            LostLease: another worker has the chunk; the catalogue was not touched.
            ProductsChanged, PicturesSwept: others kept changing these products; nothing was recorded. Rows
                that were written are the next try's, or surplus to it.
            Unavailable: index or database are away, or rows are to go elsewhere since a moment ago; doing
                the same items again is safe.
        """
        for number in range(1, MAX_TRIES + 1):
            try:
                self._write(batch)
                return
            except (ProductsChanged, PicturesSwept) as error:
                if number == MAX_TRIES:
                    raise
                log.info("%s", error.message)
                batch = self.source.reload(batch)
                embed_contents(batch, self.source.targets)

    def _write(self, batch: Batch) -> None:
        began = time.perf_counter()
        name_colours(batch)
        _set_aside_unusable(batch, self.source.keeps_unusable)
        products = self.source.products_to_write(batch)
        outcomes = _outcomes(batch)
        self._write_index(batch, products)
        with self.context.database.write() as session:
            change = self.source.lock(session, batch, products)
            if self.is_recorded:
                write_s = time.perf_counter() - began
                spent = StageTimes(batch.decode_s, batch.detect_s, batch.embed_s, write_s)
                self.context.desk.record(session, self.claim, outcomes, spent)
            self.source.commit(session, batch, products, change)

    def _write_index(self, batch: Batch, products: Sequence[PreparedProduct]) -> None:
        """Write rows of new pictures and of indexed ones that say something else; delete surplus rows."""
        source, index = self.source, self.context.index
        targets = {target.version.id: target for target in source.targets}
        for version in source.versions:
            rows = list(batch.kept_rows.get(version.id, ()))
            if version.id in targets:
                rows += new_rows(products, targets[version.id])
            write_rows(index, version, rows, source.only_collection)
        if not products:
            return
        with self.context.database.read() as session:
            versions = source.versions_to_clear(session)
        for version in versions:
            models = targets[version.id].models if version.id in targets else None
            keys = [*surplus_keys(products, version.id, models)]
            delete_rows(index, [version], keys, source.only_collection)


def _set_aside_unusable(batch: Batch, is_kept: bool) -> None:
    """Note why pictures cannot be used; take them from their products, or keep them as they are."""
    for prepared in batch.products:
        usable = []
        for picture in prepared.pictures:
            content, item = picture.content, prepared.item
            for reason in (content.problem, content.note):
                if reason is not None:
                    problem = Problem(item.row, item.product_id, picture.name[:500], *reason)
                    prepared.problems.append(problem)
            if content.problem is None:
                usable.append(picture)
            elif is_kept:
                usable.append(replace(picture, is_indexed=True))
        prepared.pictures = usable


def _outcomes(batch: Batch) -> list[Outcome]:
    """Return what became of the items. A content counts as embedded for the first of its pictures."""
    counted: set[str] = set()
    return [_outcome(prepared, counted) for prepared in batch.products] + batch.settled


def _outcome(prepared: PreparedProduct, counted: set[str]) -> Outcome:
    item = prepared.item
    if all(picture.content.problem is not None for picture in prepared.pictures):
        problems = list(prepared.problems)
        if not problems:
            text = "This product has no picture: send at least one."
            problems.append(Problem(item.row, item.product_id, None, "no_image", text))
        return Outcome(item, "failed", 0, problems)
    fresh = [picture.content for picture in prepared.pictures if not picture.is_indexed]
    images = sum(_is_counted(content, counted) for content in fresh)
    result = "new" if prepared.existing is None else "changed" if prepared.is_changed else "unchanged"
    return Outcome(item, result, images, prepared.problems, len(fresh) - images)


def _is_counted(content: Content, counted: set[str]) -> bool:
    is_first = content.is_embedded and content.sha256 not in counted
    counted.add(content.sha256)
    return is_first
