"""Products into index and catalogue, and out of them again: one micro-batch, one commit.

Milvus is written before the database: a death in between leaves rows that the next try writes
again under the same keys.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete

from shared.database.tables import Product
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem, StageTimes
from shared.retention.picture_sweep import PicturesSwept, require_no_sweep
from worker.indexes.rows import row_key
from worker.indexes.versions import IndexVersion, kept_indexes, next_change_number, open_collection
from worker.indexes.writes import delete_rows
from worker.products.batch import Batch, Content, Prepared, Target
from worker.products.changes import IndexChanges, restore_rows
from worker.products.context import JobContext
from worker.products.embedding import add_colours, embed_contents, open_targets
from worker.products.existing_embeddings import known_products
from worker.products.loading import Loader
from worker.products.order import find_superseded, note_deleted, superseded_outcome
from worker.products.tables import ChangedMeanwhile, require_unchanged, write_rows

log = logging.getLogger(__name__)

#: Products that others write all the time are left to a later try of the chunk.
_TRIES = 3


@dataclass(frozen=True)
class ProductStages:
    """Products of an import, or put by hand, on their way into index and catalogue.

    Attributes:
        live: the live index version; the others that are to be written are found at the start.
    """

    tools: JobContext
    claim: ChunkClaim
    live: IndexVersion
    loader: Loader
    targets: list[Target] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", open_targets(self.tools, self.claim.catalogue_id))

    def begin(self) -> None:
        """Make sure that there is a collection to write to."""
        open_collection(self.tools.database, self.tools.index, self.live)

    def load(self, items: Sequence[Item]) -> Batch:
        with self.tools.database.read() as session:
            superseded = find_superseded(session, self.claim, [item.product_id for item in items])
        current = [item for item in items if item.product_id not in superseded]
        batch = self.loader.load(self.tools.database, self.claim.catalogue_id, self.targets, current)
        batch.superseded = [item for item in items if item.product_id in superseded]
        return batch

    def embed(self, batch: Batch) -> None:
        embed_contents(batch, self.targets, lambda: self.tools.give_way(self.claim))

    def write(self, batch: Batch) -> None:
        for _ in range(_TRIES):
            try:
                return write_products(self.tools, self.claim, self.targets, batch)
            except (ChangedMeanwhile, PicturesSwept) as error:
                log.info("%s", error.message)
                batch = self._load_again(batch)
                embed_contents(batch, self.targets)
        return write_products(self.tools, self.claim, self.targets, batch)

    def _load_again(self, batch: Batch) -> Batch:
        """Load what the catalogue holds now; undo what the last try did to products that it leaves alone."""
        again = self.load([p.item for p in batch.products] + batch.superseded)
        left = {item.product_id for item in again.superseded}
        touched = [p for p in batch.products if p.item.product_id in left]
        if touched:
            restore_rows(self.tools, self.claim.catalogue_id, touched)
        return again


def write_products(tools: JobContext, claim: ChunkClaim, targets: Sequence[Target], batch: Batch) -> None:
    """Write the index versions and the catalogue, and record the outcomes.

    Raises:
        LostLease: somebody else has the chunk; the catalogue was not touched.
        ChangedMeanwhile: the batch was made from what the catalogue held before others wrote it; nothing
            of it was recorded. Rows that it wrote are the next try's, or surplus to it.
        PicturesSwept: pictures were deleted since it was loaded, perhaps some of its own; the same.
        Unavailable: the index or the database is away, or rows are to go elsewhere since a moment ago;
            doing the same items again is safe.
    """
    began = time.perf_counter()
    add_colours(batch)
    # What was put by hand counts as written now, whatever it was before.
    written = [p for p in batch.products if p.pictures and (p.changes or claim.kind == "put")]
    if written:
        with tools.database.read() as session:
            versions = kept_indexes(session, claim.catalogue_id)
            changes = IndexChanges(session, written, targets, versions)
        changes.carry_out(tools)
    outcomes = _outcomes(batch)
    with tools.database.write() as session:
        if written:
            change = next_change_number(session, claim.catalogue_id, [t.version for t in targets])
            known = {p.item.product_id: p.before for p in written if p.before is not None}
            require_unchanged(session, claim, known, [p.item.product_id for p in written])
            if not all(picture.known for p in written for picture in p.pictures):
                require_no_sweep(session, batch.swept)
            write_rows(session, claim, change, written, targets)
        spent = StageTimes(batch.decode_s, batch.detect_s, batch.embed_s, time.perf_counter() - began)
        tools.desk.record(session, claim, outcomes, spent)


def delete_products(tools: JobContext, claim: ChunkClaim, items: Sequence[Item]) -> None:
    """Delete products from all index versions and the catalogue; one that is gone counts as deleted.

    One of which a later change was accepted stays.

    Raises:
        ChangedMeanwhile: others kept writing these products; doing the same items again is safe.
    """
    for _ in range(_TRIES):
        try:
            return _delete_products(tools, claim, items)
        except ChangedMeanwhile as error:
            log.info("%s", error.message)
    return _delete_products(tools, claim, items)


def _delete_products(tools: JobContext, claim: ChunkClaim, items: Sequence[Item]) -> None:
    with tools.database.read() as session:
        superseded = find_superseded(session, claim, [item.product_id for item in items])
        current = [item.product_id for item in items if item.product_id not in superseded]
        versions = kept_indexes(session, claim.catalogue_id)
        known = known_products(session, claim.catalogue_id, -1, current)
    for version in versions:
        keys = [
            row_key(image_id, number)
            for k in known.values()
            for image_id, numbers in k.numbers.get(version.id, {}).items()
            for number in numbers
        ]
        delete_rows(tools.index, [version], keys)
    with tools.database.write() as session:
        next_change_number(session, claim.catalogue_id, versions)
        require_unchanged(session, claim, known, current)
        session.execute(delete(Product).where(Product.id.in_([k.row.id for k in known.values()])))
        note_deleted(session, claim, current)
        outcomes = [
            superseded_outcome(item) if item.product_id in superseded else Outcome(item, "deleted")
            for item in items
        ]
        tools.desk.record(session, claim, outcomes)


def _outcomes(batch: Batch) -> list[Outcome]:
    """What became of the items. Equal contents were embedded once: for the first of their pictures."""
    counted: set[str] = set()
    return [_outcome(p, counted) for p in batch.products] + [*map(superseded_outcome, batch.superseded)]


def _outcome(prepared: Prepared, counted: set[str]) -> Outcome:
    item = prepared.item
    if not prepared.pictures:
        problems = list(prepared.problems)
        if not problems:
            text = "This product has no picture: send at least one."
            problems.append(Problem(item.row, item.product_id, None, "no_image", text))
        return Outcome(item, "failed", 0, problems)
    fresh = [picture.content for picture in prepared.pictures if not picture.known]
    images = sum(_counts(content, counted) for content in fresh)
    result = "new" if prepared.before is None else "changed" if prepared.changes else "unchanged"
    return Outcome(item, result, images, prepared.problems, len(fresh) - images)


def _counts(content: Content, counted: set[str]) -> bool:
    fresh = content.embedded and content.sha256 not in counted
    counted.add(content.sha256)
    return fresh
