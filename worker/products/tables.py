"""Products, pictures and objects in the catalogue's tables: a few statements a batch, whatever its size."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from shared.contracts import ProductIn
from shared.database.bulk import insert_rows, upsert_rows
from shared.database.clock import now_s
from shared.database.tables import Detection as DetectionRow
from shared.database.tables import Image as ImageRow
from shared.database.tables import Product
from shared.errors import Unavailable
from shared.jobs.work import ChunkClaim
from worker.products.batch import ExistingProduct, PreparedProduct, Target
from worker.products.order import find_superseded
from worker.vision.packing import pack_embedding


class ProductsChanged(Unavailable):
    """Another job wrote products of the batch since it was loaded: load them again."""

    code = "changed_meanwhile"


def require_unchanged(
    session: Session,
    claim: ChunkClaim,
    existing: Mapping[str, ExistingProduct],
    product_ids: Collection[str],
) -> None:
    """Raise ProductsChanged unless the catalogue still holds of each product what was loaded of it.

    Called after ``next_change_number``, so that it stays true until the transaction ends.
    """
    rows = session.execute(
        select(Product.product_id, Product.change).where(
            Product.catalogue_id == claim.catalogue_id, Product.product_id.in_(list(product_ids))
        )
    )
    now = {row.product_id: row.change for row in rows}
    before = {each: existing[each].row.change for each in product_ids if each in existing}
    changed = {each for each in product_ids if now.get(each) != before.get(each)}
    # A product made and deleted since leaves nothing to compare, but its deletion is remembered.
    changed |= find_superseded(session, claim, product_ids)
    if changed:
        raise ProductsChanged(f"Product {min(changed)!r} was changed concurrently: it is loaded again.")


def write_products(
    session: Session, claim: ChunkClaim, change: int, products: Sequence[PreparedProduct]
) -> None:
    """Write products and their pictures; pictures that they no longer have are deleted.

    Args:
        change: from ``next_change_number``, in this transaction.
    """
    rows = [_product_row(claim, change, p) for p in products]
    ids: dict[str, int] = {
        product_id: row_id
        for row_id, product_id in upsert_rows(
            session, Product, rows, ("catalogue_id", "product_id"), "id", "product_id"
        )
    }
    named = [picture.image_id for p in products for picture in p.pictures]
    session.execute(
        delete(ImageRow).where(ImageRow.product.in_(list(ids.values())), ImageRow.id.not_in(named))
    )
    images = [row for p in products for row in _image_rows(ids[p.item.product_id], p)]
    upsert_rows(session, ImageRow, images, ("id",))


def write_detections(
    session: Session, products: Sequence[PreparedProduct], targets: Sequence[Target]
) -> None:
    """Replace what the targets have of pictures that were embedded for them."""
    fresh = [picture.image_id for p in products for picture in p.pictures if not picture.is_indexed]
    session.execute(
        delete(DetectionRow).where(
            DetectionRow.image_id.in_(fresh), DetectionRow.index_version.in_([t.version.id for t in targets])
        )
    )
    insert_rows(
        session, DetectionRow, [row for p in products for t in targets for row in _detection_rows(p, t)]
    )


def _product_row(claim: ChunkClaim, change: int, prepared: PreparedProduct) -> dict[str, Any]:
    product = prepared.product
    assert isinstance(product, ProductIn)
    return {
        "catalogue_id": claim.catalogue_id,
        "product_id": prepared.item.product_id,
        **product.model_dump(),
        "digest": prepared.digest,
        "facts": prepared.filter_fields.as_json(),
        "change": change,
        "updated_at": now_s(),
        "accepted_at": claim.accepted_at,
    }


def _image_rows(product: int, prepared: PreparedProduct) -> Iterator[dict[str, Any]]:
    """Yield rows of pictures that are new or have another position."""
    existing = prepared.existing
    for position, picture in enumerate(prepared.pictures):
        before = existing.images.get(picture.image_id) if existing is not None else None
        if picture.is_indexed and before is not None and before.position == position:
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


def _detection_rows(prepared: PreparedProduct, target: Target) -> Iterator[dict[str, Any]]:
    for picture in prepared.pictures:
        if picture.is_indexed:
            continue
        for number, each in enumerate(picture.content.objects.get(target.models, ())):
            x0, y0, x1, y1 = each.detection.box
            yield {
                "image_id": picture.image_id,
                "number": number,
                "index_version": target.version.id,
                "models": target.models,
                "x0": x0,
                "y0": y0,
                "x1": x1,
                "y1": y1,
                "label": each.detection.label,
                "confidence": each.detection.confidence,
                "colours": each.colours,
                "embedding": pack_embedding(each.embedding),
            }
