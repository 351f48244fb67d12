"""Products into the catalogue's tables: a few statements a micro-batch, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from shared.database.bulk import insert_rows, upsert_rows
from shared.database.tables import Detection, Product
from shared.database.tables import Image as ImageRow
from shared.errors import Unavailable
from shared.ledger import now_s
from worker.products.batch import Prepared, Target
from worker.vision.packing import pack_embedding


class ChangedMeanwhile(Unavailable):
    """Somebody else wrote products of the batch since it was loaded: load them again."""

    code = "changed_meanwhile"


def require_unchanged(session: Session, catalogue_id: int, products: Sequence[Prepared]) -> None:
    """Raise ChangedMeanwhile unless the catalogue holds of each product what it was prepared from.

    Called after ``begin_change``, so that it stays so until the transaction ends.
    """
    rows = session.execute(
        select(Product.product_id, Product.change).where(
            Product.catalogue_id == catalogue_id,
            Product.product_id.in_([p.item.product_id for p in products]),
        )
    )
    now = {row.product_id: row.change for row in rows}
    for p in products:
        before = None if p.before is None else p.before.row.change
        if now.get(p.item.product_id) != before:
            raise ChangedMeanwhile(f"Product {p.item.product_id!r} was written meanwhile: it is done again.")


def write_rows(
    session: Session, catalogue_id: int, change: int, products: Sequence[Prepared], targets: Sequence[Target]
) -> None:
    """Write products, their images and the objects of what is new; images that they no longer have go.

    Args:
        change: of ``begin_change``, in this transaction.
    """
    rows = [_product(catalogue_id, change, p) for p in products]
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


def _product(catalogue_id: int, change: int, prepared: Prepared) -> dict[str, Any]:
    return {
        "catalogue_id": catalogue_id,
        "product_id": prepared.item.product_id,
        **prepared.product.model_dump(),
        "digest": prepared.digest,
        "facts": prepared.facts.as_json(),
        "change": change,
        "updated_at": now_s(),
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
