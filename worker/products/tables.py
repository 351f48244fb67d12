"""Products into the catalogue's tables: a few statements a micro-batch, whatever its size."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from shared.database.bulk import insert_rows, upsert_rows
from shared.database.clock import now_s
from shared.database.tables import Detection, Product
from shared.database.tables import Image as ImageRow
from shared.errors import Unavailable
from shared.jobs.work import ChunkClaim
from worker.products.batch import Prepared, Target
from worker.products.existing_embeddings import Known
from worker.products.order import find_superseded
from worker.vision.packing import pack_embedding


class ChangedMeanwhile(Unavailable):
    """Somebody else wrote products of the batch since it was loaded: load them again."""

    code = "changed_meanwhile"


def require_unchanged(
    session: Session, claim: ChunkClaim, known: Mapping[str, Known], product_ids: Collection[str]
) -> None:
    """Raise ChangedMeanwhile unless the catalogue still holds of each product what is ``known`` of it.

    Called after ``next_change_number``, so that it stays so until the transaction ends.
    """
    rows = session.execute(
        select(Product.product_id, Product.change).where(
            Product.catalogue_id == claim.catalogue_id, Product.product_id.in_(list(product_ids))
        )
    )
    now = {row.product_id: row.change for row in rows}
    before = {product_id: known[product_id].row.change for product_id in product_ids if product_id in known}
    changed = {p for p in product_ids if now.get(p) != before.get(p)}
    # Made and deleted since: nothing to compare, but the deletion is remembered.
    changed |= find_superseded(session, claim, product_ids)
    if changed:
        raise ChangedMeanwhile(f"Product {min(changed)!r} was changed concurrently: it is done again.")


def write_rows(
    session: Session, claim: ChunkClaim, change: int, products: Sequence[Prepared], targets: Sequence[Target]
) -> None:
    """Write products, their images and the objects of what is new; images that they no longer have go.

    Args:
        change: of ``next_change_number``, in this transaction.
    """
    rows = [_product(claim, change, p) for p in products]
    ids: dict[str, int] = {
        product_id: row_id
        for row_id, product_id in upsert_rows(
            session, Product, rows, ("catalogue_id", "product_id"), "id", "product_id"
        )
    }
    wanted = [picture.image_id for p in products for picture in p.pictures]
    session.execute(
        delete(ImageRow).where(ImageRow.product.in_(list(ids.values())), ImageRow.id.not_in(wanted))
    )
    upsert_rows(
        session, ImageRow, [row for p in products for row in _images(ids[p.item.product_id], p)], ("id",)
    )
    fresh = [picture.image_id for p in products for picture in p.pictures if not picture.known]
    session.execute(
        delete(Detection).where(
            Detection.image_id.in_(fresh), Detection.index_version.in_([t.version.id for t in targets])
        )
    )
    insert_rows(session, Detection, [row for p in products for t in targets for row in _objects(p, t)])


def _product(claim: ChunkClaim, change: int, prepared: Prepared) -> dict[str, Any]:
    return {
        "catalogue_id": claim.catalogue_id,
        "product_id": prepared.item.product_id,
        **prepared.product.model_dump(),
        "digest": prepared.digest,
        "facts": prepared.facts.as_json(),
        "change": change,
        "updated_at": now_s(),
        "accepted_at": claim.accepted_at,
    }


def _images(product: int, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """Rows of images that are new or have another place."""
    before = prepared.before
    for position, picture in enumerate(prepared.pictures):
        if picture.known and before is not None and before.images[picture.image_id].position == position:
            continue
        content = picture.content
        yield {
            "id": picture.image_id,
            "product": product,
            "position": position,
            "sha256": content.sha256,
            "width": content.width,
            "height": content.height,
            "perceptual_hash": content.perceptual_hash,
        }


def _objects(prepared: Prepared, target: Target) -> Iterator[dict[str, Any]]:
    for picture in prepared.pictures:
        if picture.known:
            continue
        for number, found in enumerate(picture.content.objects[target.models]):
            x0, y0, x1, y1 = found.seen.box
            yield {
                "image_id": picture.image_id,
                "number": number,
                "index_version": target.version.id,
                "models": target.models,
                "x0": x0,
                "y0": y0,
                "x1": x1,
                "y1": y1,
                "label": found.seen.label,
                "confidence": found.seen.confidence,
                "colours": found.colours,
                "embedding": pack_embedding(found.embedding),
            }
