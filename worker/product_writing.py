"""Products into index and catalogue, and out of them again: one micro-batch, one commit.

Milvus is written before the database: a death in between leaves rows that the next try writes
again under the same keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from shared.contracts import ProductIn
from shared.database.tables import Detection, Product
from shared.database.tables import Image as ImageRow
from shared.filters import Facts, facts_of
from shared.ledger import now_s
from shared.ledger.work import ChunkClaim, Item, Outcome, Problem
from worker.hydrate import pack_embedding, unpack_embedding
from worker.index_rows import index_row, row_key
from worker.index_versions import LiveIndex, live_index
from worker.jobs import Tools
from worker.product_loading import Batch, Loader, Picture, Prepared, known_products
from worker.vision import IndexRow


@dataclass(frozen=True)
class ProductStages:
    """Products of an import, or put by hand, on their way into index and catalogue."""

    tools: Tools
    claim: ChunkClaim
    live: LiveIndex
    loader: Loader

    def load(self, items: Sequence[Item]) -> Batch:
        return self.loader.load(self.tools.database, self.claim, self.live, items)

    def embed(self, batch: Batch) -> None:
        fresh = [picture for p in batch for picture in p.pictures if picture.pixels is not None]
        pixels = [picture.pixels for picture in fresh if picture.pixels is not None]
        for picture, found in zip(
            fresh, self.tools.pipelines.of(self.live).embed_catalogue(pixels), strict=True
        ):
            picture.found = found

    def write(self, batch: Batch) -> None:
        write_products(self.tools, self.claim, self.live, batch)


def write_products(tools: Tools, claim: ChunkClaim, live: LiveIndex, batch: Batch) -> None:
    """Write index and catalogue, and record the outcomes.

    Raises:
        LostLease: somebody else has the chunk; the catalogue was not touched.
        Unavailable: the index or the database is away; the same call again is safe.
    """
    usable = [p for p in batch if p.pictures]
    tools.index.upsert(live.collection, [row for p in usable for row in _index_rows(p)])
    tools.index.delete(live.collection, [key for p in usable for key in _surplus_keys(p)])
    with tools.database.write() as session:
        tools.desk.record(session, claim, [_outcome(p) for p in batch])
        for prepared in usable:
            _write_product(session, claim.catalogue_id, live, prepared)


def rebuild_products(tools: Tools, claim: ChunkClaim, live: LiveIndex, items: Sequence[Item]) -> None:
    """Write the index rows of products again from their stored embeddings."""
    with tools.database.read() as session:
        known = known_products(session, claim.catalogue_id, live.id, [i.product_id for i in items])
    rows = [
        index_row(
            product_id, k.row, facts_of(k.row), image_id, d.number, unpack_embedding(d.embedding), d.colours
        )
        for product_id, k in known.items()
        for image_id, detections in k.detections.items()
        for d in detections
    ]
    tools.index.upsert(live.collection, rows)
    with tools.database.write() as session:
        tools.desk.record(session, claim, [Outcome(item, "unchanged") for item in items])


def delete_products(tools: Tools, claim: ChunkClaim, items: Sequence[Item]) -> None:
    """Delete products from index and catalogue; one that is gone already counts as deleted."""
    with tools.database.read() as session:
        live = live_index(session, claim.catalogue_id)
        known = known_products(
            session, claim.catalogue_id, live.id if live else -1, [i.product_id for i in items]
        )
    if live is not None:
        keys = [
            row_key(image_id, d.number)
            for k in known.values()
            for image_id, ds in k.detections.items()
            for d in ds
        ]
        tools.index.delete(live.collection, keys)
    with tools.database.write() as session:
        tools.desk.record(session, claim, [Outcome(item, "deleted") for item in items])
        session.execute(delete(Product).where(Product.id.in_([k.row.id for k in known.values()])))


def _index_rows(prepared: Prepared) -> list[IndexRow]:
    """Rows of new pictures; of known ones too where what rows say of the product changed."""
    product, before = prepared.product, prepared.before
    facts, product_id = facts_of(product), prepared.item.product_id
    rows = [
        index_row(product_id, product, facts, picture.image_id, number, found.embedding)
        for picture in prepared.pictures
        for number, found in enumerate(picture.found)
    ]
    if before is not None and _moved(before.row, product, facts):
        rows += [
            index_row(
                product_id,
                product,
                facts,
                picture.image_id,
                d.number,
                unpack_embedding(d.embedding),
                d.colours,
            )
            for picture in prepared.pictures
            if picture.pixels is None
            for d in before.detections.get(picture.image_id, [])
        ]
    return rows


def _moved(before: Product, after: ProductIn, facts: Facts) -> bool:
    said = before.category, before.price, before.facts
    return said != (after.category, after.price, facts.as_json())


def _surplus_keys(prepared: Prepared) -> list[str]:
    """Keys that an earlier version of the product had and this one has not."""
    if prepared.before is None:
        return []
    kept = {p.image_id: (len(p.found) if p.pixels is not None else None) for p in prepared.pictures}
    return [
        row_key(image_id, d.number)
        for image_id, detections in prepared.before.detections.items()
        for d in detections
        if image_id not in kept or (kept[image_id] is not None and d.number >= (kept[image_id] or 0))
    ]


def _outcome(prepared: Prepared) -> Outcome:
    item, before = prepared.item, prepared.before
    if not prepared.pictures:
        problems = list(prepared.problems)
        if not problems:
            text = "This product has no picture: send at least one."
            problems.append(Problem(item.row, item.product_id, None, "no_image", text))
        return Outcome(item, "failed", 0, problems)
    fresh = sum(p.pixels is not None for p in prepared.pictures)
    if before is None:
        result = "new"
    elif (
        fresh
        or before.row.digest != prepared.digest
        or [*before.images] != [p.image_id for p in prepared.pictures]
    ):
        result = "changed"
    else:
        result = "unchanged"
    return Outcome(item, result, fresh, prepared.problems)


def _write_product(session: Session, catalogue_id: int, live: LiveIndex, prepared: Prepared) -> None:
    row = session.scalar(
        select(Product).where(
            Product.catalogue_id == catalogue_id, Product.product_id == prepared.item.product_id
        )
    )
    if row is None:
        row = Product(catalogue_id=catalogue_id, product_id=prepared.item.product_id)
        session.add(row)
    for name, value in prepared.product.model_dump().items():
        setattr(row, name, value)
    row.digest = prepared.digest
    row.facts = facts_of(prepared.product).as_json()
    row.updated_at = now_s()
    session.flush()
    wanted = [p.image_id for p in prepared.pictures]
    session.execute(delete(ImageRow).where(ImageRow.product == row.id, ImageRow.id.not_in(wanted)))
    for position, picture in enumerate(prepared.pictures):
        session.merge(
            ImageRow(
                id=picture.image_id,
                product=row.id,
                position=position,
                sha256=picture.sha256,
                width=picture.width,
                height=picture.height,
            )
        )
    session.flush()
    _write_detections(session, live, [p for p in prepared.pictures if p.pixels is not None])


def _write_detections(session: Session, live: LiveIndex, pictures: Sequence[Picture]) -> None:
    session.execute(
        delete(Detection).where(
            Detection.image_id.in_([p.image_id for p in pictures]), Detection.index_version == live.id
        )
    )
    for picture in pictures:
        for number, found in enumerate(picture.found):
            x0, y0, x1, y1 = found.detection.box
            session.add(
                Detection(
                    image_id=picture.image_id,
                    number=number,
                    index_version=live.id,
                    x0=x0,
                    y0=y0,
                    x1=x1,
                    y1=y1,
                    label=found.detection.label,
                    confidence=found.detection.confidence,
                    embedding=pack_embedding(found.embedding),
                )
            )
