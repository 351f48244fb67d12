"""What the database has already: products, and embeddings of pictures with the same bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import String, column, exists, select, values
from sqlalchemy.orm import Session

from shared.catalogue.store import load_images
from shared.database.tables import Detection as DetectionRow
from shared.database.tables import Image as ImageRow
from shared.database.tables import ModelVersion, Product
from worker.products.batch import Content, ExistingProduct, Target
from worker.vision import Detection
from worker.vision.packing import unpack_embedding
from worker.vision.pipeline import WHOLE, EmbeddedObject


@dataclass(frozen=True, slots=True)
class _ReusableEmbedding:
    """A picture that was embedded before, with its objects."""

    image: ImageRow
    objects: list[EmbeddedObject]


def load_existing_products(
    session: Session, catalogue_id: int, product_ids: Iterable[str]
) -> dict[str, ExistingProduct]:
    """Return what the catalogue holds of products, by product id; new ones are left out."""
    products = session.scalars(
        select(Product).where(Product.catalogue_id == catalogue_id, Product.product_id.in_(list(product_ids)))
    ).all()
    if not products:
        return {}
    images = load_images(session, [p.id for p in products])
    owners = {image.id: product for product, rows in images.items() for image in rows}
    numbers: dict[int, dict[int, dict[str, list[int]]]] = {p.id: {} for p in products}
    # Without the embeddings: only products whose rows say something else need them.
    for image_id, version, number in session.execute(
        select(DetectionRow.image_id, DetectionRow.index_version, DetectionRow.number).where(
            DetectionRow.image_id.in_(list(owners))
        )
    ):
        numbers[owners[image_id]].setdefault(version, {}).setdefault(image_id, []).append(number)
    return {
        p.product_id: ExistingProduct(p, {image.id: image for image in images.get(p.id, [])}, numbers[p.id])
        for p in products
    }


def reuse_embeddings(session: Session, targets: Sequence[Target], contents: Sequence[Content]) -> None:
    """Give contents the embeddings and boxes that the same bytes got before, in any catalogue.

    Boxes are taken only where no target needs masks, because masks are not stored.
    """
    keys = [content.sha256 for content in contents]
    # Often all are new, and building the statements below costs more than asking that.
    if not keys or session.scalar(select(ImageRow.id).where(ImageRow.sha256.in_(keys)).limit(1)) is None:
        return
    for models in {target.models for target in targets}:
        found = _find_by_bytes(session, keys, [models])
        for content in contents:
            reusable = found.get(content.sha256)
            # An embedding that is no direction is made again, not spread.
            if reusable is not None and all(np.isfinite(o.embedding).all() for o in reusable.objects):
                content.objects[models] = reusable.objects
                content.width, content.height = reusable.image.width, reusable.image.height
                content.perceptual_hash = reusable.image.perceptual_hash
    for detector in {target.pipeline.detector.version for target in targets if target.pipeline.detects}:
        _reuse_boxes(session, detector, targets, contents)


def _reuse_boxes(
    session: Session, detector: str, targets: Sequence[Target], contents: Sequence[Content]
) -> None:
    users = [target for target in targets if target.pipeline.detector.version == detector]
    waiting = [c for c in contents if any(target.models not in c.objects for target in users)]
    if not waiting or any(target.pipeline.uses_masks for target in users):
        return
    models = session.scalars(select(ModelVersion.id).where(ModelVersion.detector == detector)).all()
    found = _find_by_bytes(session, [content.sha256 for content in waiting], models)
    for content in waiting:
        if (reusable := found.get(content.sha256)) is not None:
            content.boxes[detector] = [o.detection for o in reusable.objects if o.detection != WHOLE]
            known = {o.detection: o.colours for o in reusable.objects if o.colours is not None}
            content.colours.update(known)


def _find_by_bytes(
    session: Session, keys: Collection[str], models: Collection[int]
) -> dict[str, _ReusableEmbedding]:
    """Return by SHA-256 one picture each, of any catalogue, that one of the models embedded."""
    wanted = values(column("sha256", String), name="given").data([(key,) for key in keys]).cte("wanted")
    # One each: a content may have thousands of pictures.
    one = (
        select(ImageRow.id)
        .where(
            ImageRow.sha256 == wanted.c.sha256,
            exists().where(DetectionRow.image_id == ImageRow.id, DetectionRow.models.in_(models)),
        )
        .limit(1)
        .correlate(wanted)
        .scalar_subquery()
    )
    ids = [image_id for image_id in session.scalars(select(one).select_from(wanted)) if image_id is not None]
    rows: dict[str, list[DetectionRow]] = {}
    for row in session.scalars(
        select(DetectionRow)
        .where(DetectionRow.image_id.in_(ids), DetectionRow.models.in_(models))
        .order_by(DetectionRow.index_version, DetectionRow.number)
    ):
        rows.setdefault(row.image_id, []).append(row)
    images = session.scalars(select(ImageRow).where(ImageRow.id.in_(list(rows))))
    return {image.sha256: _ReusableEmbedding(image, _of_one_version(rows[image.id])) for image in images}


def _of_one_version(rows: Sequence[DetectionRow]) -> list[EmbeddedObject]:
    return [_to_object(row) for row in rows if row.index_version == rows[0].index_version]


def _to_object(row: DetectionRow) -> EmbeddedObject:
    detection = Detection((row.x0, row.y0, row.x1, row.y1), row.label, row.confidence)
    return EmbeddedObject(detection, unpack_embedding(row.embedding), row.colours)
