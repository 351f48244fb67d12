"""Products as the database has them: the source of re-processing, catching up and rebuilds.

Products change concurrently. The transaction that records a batch deletes the rows of what is gone from the
index; what changed otherwise is written again when the job catches up at its end.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, exists, select, true, update
from sqlalchemy.orm import Session

from shared.database.tables import Detection as DetectionRow
from shared.database.tables import Image as ImageRow
from shared.database.tables import Product
from shared.filters import FilterFields
from shared.jobs.work import Item, Outcome
from worker.indexes.expected_rows import known_keys
from worker.indexes.rows import row_key
from worker.indexes.stored_rows import StoredRows, rows_of_products
from worker.indexes.versions import (
    IndexVersion,
    lock_catalogue_changes,
    next_change_number,
    require_same_collections,
)
from worker.indexes.writes import delete_rows, write_rows
from worker.products.batch import Batch, Content, ExistingProduct, Picture, PreparedProduct, Target
from worker.products.context import JobContext
from worker.products.embedding import open_target
from worker.products.manifest_source import indexed_picture
from worker.products.pictures import load_contents
from worker.products.tables import write_detections

#: Which pictures are embedded: none; those that the version lacks; those, and what other models made; all.
Scope = Literal["none", "missing", "stale", "all"]


class StoredSource:
    """Products of a catalogue with what one index version has of them.

    Args:
        version: what is filled; its models are loaded unless the scope is ``none``.
        only_collection: the one of its collections that is written, None for all.
    """

    #: A picture that cannot be used stays a picture of the product, with the objects that it has.
    keeps_unusable = True

    def __init__(
        self,
        context: JobContext,
        catalogue_id: int,
        version: IndexVersion,
        scope: Scope,
        only_collection: str | None = None,
    ) -> None:
        self._context = context
        self._catalogue_id = catalogue_id
        self._scope = scope
        self.only_collection = only_collection
        self.versions = [version]
        self.targets: Sequence[Target] = [] if scope == "none" else [open_target(context, version)]

    @property
    def version(self) -> IndexVersion:
        return self.versions[0]

    def needs_embedding(self) -> ColumnElement[bool]:
        """Return the condition on pictures of being in the scope."""
        if self._scope == "all":
            return true()
        has = exists().where(
            DetectionRow.image_id == ImageRow.id, DetectionRow.index_version == self.version.id
        )
        if self._scope == "stale":
            has = has.where(DetectionRow.models == self.targets[0].models)
        return ~has

    def load(self, items: Sequence[Item]) -> Batch:
        """Read products, and decode the pictures that are to be embedded."""
        began = time.perf_counter()
        ids = [item.product_id for item in items]
        with self._context.database.read() as session:
            stored = rows_of_products(session, self._catalogue_id, self.version.id, ids)
            found = self._pictures_of(session, ids) if self.targets else []
        products = self._prepare(items, stored, found)
        new = [p for each in products for p in each.pictures if not p.is_indexed]
        contents = {picture.content.sha256: picture.content for picture in new}
        load_contents(self._context, self.targets, list(contents.values()), reuse=self._scope != "all")
        fresh = {picture.image_id for picture in new}
        prepared = {each.item.product_id for each in products}
        return Batch(
            items,
            products,
            list(contents.values()),
            {self.version.id: [row for row in stored.rows if row.image_id not in fresh]},
            [
                Outcome(item, "unchanged" if item.product_id in stored.product_ids else "deleted")
                for item in items
                if item.product_id not in prepared
            ],
            changes=stored.changes,
            decode_s=time.perf_counter() - began,
        )

    def reload(self, batch: Batch) -> Batch:
        """Load the same products again."""
        return self.load(batch.items)

    def products_to_write(self, batch: Batch) -> list[PreparedProduct]:
        """Return the products with pictures that were to be embedded."""
        return batch.products

    def versions_to_clear(self, session: Session) -> list[IndexVersion]:
        """Return the version itself: what other versions have of the products stays."""
        return self.versions

    def lock(self, session: Session, batch: Batch, products: Sequence[PreparedProduct]) -> int:
        """Keep other changes away until the transaction ends; return the number of the last one before.

        In the live version it counts as a change of the products: imports that read them before then load
        them again.

        Raises:
            IndexUnavailable: other collections of the version are written now: write the rows again.
        """
        # Not for pictures that cannot be used: catching up would find their products again for ever.
        fresh = [p for p in products if not all(picture.is_indexed for picture in p.pictures)]
        if self.version.state == "live" and fresh:
            change = next_change_number(session, self._catalogue_id)
            ids = [p.existing.row.id for p in fresh if p.existing is not None]
            session.execute(update(Product).where(Product.id.in_(ids)).values(change=change))
            before = change - 1
        else:
            before = lock_catalogue_changes(session, self._catalogue_id)
        require_same_collections(session, self.version)
        return before

    def commit(
        self, session: Session, batch: Batch, products: Sequence[PreparedProduct], change: int
    ) -> None:
        """Write the objects of what was embedded; delete the rows of what is gone from the index.

        The rows go before the commit: after a death in between no later step would find them.
        """
        if change != batch.changes:
            self._drop_gone(session, batch, products)
        if self.targets and products:
            write_detections(session, products, self.targets)
            self._add_hashes(session, products)

    def rewrite(self, session: Session, product_ids: Collection[str]) -> None:
        """Write the rows of products again from what the database has in this transaction."""
        stored = rows_of_products(session, self._catalogue_id, self.version.id, product_ids)
        write_rows(self._context.index, self.version, stored.rows, self.only_collection)

    def _pictures_of(self, session: Session, product_ids: Sequence[str]) -> Sequence[Any]:
        """Return rows of product, picture, and whether the picture is to be embedded."""
        return session.execute(
            select(Product, ImageRow, self.needs_embedding())
            .join(ImageRow, ImageRow.product == Product.id)
            .where(Product.catalogue_id == self._catalogue_id, Product.product_id.in_(product_ids))
            .order_by(Product.id, ImageRow.position)
        ).all()

    def _prepare(
        self, items: Sequence[Item], stored: StoredRows, found: Sequence[Any]
    ) -> list[PreparedProduct]:
        """Return the products that have pictures to embed, with all their pictures."""
        numbers: dict[str, list[int]] = {}
        for row in stored.rows:
            numbers.setdefault(row.image_id, []).append(row.number)
        by_id = {item.product_id: item for item in items}
        needed = {product.id for product, _, needs in found if needs}
        prepared: dict[int, PreparedProduct] = {}
        contents: dict[str, Content] = {}
        for product, image, needs in found:
            if product.id not in needed:
                continue
            if product.id not in prepared:
                existing = ExistingProduct(product, {}, {self.version.id: {}})
                fields = FilterFields.from_json(product.facts)
                item = by_id[product.product_id]
                prepared[product.id] = PreparedProduct(item, product, product.digest, existing, fields)
            each = prepared[product.id]
            assert each.existing is not None
            each.existing.images[image.id] = image
            each.existing.numbers[self.version.id][image.id] = numbers.get(image.id, [])
            if needs:
                content = contents.setdefault(image.sha256, Content(image.sha256))
                each.pictures.append(Picture(image.id, content, image.sha256, is_indexed=False))
            else:
                each.pictures.append(indexed_picture(image))
        return list(prepared.values())

    def _drop_gone(self, session: Session, batch: Batch, products: Sequence[PreparedProduct]) -> None:
        """Delete from the index, and leave out of the products, what the catalogue has no longer."""
        kept = [row.key for row in batch.kept_rows.get(self.version.id, [])]
        fresh = [p for each in products for p in each.pictures if not p.is_indexed]
        there = set(session.scalars(select(ImageRow.id).where(ImageRow.id.in_({p.image_id for p in fresh}))))
        keys = sorted(set(kept) - known_keys(session, self.version.id, kept))
        for target in self.targets:
            keys += [
                row_key(picture.image_id, number)
                for picture in fresh
                if picture.image_id not in there
                for number in range(len(picture.content.objects.get(target.models, ())))
            ]
        delete_rows(self._context.index, self.versions, keys, self.only_collection)
        for each in products:
            each.pictures = [p for p in each.pictures if p.is_indexed or p.image_id in there]

    def _add_hashes(self, session: Session, products: Sequence[PreparedProduct]) -> None:
        """Give pictures that are older than the perceptual hash theirs, now that they were decoded."""
        rows = [
            {"id": picture.image_id, "perceptual_hash": picture.content.perceptual_hash}
            for each in products
            for picture in each.pictures
            if not picture.is_indexed and picture.content.perceptual_hash is not None
            if each.existing is not None and each.existing.images[picture.image_id].perceptual_hash is None
        ]
        if rows:
            session.execute(update(ImageRow), rows)
